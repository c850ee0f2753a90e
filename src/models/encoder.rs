//! The pre-norm transformer of CLIP's two towers and of BLIP's vision tower (Radford et al. 2021, section 2.4).

use super::act::Activation;
use super::layers::{Mask, Product, attend_all};
use super::weights::Scope;
use crate::Result;
use candle_core::Tensor;
use candle_nn::{LayerNorm, Module};

/// What an encoder needs to know of its tower.
#[derive(Clone, Copy, Debug)]
pub struct EncoderConfig {
    /// The width of the residual stream.
    pub width: usize,
    /// The width inside the MLPs.
    pub inner: usize,
    /// How many layers.
    pub layers: usize,
    /// Attention heads a layer; divides `width`.
    pub heads: usize,
    /// Between the MLPs' layers.
    pub activation: Activation,
    /// Added to the variance in layer norms.
    pub eps: f64,
    /// What the attention's tensors are called.
    pub names: AttentionNames,
}

/// The tensors of an attention, by who wrote the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttentionNames {
    /// CLIP's: `q_proj`, `k_proj`, `v_proj`, `out_proj`.
    Apart,
    /// BLIP's: `qkv` in one, `projection`.
    Joined,
}

/// A stack of layers.
pub struct Encoder {
    layers: Vec<Layer>,
}

impl Encoder {
    /// Reads `layers.N.*` under `scope`.
    ///
    /// # Errors
    /// [`crate::Error::Model`] naming a tensor that is missing or misshapen.
    pub fn load(scope: &Scope, config: &EncoderConfig) -> Result<Self> {
        let scope = scope.pp("layers");
        let layers = (0..config.layers).map(|n| Layer::load(&scope.pp(n), config)).collect::<Result<_>>()?;
        Ok(Encoder { layers })
    }

    /// How many layers there are.
    pub fn depth(&self) -> usize {
        self.layers.len()
    }

    /// The hidden states after the first `depth` layers: (batch, length, width) in and out.
    pub fn forward(&self, x: &Tensor, mask: Option<&Mask>, depth: usize) -> Result<Tensor> {
        self.layers.iter().take(depth).try_fold(x.clone(), |x, layer| layer.forward(&x, mask, None))
    }

    /// After all layers, the states at `positions` alone, one a sequence: (batch, width). What the last layer would make of the
    /// others is left out.
    pub fn forward_at(&self, x: &Tensor, mask: Option<&Mask>, positions: &[usize]) -> Result<Tensor> {
        let (batch, length, width) = x.dims3()?;
        let rows: Vec<u32> =
            positions.iter().enumerate().map(|(at, position)| (at * length + position) as u32).collect();
        let rows = Tensor::from_vec(rows, batch, x.device())?;
        match self.layers.split_last() {
            Some((last, before)) => {
                let x = self.forward(x, mask, before.len())?;
                last.forward(&x, mask, Some(&rows))
            }
            None => Ok(x.reshape((batch * length, width))?.index_select(&rows, 0)?),
        }
    }
}

struct Layer {
    norm1: LayerNorm,
    attention: Attention,
    norm2: LayerNorm,
    fc1: Product,
    activation: Activation,
    fc2: Product,
}

impl Layer {
    fn load(scope: &Scope, config: &EncoderConfig) -> Result<Self> {
        let mlp = scope.pp("mlp");
        Ok(Layer {
            norm1: scope.layer_norm("layer_norm1", config.width, config.eps)?,
            attention: Attention::load(&scope.pp("self_attn"), config)?,
            norm2: scope.layer_norm("layer_norm2", config.width, config.eps)?,
            fc1: mlp.product("fc1", config.width, config.inner)?,
            activation: config.activation,
            fc2: mlp.product("fc2", config.inner, config.width)?,
        })
    }

    /// All states, or those at `rows` of all sequences laid end to end: (rows, width).
    fn forward(&self, x: &Tensor, mask: Option<&Mask>, rows: Option<&Tensor>) -> Result<Tensor> {
        let attention = &self.attention;
        let qkv = attention.qkv.forward(&self.norm1.forward(x)?)?;
        let seen = attend_all(&qkv, attention.heads, mask)?;
        let x = match rows {
            Some(rows) => {
                let (batch, length, width) = x.dims3()?;
                let chosen = |x: &Tensor| x.reshape((batch * length, width))?.index_select(rows, 0);
                attention.out.forward_onto(&chosen(&seen)?, &chosen(x)?)?
            }
            None => attention.out.forward_onto(&seen, x)?,
        };
        let inner = self.activation.forward(self.fc1.forward(&self.norm2.forward(&x)?)?)?;
        self.fc2.forward_onto(&inner, &x)
    }
}

struct Attention {
    /// Queries, keys and values in one product.
    qkv: Product,
    out: Product,
    heads: usize,
}

impl Attention {
    fn load(scope: &Scope, config: &EncoderConfig) -> Result<Self> {
        let width = config.width;
        let (qkv, out) = match config.names {
            AttentionNames::Apart => {
                (scope.product_stacked(&["q_proj", "k_proj", "v_proj"], width, width)?, "out_proj")
            }
            AttentionNames::Joined => (scope.product("qkv", width, 3 * width)?, "projection"),
        };
        Ok(Attention { qkv, out: scope.product(out, width, width)?, heads: config.heads })
    }
}

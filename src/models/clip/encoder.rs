//! The pre-norm transformer that both towers share (Radford et al. 2021, section 2.4).

use crate::Result;
use crate::models::act::Activation;
use crate::models::weights::Scope;
use candle_core::{DType, Tensor};
use candle_nn::{LayerNorm, Linear, Module};

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

    /// The hidden states after the first `depth` layers: (batch, length, width) in and out. `mask`, broadcastable to
    /// (batch, heads, length, length) in f32, is added to the attention scores.
    pub fn forward(&self, x: &Tensor, mask: Option<&Tensor>, depth: usize) -> Result<Tensor> {
        self.layers.iter().take(depth).try_fold(x.clone(), |x, layer| layer.forward(&x, mask))
    }
}

struct Layer {
    norm1: LayerNorm,
    attention: Attention,
    norm2: LayerNorm,
    fc1: Linear,
    activation: Activation,
    fc2: Linear,
}

impl Layer {
    fn load(scope: &Scope, config: &EncoderConfig) -> Result<Self> {
        let mlp = scope.pp("mlp");
        Ok(Layer {
            norm1: scope.layer_norm("layer_norm1", config.width, config.eps)?,
            attention: Attention::load(&scope.pp("self_attn"), config)?,
            norm2: scope.layer_norm("layer_norm2", config.width, config.eps)?,
            fc1: mlp.linear("fc1", config.width, config.inner)?,
            activation: config.activation,
            fc2: mlp.linear("fc2", config.inner, config.width)?,
        })
    }

    fn forward(&self, x: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
        let x = (x + self.attention.forward(&self.norm1.forward(x)?, mask)?)?;
        let inner = self.activation.forward(self.fc1.forward(&self.norm2.forward(&x)?)?)?;
        Ok((&x + self.fc2.forward(&inner)?)?)
    }
}

struct Attention {
    /// Queries (scaled by 1/sqrt(width of a head)), keys and values in one product.
    qkv: Linear,
    out: Linear,
    heads: usize,
}

impl Attention {
    fn load(scope: &Scope, config: &EncoderConfig) -> Result<Self> {
        let scale = ((config.width / config.heads) as f64).powf(-0.5);
        let names = [("q_proj", scale), ("k_proj", 1.0), ("v_proj", 1.0)];
        Ok(Attention {
            qkv: scope.linear_stacked(&names, config.width, config.width)?,
            out: scope.linear("out_proj", config.width, config.width)?,
            heads: config.heads,
        })
    }

    fn forward(&self, x: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
        let (batch, length, width) = x.dims3()?;
        let qkv = self
            .qkv
            .forward(x)?
            .reshape((batch, length, 3, self.heads, width / self.heads))?
            .permute((2, 0, 3, 1, 4))?
            .contiguous()?;
        let (q, k, v) = (qkv.get(0)?, qkv.get(1)?, qkv.get(2)?);
        // Scores in f32 whatever the weights are: f16 overflows at 65504.
        let scores = q.matmul(&k.t()?)?.to_dtype(DType::F32)?;
        let scores = match mask {
            Some(mask) => scores.broadcast_add(mask)?,
            None => scores,
        };
        let shares = candle_nn::ops::softmax_last_dim(&scores)?.to_dtype(v.dtype())?;
        let mixed = shares.matmul(&v)?.transpose(1, 2)?.reshape((batch, length, width))?;
        Ok(self.out.forward(&mixed)?)
    }
}

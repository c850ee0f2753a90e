//! The pre-norm transformer of CLIP's two towers and of BLIP's vision tower (Radford et al. 2021, section 2.4).

use super::act::Activation;
use super::layers::{attend_all, causal_mask, ours};
use super::weights::Scope;
use super::wide::{Parts, Precision, Sequence, Shape, Stack};
use crate::{Error, Result};
use candle_core::Tensor;
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
    /// Whether no position looks at those after it.
    pub causal: bool,
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
pub struct Encoder(Form);

enum Form {
    /// By candle.
    Plain { layers: Vec<Layer>, causal: bool },
    /// By our own kernels.
    Wide(Stack),
}

impl Encoder {
    /// Reads `layers.N.*` under `scope`.
    ///
    /// # Errors
    /// [`crate::Error::Model`] naming a tensor that is missing or misshapen.
    pub fn load(scope: &Scope, config: &EncoderConfig) -> Result<Self> {
        let &EncoderConfig { heads, causal, activation, .. } = config;
        let (mut layers, mut stack) = (Vec::new(), Stack::new(Shape { heads, causal, activation }));
        for n in 0..config.layers {
            let layer = Layer::load(&scope.pp("layers").pp(n), config)?;
            // Each is laid out as it comes, so that there are never two copies of the whole.
            match !scope.is_survey() && ours(layer.fc1.weight()) {
                true => stack
                    .push(&layer.parts(), if scope.int8() { Precision::Bytes } else { Precision::Full })?,
                false => layers.push(layer),
            }
        }
        Ok(Encoder(match stack.depth() {
            0 => Form::Plain { layers, causal },
            _ => Form::Wide(stack),
        }))
    }

    /// How many layers there are.
    pub fn depth(&self) -> usize {
        match &self.0 {
            Form::Plain { layers, .. } => layers.len(),
            Form::Wide(stack) => stack.depth(),
        }
    }

    /// The hidden states after the first `depth` layers: (batch, length, width) in and out.
    pub fn forward(&self, x: &Tensor, depth: usize) -> Result<Tensor> {
        match &self.0 {
            Form::Plain { layers, causal } => {
                let mask = mask(x, *causal)?;
                let mut layers = layers.iter().take(depth);
                layers.try_fold(x.clone(), |x, layer| layer.forward(&x, mask.as_ref(), None))
            }
            Form::Wide(stack) => Ok(stack.forward(x, depth)?),
        }
    }

    /// Into how many parts so many rows are best split for [`Encoder::forward_ends`]; None where that can't be.
    pub fn groups(&self, rows: usize) -> Option<usize> {
        match &self.0 {
            Form::Plain { .. } => None,
            Form::Wide(stack) => Some(stack.groups(rows)),
        }
    }

    /// After all layers, the last state of each sequence, one after another: (sequences, width). `part` gives the rows of each of so
    /// many `parts`, (rows, width), and the sequences among them.
    pub fn forward_ends(
        &self,
        parts: usize,
        part: impl Fn(usize) -> Result<(Tensor, Vec<Sequence>)> + Sync,
    ) -> Result<Vec<f32>> {
        let Form::Wide(stack) = &self.0 else {
            return Err(Error::Compute {
                reason: "sequences of unlike lengths need kernels of our own".into(),
            });
        };
        Ok(stack.forward_ends(parts, |at| part(at).map_err(candle_core::Error::wrap))?)
    }

    /// After all layers, the states at `positions` alone, one a sequence: (batch, width). What the last layer would make of the
    /// others is left out.
    pub fn forward_at(&self, x: &Tensor, positions: &[usize]) -> Result<Tensor> {
        let (layers, causal) = match &self.0 {
            Form::Plain { layers, causal } => (layers, *causal),
            Form::Wide(stack) => return Ok(stack.forward_at(x, positions)?),
        };
        let (batch, length, width) = x.dims3()?;
        let rows: Vec<u32> =
            positions.iter().enumerate().map(|(at, position)| (at * length + position) as u32).collect();
        let rows = Tensor::from_vec(rows, batch, x.device())?;
        match layers.split_last() {
            Some((last, before)) => {
                let x = self.forward(x, before.len())?;
                last.forward(&x, mask(&x, causal)?.as_ref(), Some(&rows))
            }
            None => Ok(x.reshape((batch * length, width))?.index_select(&rows, 0)?),
        }
    }
}

/// What each position of `x`, (batch, length, width), is kept from looking at.
fn mask(x: &Tensor, causal: bool) -> Result<Option<Tensor>> {
    causal.then(|| causal_mask(x.dim(1)?, x.device())).transpose()
}

struct Layer {
    norm1: LayerNorm,
    /// Queries, keys and values in one product.
    qkv: Linear,
    out: Linear,
    heads: usize,
    norm2: LayerNorm,
    fc1: Linear,
    activation: Activation,
    fc2: Linear,
}

impl Layer {
    fn load(scope: &Scope, config: &EncoderConfig) -> Result<Self> {
        let (mlp, attention, width) = (scope.pp("mlp"), scope.pp("self_attn"), config.width);
        let (qkv, out) = match config.names {
            AttentionNames::Apart => {
                (attention.linear_stacked(&["q_proj", "k_proj", "v_proj"], width, width)?, "out_proj")
            }
            AttentionNames::Joined => (attention.linear("qkv", width, 3 * width)?, "projection"),
        };
        Ok(Layer {
            norm1: scope.layer_norm("layer_norm1", width, config.eps)?,
            qkv,
            out: attention.linear(out, width, width)?,
            heads: config.heads,
            norm2: scope.layer_norm("layer_norm2", width, config.eps)?,
            fc1: mlp.linear("fc1", width, config.inner)?,
            activation: config.activation,
            fc2: mlp.linear("fc2", config.inner, width)?,
        })
    }

    fn parts(&self) -> Parts<'_> {
        let Layer { norm1, qkv, out, norm2, fc1, fc2, .. } = self;
        Parts { norm1, qkv, out, norm2, fc1, fc2 }
    }

    /// All states, or those at `rows` of all sequences laid end to end: (rows, width).
    fn forward(&self, x: &Tensor, mask: Option<&Tensor>, rows: Option<&Tensor>) -> Result<Tensor> {
        let qkv = self.qkv.forward(&self.norm1.forward(x)?)?;
        let seen = attend_all(&qkv, self.heads, mask)?;
        let x = match rows {
            Some(rows) => {
                let (batch, length, width) = x.dims3()?;
                let chosen = |x: &Tensor| x.reshape((batch * length, width))?.index_select(rows, 0);
                (self.out.forward(&chosen(&seen)?)? + chosen(x)?)?
            }
            None => (self.out.forward(&seen)? + x)?,
        };
        let inner = self.activation.forward(self.fc1.forward(&self.norm2.forward(&x)?)?)?;
        Ok((self.fc2.forward(&inner)? + x)?)
    }
}

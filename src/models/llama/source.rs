//! Where the language model's tensors come from, whatever they are called there.

use super::config::LlamaConfig;
use super::gguf::Gguf;
use super::matrix::{Matrix, Quantize, Table};
use crate::Result;
use crate::models::weights::Scope;
use candle_core::{DType, Device, Tensor};
use candle_nn::Linear;

/// A tensor's place in the network.
pub(super) enum Name {
    /// The table of embeddings.
    Table,
    /// The last norm.
    Norm,
    /// The output matrix.
    Head,
    /// A part of a layer, as transformers calls it.
    Layer(usize, &'static str),
}

/// The language model's tensors.
pub struct Source<'a> {
    place: Place<'a>,
    quantize: Option<Quantize>,
    device: Device,
    dtype: DType,
}

enum Place<'a> {
    /// transformers' names: `embed_tokens`, `layers` and `norm` in the first scope, `lm_head` in the second.
    Files(Scope<'a>, Scope<'a>),
    /// llama.cpp's names.
    Gguf(&'a Gguf),
}

impl<'a> Source<'a> {
    /// The tensors of a checkpoint: `body` holds `embed_tokens`, `layers` and `norm`, and `head` holds `lm_head`. With
    /// `quantize`, matrices are packed as they are loaded.
    pub fn files(body: Scope<'a>, head: Scope<'a>, quantize: Option<Quantize>) -> Self {
        let (device, stored) = (body.device().clone(), body.dtype());
        let dtype = if quantize.is_some() { beside_packed(&device, stored) } else { stored };
        Source { place: Place::Files(body, head), quantize, device, dtype }
    }

    /// The tensors of a `.gguf` file.
    pub fn gguf(gguf: &'a Gguf, device: &Device, dtype: DType) -> Self {
        let dtype = beside_packed(device, dtype);
        Source { place: Place::Gguf(gguf), quantize: None, device: device.clone(), dtype }
    }

    /// Where computing happens.
    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// In which numbers, beside packed matrices.
    pub(super) fn dtype(&self) -> DType {
        self.dtype
    }

    /// Whether a head's values lie in pairs: llama.cpp's converter reorders them so.
    pub(super) fn interleaved(&self) -> bool {
        matches!(self.place, Place::Gguf(_))
    }

    /// How many token ids there are. A `.gguf` has its own count: transformers' checkpoints pad theirs.
    pub(super) fn vocab(&self, config: &LlamaConfig) -> Result<usize> {
        let rows = match self.place {
            Place::Gguf(gguf) => gguf.shape(&llama_cpp(&Name::Table)).and_then(|shape| shape.first()),
            Place::Files(..) => None,
        };
        Ok(rows.copied().unwrap_or(config.vocab_size))
    }

    pub(super) fn has(&self, name: &Name) -> bool {
        match &self.place {
            Place::Files(body, head) => match name {
                Name::Head => head.has("lm_head.weight"),
                name => body.has(&transformers(name, "weight")),
            },
            Place::Gguf(gguf) => gguf.has(&llama_cpp(name)),
        }
    }

    /// The weight of a norm.
    pub(super) fn vector(&self, name: &Name, size: usize) -> Result<Tensor> {
        let weight = match &self.place {
            Place::Files(body, _) => body.get(&transformers(name, "weight"), size)?,
            Place::Gguf(gguf) => {
                gguf.get(&llama_cpp(name), &[size], &self.device)?.dequantize(&self.device)?
            }
        };
        Ok(weight.to_dtype(self.dtype)?)
    }

    /// A linear layer.
    pub(super) fn matrix(&self, name: &Name, from: usize, to: usize, bias: bool) -> Result<Matrix> {
        self.linear(name, from, to, bias, false)
    }

    /// The output matrix, which is packed with more care.
    pub(super) fn head(&self, name: &Name, from: usize, to: usize) -> Result<Matrix> {
        self.linear(name, from, to, false, true)
    }

    /// A table of `count` rows.
    pub(super) fn table(&self, name: &Name, count: usize, size: usize) -> Result<Table> {
        let (body, quantize) = match &self.place {
            Place::Gguf(gguf) => {
                return Ok(Table::Packed(gguf.get(&llama_cpp(name), &[count, size], &self.device)?));
            }
            Place::Files(body, _) => (body, self.quantize),
        };
        let table = body.get(&transformers(name, "weight"), (count, size))?;
        let packed = quantize.map(|q| q.pack(&table, false, &self.device)).transpose()?.flatten();
        Ok(packed.map_or(Table::Dense(table), Table::Packed))
    }

    fn linear(&self, name: &Name, from: usize, to: usize, bias: bool, head: bool) -> Result<Matrix> {
        let (body, tail) = match &self.place {
            Place::Gguf(gguf) => {
                let weight = gguf.get(&llama_cpp(name), &[to, from], &self.device)?;
                let bias = match bias {
                    true => {
                        let name = llama_cpp(name).replace(".weight", ".bias");
                        let bias = gguf.get(&name, &[to], &self.device)?.dequantize(&self.device)?;
                        Some(bias.to_dtype(self.dtype)?)
                    }
                    false => None,
                };
                return Matrix::packed(weight, bias, self.dtype);
            }
            Place::Files(body, tail) => (body, tail),
        };
        let scope = if matches!(name, Name::Head) { tail } else { body };
        let weight = scope.get(&transformers(name, "weight"), (to, from))?;
        let bias = match bias {
            true => Some(scope.get(&transformers(name, "bias"), to)?.to_dtype(self.dtype)?),
            false => None,
        };
        let packed = self.quantize.map(|q| q.pack(&weight, head, &self.device)).transpose()?.flatten();
        match packed {
            Some(packed) => Matrix::packed(packed, bias, self.dtype),
            None => Ok(Matrix::Dense(scope.ready(Linear::new(weight.to_dtype(self.dtype)?, bias))?)),
        }
    }
}

/// The numbers that go well with packed matrices: f32 on the CPU, where anything else is converted back and forth.
fn beside_packed(device: &Device, dtype: DType) -> DType {
    if device.is_cpu() { DType::F32 } else { dtype }
}

fn transformers(name: &Name, part: &str) -> String {
    match name {
        Name::Table => format!("embed_tokens.{part}"),
        Name::Norm => format!("norm.{part}"),
        Name::Head => format!("lm_head.{part}"),
        Name::Layer(n, layer) => format!("layers.{n}.{layer}.{part}"),
    }
}

fn llama_cpp(name: &Name) -> String {
    let (n, layer) = match name {
        Name::Table => return "token_embd.weight".to_owned(),
        Name::Norm => return "output_norm.weight".to_owned(),
        Name::Head => return "output.weight".to_owned(),
        Name::Layer(n, layer) => (n, layer),
    };
    let layer = match *layer {
        "input_layernorm" => "attn_norm",
        "self_attn.q_proj" => "attn_q",
        "self_attn.k_proj" => "attn_k",
        "self_attn.v_proj" => "attn_v",
        "self_attn.o_proj" => "attn_output",
        "post_attention_layernorm" => "ffn_norm",
        "mlp.gate_proj" => "ffn_gate",
        "mlp.up_proj" => "ffn_up",
        "mlp.down_proj" => "ffn_down",
        other => other,
    };
    format!("blk.{n}.{layer}.weight")
}

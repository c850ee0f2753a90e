//! Tensors by name, each checked against the shape that the network expects.
//!
//! safetensors files are memory-mapped, so that only what a network asks for is read; `pytorch_model.bin` is read tensor by
//! tensor. A *survey* loads nothing: it writes down what is asked for and what is there, for `eyeshot model check`.

use super::files::{Blob, ModelFiles};
use super::layers::Product;
use super::plain;
use super::wide::Precision;
use crate::{Error, Result};
use candle_core::pickle::PthTensors;
use candle_core::safetensors::{MmapedSafetensors, SliceSafetensors};
use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::{Embedding, LayerNorm, Linear};
use serde::Serialize;
use std::collections::HashMap;
use std::sync::Mutex;

/// The tensors of one checkpoint.
pub struct Weights {
    model: String,
    place: String,
    parts: Vec<Part>,
    index: HashMap<String, usize>,
    device: Device,
    dtype: DType,
    int8: bool,
    survey: Option<Mutex<Vec<TensorRow>>>,
}

/// What is known of one tensor.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TensorRow {
    /// Its name in the file.
    pub name: String,
    /// The shape that the network expects; None for a tensor that no one asks for.
    pub expected: Option<Vec<usize>>,
    /// The shape that the file has; None when it is missing.
    pub found: Option<Vec<usize>>,
    /// The file's numbers: `F32`, `F16`, ...; empty when missing.
    pub dtype: String,
    /// The file that holds it, or that ought to.
    pub file: String,
}

impl TensorRow {
    /// Whether the network gets what it asks for.
    pub fn fits(&self) -> bool {
        self.expected.is_none() || self.expected == self.found
    }
}

struct Part {
    file: String,
    store: Store,
}

enum Store {
    Mapped(MmapedSafetensors),
    Static(SliceSafetensors<'static>),
    Pickle(PthTensors),
}

impl Weights {
    /// Opens the weight files of `files`; tensors will come as `dtype` on `device`.
    ///
    /// # Errors
    /// [`Error::Model`] naming a file that is missing, truncated or not a checkpoint.
    pub fn open(files: &ModelFiles, device: &Device, dtype: DType) -> Result<Self> {
        let names = files.weights()?;
        let place = match names.as_slice() {
            [one] => one.clone(),
            many => format!("the {} shards", many.len()),
        };
        let mut parts = Vec::with_capacity(names.len());
        let mut index = HashMap::new();
        for file in names {
            let store = Store::open(files.blob(&file)?, &file).map_err(|e| {
                files.error(format!("{file} can't be read as a checkpoint: {}{}", plain(&e), hint(&file)))
            })?;
            index.extend(store.names().into_iter().map(|name| (name, parts.len())));
            parts.push(Part { file, store });
        }
        let (model, device) = (files.name.clone(), device.clone());
        Ok(Weights { model, place, parts, index, device, dtype, int8: false, survey: None })
    }

    /// Turns these weights into a survey: from now on nothing is loaded and nothing is refused.
    pub fn survey(mut self) -> Self {
        self.survey = Some(Mutex::new(Vec::new()));
        self
    }

    /// From now on the encoders that are loaded compute in 8 bits, where `int8` says so and this machine can.
    pub fn in_int8(mut self, int8: bool) -> Self {
        self.int8 = int8;
        self
    }

    /// What a survey saw: the tensors asked for, in that order, then those that no one asked for, by name.
    pub fn rows(&self) -> Vec<TensorRow> {
        let mut rows = match &self.survey {
            Some(rows) => rows.lock().map(|rows| rows.clone()).unwrap_or_default(),
            None => Vec::new(),
        };
        let mut spare: Vec<_> =
            self.index.keys().filter(|name| rows.iter().all(|r| &r.name != *name)).collect();
        spare.sort();
        let spare: Vec<_> = spare.into_iter().map(|name| self.row(name, None)).collect();
        rows.extend(spare);
        rows
    }

    /// Whether there is a tensor `name`.
    pub fn has(&self, name: &str) -> bool {
        self.index.contains_key(name)
    }

    /// Everything, from the root of the names.
    pub fn root(&self) -> Scope<'_> {
        Scope { weights: self, prefix: String::new() }
    }

    /// The tensors under `prefix.`, or all for an empty one.
    pub fn under(&self, prefix: &str) -> Scope<'_> {
        if prefix.is_empty() { self.root() } else { self.root().pp(prefix) }
    }

    /// The tensor `name`, which must have `shape`.
    ///
    /// # Errors
    /// [`Error::Model`] naming file and tensor, with both shapes where they differ.
    pub fn get(&self, name: &str, shape: impl Into<Shape>) -> Result<Tensor> {
        let shape = shape.into();
        let row = self.row(name, Some(shape.dims().to_vec()));
        if let Some(rows) = &self.survey {
            if let Ok(mut rows) = rows.lock() {
                rows.push(row);
            }
            // One zero, seen from everywhere: a survey takes no memory.
            return Ok(Tensor::zeros((), self.dtype, &self.device)?.broadcast_as(shape)?);
        }
        let Some(part) = self.part(name) else {
            return Err(self.error(format!("{} has no tensor {name}", self.place)));
        };
        if !row.fits() {
            let found = row.found.unwrap_or_default();
            return Err(self.error(format!(
                "{}: {name} has shape {found:?}, expected {:?}",
                part.file,
                shape.dims()
            )));
        }
        let tensor = part
            .store
            .load(name, &self.device)
            .map_err(|e| self.error(format!("{}: {name} can't be read: {}", part.file, plain(&e))))?;
        Ok(tensor.to_dtype(self.dtype)?)
    }

    fn part(&self, name: &str) -> Option<&Part> {
        self.parts.get(*self.index.get(name)?)
    }

    fn row(&self, name: &str, expected: Option<Vec<usize>>) -> TensorRow {
        let part = self.part(name);
        let (found, dtype) = part.and_then(|part| part.store.describe(name)).unzip();
        let file = part.map_or_else(|| self.place.clone(), |part| part.file.clone());
        TensorRow { name: name.to_owned(), expected, found, dtype: dtype.unwrap_or_default(), file }
    }

    fn error(&self, reason: String) -> Error {
        Error::model(&self.model, reason)
    }
}

impl Store {
    fn open(blob: &Blob, file: &str) -> candle_core::Result<Self> {
        match blob {
            Blob::Path(path) if file.ends_with(".bin") => Ok(Store::Pickle(PthTensors::new(path, None)?)),
            // SAFETY: the mapping is only read. Whoever truncates the file meanwhile ends this process with a bus error;
            // the hub's cache never does: it writes a new file and renames it.
            Blob::Path(path) => Ok(Store::Mapped(unsafe { MmapedSafetensors::new(path) }?)),
            Blob::Static(bytes) => Ok(Store::Static(SliceSafetensors::new(bytes)?)),
        }
    }

    fn names(&self) -> Vec<String> {
        match self {
            Store::Mapped(store) => store.tensors().into_iter().map(|(name, _)| name).collect(),
            Store::Static(store) => store.tensors().into_iter().map(|(name, _)| name).collect(),
            Store::Pickle(store) => store.tensor_infos().keys().cloned().collect(),
        }
    }

    /// A tensor's shape and dtype.
    fn describe(&self, name: &str) -> Option<(Vec<usize>, String)> {
        let view = match self {
            Store::Mapped(store) => store.get(name).ok()?,
            Store::Static(store) => store.get(name).ok()?,
            Store::Pickle(store) => {
                let info = store.tensor_infos().get(name)?;
                return Some((info.layout.dims().to_vec(), info.dtype.as_str().to_uppercase()));
            }
        };
        Some((view.shape().to_vec(), format!("{:?}", view.dtype())))
    }

    fn load(&self, name: &str, device: &Device) -> candle_core::Result<Tensor> {
        match self {
            Store::Mapped(store) => store.load(name, device),
            Store::Static(store) => store.load(name, device),
            Store::Pickle(store) => match store.get(name)? {
                Some(tensor) => tensor.to_device(device),
                None => candle_core::bail!("it is not in the archive"),
            },
        }
    }
}

/// What may be wrong with an unreadable `file`.
fn hint(file: &str) -> &'static str {
    match file.ends_with(".bin") {
        true => "; if PyTorch before 1.6 saved it, save it anew with a later one, best as safetensors",
        false => "",
    }
}

/// The tensors under one prefix.
#[derive(Clone)]
pub struct Scope<'a> {
    weights: &'a Weights,
    prefix: String,
}

impl Scope<'_> {
    /// The tensors under `name.` in this scope.
    pub fn pp(&self, name: impl std::fmt::Display) -> Self {
        Scope { weights: self.weights, prefix: format!("{}{name}.", self.prefix) }
    }

    /// Whether there is a tensor `name` in this scope.
    pub fn has(&self, name: &str) -> bool {
        self.weights.has(&self.full(name))
    }

    /// The tensor `name` of this scope, as [`Weights::get`].
    pub fn get(&self, name: &str, shape: impl Into<Shape>) -> Result<Tensor> {
        self.weights.get(&self.full(name), shape)
    }

    /// A layer norm over `size` values.
    pub fn layer_norm(&self, name: &str, size: usize, eps: f64) -> Result<LayerNorm> {
        let scope = self.pp(name);
        Ok(LayerNorm::new(scope.get("weight", size)?, scope.get("bias", size)?, eps))
    }

    /// A linear layer with bias.
    pub fn linear(&self, name: &str, from: usize, to: usize) -> Result<Linear> {
        let scope = self.pp(name);
        Ok(Linear::new(scope.get("weight", (to, from))?, Some(scope.get("bias", to)?)))
    }

    /// A linear layer without bias.
    pub fn linear_no_bias(&self, name: &str, from: usize, to: usize) -> Result<Linear> {
        Ok(Linear::new(self.pp(name).get("weight", (to, from))?, None))
    }

    /// As [`Scope::linear`], made ready to multiply by on this machine.
    pub fn product(&self, name: &str, from: usize, to: usize) -> Result<Product> {
        self.ready(self.linear(name, from, to)?)
    }

    /// As [`Scope::linear_stacked`], made ready to multiply by on this machine.
    pub fn product_stacked(&self, names: &[&str], from: usize, to: usize) -> Result<Product> {
        self.ready(self.linear_stacked(names, from, to)?)
    }

    /// `linear` made ready to multiply by on this machine; in a survey, as it is.
    pub(crate) fn ready(&self, linear: Linear) -> Result<Product> {
        match self.weights.survey {
            Some(_) => Ok(Product::Plain(linear)),
            None => Product::new(linear, if self.int8() { Precision::Half } else { Precision::Full }),
        }
    }

    /// Several linear layers over the same input as one, their outputs side by side.
    pub fn linear_stacked(&self, names: &[&str], from: usize, to: usize) -> Result<Linear> {
        let layers = names.iter().map(|name| self.linear(name, from, to)).collect::<Result<Vec<_>>>()?;
        if self.weights.survey.is_some() {
            let nothing = Tensor::zeros(1, self.weights.dtype, &self.weights.device)?;
            return Ok(Linear::new(nothing, None));
        }
        let weights: Vec<_> = layers.iter().map(Linear::weight).collect();
        let biases: Vec<_> = layers.iter().filter_map(Linear::bias).collect();
        Ok(Linear::new(Tensor::cat(&weights, 0)?, Some(Tensor::cat(&biases, 0)?)))
    }

    /// A table of `count` rows of `size` values.
    pub fn embedding(&self, name: &str, count: usize, size: usize) -> Result<Embedding> {
        Ok(Embedding::new(self.pp(name).get("weight", (count, size))?, size))
    }

    /// Where computing happens.
    pub fn device(&self) -> &Device {
        &self.weights.device
    }

    /// In which numbers.
    pub fn dtype(&self) -> DType {
        self.weights.dtype
    }

    /// Whether encoders are to compute in 8 bits.
    pub fn int8(&self) -> bool {
        self.weights.int8
    }

    /// Whether nothing is loaded, and tensors have shapes only.
    pub fn is_survey(&self) -> bool {
        self.weights.survey.is_some()
    }

    fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

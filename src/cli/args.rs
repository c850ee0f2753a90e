//! The flags that all verbs share.

use super::progress::Downloads;
use crate::engine::{Engine, EngineOptions, ModelOptions, QueueOptions};
use crate::error::Result;
use clap::Args;
use clap::builder::FalseyValueParser;
use std::path::PathBuf;
use std::sync::Arc;

/// Flags that stand before or after any verb.
#[derive(Args)]
pub(super) struct Shared {
    /// Where collections are kept
    #[arg(long, global = true, value_name = "DIR", env = "EYESHOT_DATA", default_value = "./eyeshot-data")]
    pub data: PathBuf,
    /// Print JSON lines for scripts, one result a line
    #[arg(long, global = true, env = "EYESHOT_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
    /// Where models run: auto, cpu, cuda, cuda:1
    #[arg(long, global = true, value_name = "DEVICE", env = "EYESHOT_DEVICE", default_value = "auto")]
    device: String,
    /// Number type of the models: auto, f32, f16, bf16
    #[arg(long, global = true, value_name = "TYPE", env = "EYESHOT_DTYPE", default_value = "auto")]
    dtype: String,
    /// Pack a language model's matrices: q4k (a quarter of f16), q8_0 (half of it)
    #[arg(long, global = true, value_name = "PACKING", env = "EYESHOT_QUANTIZE")]
    quantize: Option<String>,
    /// Use models of this machine only, and download nothing
    #[arg(long, global = true, env = "EYESHOT_OFFLINE", value_parser = FalseyValueParser::new())]
    offline: bool,
}

/// Which collection a verb is about.
#[derive(Args)]
pub(super) struct Named {
    /// The collection
    #[arg(short, long, value_name = "NAME", env = "EYESHOT_COLLECTION", default_value = "default")]
    pub collection: String,
}

impl Shared {
    /// Opens the data directory.
    pub fn engine(&self) -> Result<Engine> {
        self.engine_in(self.data.clone())
    }

    /// Opens the data directory with other queues before the models.
    pub fn engine_with(&self, queue: QueueOptions) -> Result<Engine> {
        let (data, progress) = (self.data.clone(), Arc::new(Downloads::default()));
        Engine::open_with(EngineOptions { data, models: self.models()?, progress }, queue)
    }

    /// Opens another data directory with the same settings.
    pub fn engine_in(&self, data: PathBuf) -> Result<Engine> {
        Engine::open(EngineOptions { data, models: self.models()?, progress: Arc::new(Downloads::default()) })
    }

    /// How models are loaded.
    pub fn models(&self) -> Result<ModelOptions> {
        let (device, dtype) = (self.device.parse()?, self.dtype.parse()?);
        let quantize = self.quantize.as_deref().map(str::parse).transpose()?;
        Ok(ModelOptions { device, dtype, quantize, offline: self.offline, ..ModelOptions::default() })
    }
}

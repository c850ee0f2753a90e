//! The flags that all verbs share.

use super::progress::Downloads;
use crate::engine::decode::Limits;
use crate::engine::{
    AnswerOptions, DeskOptions, Engine, EngineOptions, MatchOptions, ModelOptions, Refetch, Serving,
};
use crate::error::Result;
use clap::Args;
use clap::builder::FalseyValueParser;
use std::path::PathBuf;
use std::sync::{Arc, Once};
use std::time::Duration;

/// A word on what this machine does another way is said once.
static SAID: Once = Once::new();

/// Flags that stand before or after any verb.
#[derive(Args)]
pub(super) struct Shared {
    /// Where collections are kept
    #[arg(long, global = true, value_name = "DIR", env = "EYESHOT_DATA", default_value = "./eyeshot-data")]
    pub data: PathBuf,
    /// Print JSON lines for scripts, one result a line
    #[arg(long, global = true, env = "EYESHOT_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
    /// Where models run: auto, cpu, cuda, cuda:1; of several with commas each embeds its share, and other models run on the first
    #[arg(
        long,
        global = true,
        value_name = "DEVICE",
        env = "EYESHOT_DEVICE",
        default_value = "auto",
        value_delimiter = ','
    )]
    device: Vec<String>,
    /// Number type of the models: auto, f32, f16, bf16; int8 on CPUs, for encoders: two to three times as fast as f32
    #[arg(long, global = true, value_name = "TYPE", env = "EYESHOT_DTYPE", default_value = "auto")]
    dtype: String,
    /// Pack a language model's matrices: q4k (a quarter of f16), q8_0 (half of it)
    #[arg(long, global = true, value_name = "PACKING", env = "EYESHOT_QUANTIZE")]
    quantize: Option<String>,
    /// Use models of this machine only, and download nothing
    #[arg(long, global = true, env = "EYESHOT_OFFLINE", value_parser = FalseyValueParser::new())]
    offline: bool,
}

/// What holds pictures against words.
#[derive(Args)]
pub(super) struct Matching {
    /// The matcher for reranking: a Hugging Face id such as Salesforce/blip-itm-base-coco, a directory, or demo [default: demo
    /// where the collection's model is demo, else none]
    #[arg(long, value_name = "M", env = "EYESHOT_MATCHER")]
    pub matcher: Option<String>,
    /// How much of what a matcher saw in pictures is remembered, in MiB
    #[arg(long, value_name = "MIB", env = "EYESHOT_FEATURE_CACHE", default_value_t = MatchOptions::default().features >> 20)]
    feature_cache: u64,
    /// How a matcher's text begins: cls, as transformers has it, or enc, as BLIP's authors had it
    #[arg(long, value_name = "NAME", env = "EYESHOT_MATCHING", default_value = "cls")]
    matching: String,
}

impl Matching {
    /// How models are loaded, matchers among them.
    pub fn models(&self, shared: &Shared) -> Result<ModelOptions> {
        Ok(ModelOptions { matching: self.matching.parse()?, ..shared.models()? })
    }

    pub fn options(&self) -> MatchOptions {
        MatchOptions { matcher: self.matcher.clone(), features: self.feature_cache.saturating_mul(1 << 20) }
    }
}

/// What decoding one picture may take.
#[derive(Args)]
pub(super) struct Bounds {
    /// The longest that decoding one picture may take, in seconds; one that takes longer is refused
    #[arg(long, value_name = "S", env = "EYESHOT_DECODE_TIMEOUT", default_value_t = Limits::default().time.as_secs(),
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    decode_timeout: u64,
}

impl Bounds {
    pub fn limits(&self) -> Limits {
        Limits { time: Duration::from_secs(self.decode_timeout), ..Limits::default() }
    }
}

/// What answers questions about pictures.
#[derive(Args)]
pub(super) struct Answering {
    /// The answerer: a LLaVA (llava-hf/llava-1.5-7b-hf) or a BLIP for questions (Salesforce/blip-vqa-base), by its Hugging Face
    /// id or directory, or demo [default: demo where the collection's model is demo, else none]
    #[arg(long, value_name = "M", env = "EYESHOT_ANSWERER")]
    pub answerer: Option<String>,
    /// Look at pictures closely, where the answerer can (LLaVA 1.6); they take several times the tokens then
    #[arg(long, env = "EYESHOT_TILES", value_parser = FalseyValueParser::new())]
    tiles: bool,
    /// How much of what an answerer saw in pictures is remembered, in MiB
    #[arg(long, value_name = "MIB", env = "EYESHOT_SEEN_CACHE", default_value_t = AnswerOptions::default().features >> 20)]
    seen_cache: u64,
    /// How many answers are written at once; more wait
    #[arg(long, value_name = "N", env = "EYESHOT_ANSWERS", default_value_t = DeskOptions::default().places)]
    answers: usize,
    /// How much memory the answers in the making may take together, in MiB; one alone may always be written
    #[arg(long, value_name = "MIB", env = "EYESHOT_ANSWER_MEMORY", default_value_t = DeskOptions::default().memory >> 20)]
    answer_memory: u64,
}

impl Answering {
    pub fn options(&self) -> AnswerOptions {
        let desk = DeskOptions {
            places: self.answers.max(1),
            memory: self.answer_memory.saturating_mul(1 << 20),
            ..DeskOptions::default()
        };
        let features = self.seen_cache.saturating_mul(1 << 20);
        AnswerOptions { answerer: self.answerer.clone(), features, tiles: self.tiles, desk }
    }
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

    /// Opens another data directory with the same settings.
    pub fn engine_in(&self, data: PathBuf) -> Result<Engine> {
        self.engine_serving(
            data,
            self.models()?,
            Serving { refetch: Refetch::anywhere(), ..Serving::default() },
        )
    }

    /// The same with a matcher.
    pub fn engine_matching(&self, data: PathBuf, matching: &Matching) -> Result<Engine> {
        let (matcher, refetch) = (matching.options(), Refetch::anywhere());
        let serving = Serving { matching: matcher, refetch, ..Serving::default() };
        self.engine_serving(data, matching.models(self)?, serving)
    }

    /// Opens a data directory, with all that serves in it.
    pub fn engine_serving(&self, data: PathBuf, models: ModelOptions, serving: Serving) -> Result<Engine> {
        Engine::open_serving(
            EngineOptions { data, models, progress: Arc::new(Downloads::default()) },
            serving,
        )
    }

    /// How many devices embed.
    pub fn devices(&self) -> usize {
        self.device.len()
    }

    /// How models are loaded.
    pub fn models(&self) -> Result<ModelOptions> {
        let mut devices = self.device.iter().map(|device| device.trim().parse());
        let device = devices.next().transpose()?.unwrap_or_default();
        let more_devices = devices.collect::<Result<_>>()?;
        let dtype = self.dtype.parse()?;
        let quantize = self.quantize.as_deref().map(str::parse).transpose()?;
        let offline = self.offline;
        let options =
            ModelOptions { device, more_devices, dtype, quantize, offline, ..ModelOptions::default() };
        if let Some(instead) = options.instead() {
            SAID.call_once(|| eprintln!("{instead}"));
        }
        Ok(options)
    }
}

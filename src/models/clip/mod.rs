//! CLIP (Radford et al. 2021, arXiv:2103.00020): pictures and texts in one space.
//!
//! 1. `config`  reads `config.json`.
//! 2. `vision` turns pixels into the class token's state, `text` turns token ids into the end token's state, `beginnings` that texts
//!    share once; both stand on `models::encoder`.
//! 3. Here each state is projected, made unit length and checked.

mod beginnings;
mod config;
mod text;
mod vision;

pub use config::{ClipConfig, TextConfig, TokenId, VisionConfig};
pub use text::{Pooling, TextTower, TokenBatch};
pub use vision::VisionTower;

use super::files::ModelFiles;
use super::layers::unit_rows;
use super::options::ModelOptions;
use super::preprocess::{Pixels, Preprocess};
use super::tokenizer::TextTokenizer;
use super::weights::{Scope, TensorRow, Weights};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use candle_nn::{Linear, Module};

/// How many texts or pictures go through a tower at once: more gains nothing and takes memory.
const BATCH: usize = 64;

/// A loaded CLIP. Its methods may be called from many threads at once.
pub struct Clip {
    name: String,
    fingerprint: String,
    dim: usize,
    logit_scale: f32,
    preprocess: Preprocess,
    tokenizer: TextTokenizer,
    pooling: Pooling,
    network: Network,
    device: Device,
    dtype: DType,
}

struct Network {
    vision: VisionTower,
    text: TextTower,
    visual_projection: Linear,
    text_projection: Linear,
    logit_scale: Tensor,
}

impl Clip {
    /// Loads the checkpoint `files`.
    ///
    /// # Errors
    /// [`Error::Model`] naming the file, field or tensor that is missing, misshapen or of another kind;
    /// [`Error::Invalid`] for a device that isn't there.
    pub fn load(files: &ModelFiles, options: &ModelOptions) -> Result<Self> {
        let config = ClipConfig::read(files)?;
        let (device, dtype) = options.resolve()?;
        let preprocess = Preprocess::read(files)?;
        preprocess.must_make(files, config.vision.image_size)?;
        let tokenizer = TextTokenizer::read(files, config.text.max_position_embeddings)?;
        let pooling = Pooling::of(&config.text);
        check_tokenizer(files, &tokenizer, &config.text, pooling)?;
        let weights = Weights::open(files, &device, dtype)?.in_int8(options.int8());
        let network = Network::load(&weights.root(), &config, Some(&preprocess))?;
        let logit_scale = network.logit_scale.to_dtype(DType::F32)?.to_scalar::<f32>()?.exp();
        Ok(Clip {
            name: files.name.clone(),
            fingerprint: files.fingerprint()?,
            dim: config.projection_dim,
            logit_scale,
            preprocess,
            tokenizer,
            pooling,
            network,
            device,
            dtype,
        })
    }

    /// Every tensor that the checkpoint's config asks for, beside what its files hold; nothing is loaded.
    pub(crate) fn survey(files: &ModelFiles) -> Result<Vec<TensorRow>> {
        let config = ClipConfig::read(files)?;
        let weights = Weights::open(files, &Device::Cpu, DType::F32)?.survey();
        Network::load(&weights.root(), &config, None)?;
        Ok(weights.rows())
    }

    /// The model as the user named it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sixteen hex digits that tell this model from every other; see [`ModelFiles::fingerprint`].
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The length of an embedding.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// What a cosine is multiplied by to become a logit: exp of the checkpoint's `logit_scale`.
    pub fn logit_scale(&self) -> f32 {
        self.logit_scale
    }

    /// How many pixels a side it makes of a picture: of one with fewer, it would see less. None for as many as there are.
    pub fn enough(&self) -> Option<u32> {
        self.preprocess.enough()
    }

    /// `image` as this model wants to see it. Runs on the calling thread.
    ///
    /// # Errors
    /// [`Error::Image`] for an image without pixels.
    pub fn prepare(&self, image: &image::RgbImage) -> Result<Pixels> {
        self.preprocess.run(image)
    }

    /// The embeddings of `batch`, in order, each `dim` long and of unit length.
    ///
    /// # Errors
    /// [`Error::Compute`] when a number is not finite or the device fails; [`Error::Invalid`] for pixels that another
    /// model prepared.
    pub fn embed_pixels(&self, batch: &[Pixels]) -> Result<Vec<Vec<f32>>> {
        let mut embeddings = Vec::with_capacity(batch.len());
        let mut passes = batch.chunks(BATCH).map(|pixels| -> Result<Tensor> {
            let states = self.network.vision.forward(&self.pixel_tensor(pixels)?)?;
            Ok(self.network.visual_projection.forward(&states)?)
        });
        // A GPU is given the next before it is asked what it made of these, and need not wait for anyone.
        let mut next = passes.next().transpose()?;
        while let Some(states) = next {
            next = passes.next().transpose()?;
            embeddings.extend(unit_rows(&states)?);
        }
        Ok(embeddings)
    }

    /// The embeddings of `texts`, in order, each `dim` long and of unit length. A text that is too long is cut, its end
    /// token kept.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty text; [`Error::Compute`] when a number is not finite or the device fails.
    pub fn embed_texts(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        let mut ids = self.token_ids(texts)?;
        // What is past a text's end tells nothing of it.
        for ids in &mut ids {
            let end = self.end(ids)?;
            ids.truncate(end + 1);
        }
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        unit_rows(&self.network.text_projection.forward(&self.network.text.ends(&ids)?)?)
    }

    /// The token ids of `texts`, start and end included, not padded.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty text.
    pub fn token_ids(&self, texts: &[&str]) -> Result<Vec<Vec<u32>>> {
        texts.iter().map(|text| self.tokenizer.encode(text)).collect()
    }

    /// The vision tower.
    pub fn vision(&self) -> &VisionTower {
        &self.network.vision
    }

    /// The text tower.
    pub fn text(&self) -> &TextTower {
        &self.network.text
    }

    /// `batch` as one tensor, (batch, 3, side, side), on the model's device and in the numbers that its vision tower reads.
    ///
    /// # Errors
    /// [`Error::Invalid`] for pixels that another model prepared.
    pub fn pixel_tensor(&self, batch: &[Pixels]) -> Result<Tensor> {
        let dtype = self.network.vision.reads().unwrap_or(self.dtype);
        self.preprocess.tensor(&self.name, batch, &self.device, dtype)
    }

    fn end(&self, ids: &[u32]) -> Result<usize> {
        let missing = || Error::model(&self.name, "the tokenizer did not end a text with eos_token_id");
        self.pooling.position(ids).ok_or_else(missing)
    }
}

impl Network {
    fn load(root: &Scope, config: &ClipConfig, preprocess: Option<&Preprocess>) -> Result<Self> {
        let dim = config.projection_dim;
        Ok(Network {
            vision: VisionTower::load(&root.pp("vision_model"), &config.vision, preprocess)?,
            text: TextTower::load(&root.pp("text_model"), &config.text)?,
            visual_projection: root.linear_no_bias("visual_projection", config.vision.hidden_size, dim)?,
            text_projection: root.linear_no_bias("text_projection", config.text.hidden_size, dim)?,
            logit_scale: root.get("logit_scale", ())?,
        })
    }
}

/// Whether what the tokenizer makes is what the text tower can take.
fn check_tokenizer(
    files: &ModelFiles,
    tokenizer: &TextTokenizer,
    config: &TextConfig,
    pooling: Pooling,
) -> Result<()> {
    tokenizer.must_fit(files, config.vocab_size)?;
    let name = files.tokenizer()?.first().copied().unwrap_or_default();
    let sample = tokenizer.encode("a")?;
    match pooling {
        Pooling::FirstOf(eos) if !sample.contains(&eos) => Err(files.error(format!(
            "{name} does not end a text with text_config.eos_token_id {eos}: \"a\" becomes {sample:?}"
        ))),
        _ => Ok(()),
    }
}

//! BLIP (Li et al. 2022, arXiv:2201.12086): looks at picture and words together; matches, writes captions, answers.
//!
//! 1. `config` reads `config.json`; `network` tells from it and from the tensors what the checkpoint can do, and loads that.
//! 2. `vision` turns pixels into states, which leave as [`Features`], to be cached by whoever likes.
//! 3. `text` reads and writes words, `cross` lets them look at a picture's states, once or with kept keys and values.
//! 4. `matcher` scores pairs of picture and text, `writer` writes captions and answers by way of `models::generate`.
//! 5. Here is what others call.

mod config;
mod cross;
mod features;
mod matcher;
mod network;
mod text;
mod vision;
mod writer;

pub use config::{BlipConfig, TextConfig, VisionConfig};
pub use features::Features;
pub use matcher::{Judgement, Matching};
pub use vision::VisionTower;

use super::files::ModelFiles;
use super::generate::{Decoding, Generated};
use super::options::ModelOptions;
use super::preprocess::{Pixels, Preprocess};
use super::tokenizer::TextTokenizer;
use super::weights::{TensorRow, Weights};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use network::{Abilities, Network};

/// How many pictures go through the vision tower at once: more gains nothing and takes memory.
const BATCH: usize = 8;

/// A loaded BLIP. Its methods may be called from many threads at once.
///
/// What it can do depends on the tensors that the checkpoint has: match (`BlipForImageTextRetrieval`), write captions
/// (`BlipForConditionalGeneration`), answer questions (`BlipForQuestionAnswering`); one directory may hold several.
/// What it can't do gives [`Error::Unsupported`]. A text with more tokens than [`Blip::longest`] is cut, its end token kept;
/// [`Blip::excess`] says by how much.
pub struct Blip {
    name: String,
    fingerprint: String,
    config: BlipConfig,
    preprocess: Preprocess,
    tokenizer: TextTokenizer,
    network: Network,
    matching: Matching,
    device: Device,
    dtype: DType,
}

impl Blip {
    /// Loads the checkpoint `files`.
    ///
    /// # Errors
    /// [`Error::Model`] naming the file, field or tensor that is missing, misshapen or of another kind;
    /// [`Error::Invalid`] for a device that isn't there.
    pub fn load(files: &ModelFiles, options: &ModelOptions) -> Result<Self> {
        let config = BlipConfig::read(files)?;
        let (device, dtype) = options.resolve()?;
        let preprocess = Preprocess::read(files)?;
        preprocess.must_make(files, config.vision.image_size)?;
        let tokenizer = TextTokenizer::read(files, config.text.max_position_embeddings)?;
        tokenizer.must_fit(files, config.text.vocab_size)?;
        let weights = Weights::open(files, &device, dtype)?.in_int8(options.int8());
        let abilities = Abilities::of(files, &config, &weights)?;
        let network = Network::load(&weights.root(), &config, abilities, Some(&preprocess))?;
        let blip = Blip {
            name: files.name.clone(),
            fingerprint: files.fingerprint()?,
            config,
            preprocess,
            tokenizer,
            network,
            matching: options.matching,
            device,
            dtype,
        };
        blip.check_start(files)?;
        Ok(blip)
    }

    /// Every tensor that the checkpoint's config asks for, beside what its files hold; nothing is loaded.
    pub(crate) fn survey(files: &ModelFiles) -> Result<Vec<TensorRow>> {
        let config = BlipConfig::read(files)?;
        let weights = Weights::open(files, &Device::Cpu, DType::F32)?;
        let abilities = Abilities::of(files, &config, &weights)?;
        let weights = weights.survey();
        Network::load(&weights.root(), &config, abilities, None)?;
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

    /// Whether it can score how well a text fits a picture.
    pub fn can_match(&self) -> bool {
        self.network.abilities.matches
    }

    /// Whether it can write captions.
    pub fn can_caption(&self) -> bool {
        self.network.abilities.captions
    }

    /// Whether it can answer questions.
    pub fn can_answer(&self) -> bool {
        self.network.abilities.answers
    }

    /// The longest text in tokens, start and end included.
    pub fn longest(&self) -> usize {
        self.config.text.max_position_embeddings
    }

    /// How many tokens of `text` are cut off; 0 when it fits.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty text.
    pub fn excess(&self, text: &str) -> Result<usize> {
        self.tokenizer.excess(text)
    }

    /// The token ids of `texts`, start and end included, not padded.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty text.
    pub fn token_ids(&self, texts: &[&str]) -> Result<Vec<Vec<u32>>> {
        texts.iter().map(|text| self.tokenizer.encode(text)).collect()
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

    /// What the vision tower makes of each of `pixels`, in order.
    ///
    /// # Errors
    /// [`Error::Compute`] when a number is not finite or the device fails; [`Error::Invalid`] for pixels that another
    /// model prepared.
    pub fn look(&self, pixels: &[Pixels]) -> Result<Vec<Features>> {
        let mut features = Vec::with_capacity(pixels.len());
        for pixels in pixels.chunks(BATCH) {
            let states = self.network.vision.forward(&self.pixel_tensor(pixels)?)?;
            for picture in 0..pixels.len() {
                features.push(Features::take(&states.get(picture)?)?);
            }
        }
        Ok(features)
    }

    /// The probability that the text of each pair fits its picture, in order. Pairs may mix pictures and texts: a picture's
    /// keys and values are computed once, a text is cut into tokens once.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where [`Blip::can_match`] is false; [`Error::Invalid`] for an empty text and for another
    /// model's features; [`Error::Compute`] when a number is not finite or the device fails.
    pub fn matches(&self, pairs: &[(&Features, &str)]) -> Result<Vec<f32>> {
        Ok(self.judge(pairs)?.into_iter().map(|judgement| judgement.probability).collect())
    }

    /// As [`Blip::matches`], with the number that the convention chosen ([`ModelOptions::matching`]) ranks by.
    ///
    /// # Errors
    /// As [`Blip::matches`].
    pub fn judge(&self, pairs: &[(&Features, &str)]) -> Result<Vec<Judgement>> {
        matcher::judge(self, pairs)
    }

    /// The cosine of each pair's picture and text in the space of the contrastive heads.
    ///
    /// # Errors
    /// As [`Blip::matches`].
    pub fn similarities(&self, pairs: &[(&Features, &str)]) -> Result<Vec<f32>> {
        matcher::similarities(self, pairs)
    }

    /// The contrastive embeddings of pictures: unit length, `image_text_hidden_size` long.
    ///
    /// # Errors
    /// As [`Blip::matches`].
    pub fn image_embeddings(&self, images: &[&Features]) -> Result<Vec<Vec<f32>>> {
        matcher::image_embeddings(self, images)
    }

    /// The contrastive embeddings of texts: unit length, `image_text_hidden_size` long.
    ///
    /// # Errors
    /// As [`Blip::matches`].
    pub fn text_embeddings(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        matcher::text_embeddings(self, texts)
    }

    /// A caption of each of `images`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where [`Blip::can_caption`] is false; [`Error::Invalid`] for settings out of range, for a
    /// prefix that is empty or leaves no room, and for another model's features; [`Error::Compute`] as [`Blip::matches`].
    pub fn caption(&self, images: &[&Features], how: &Decoding) -> Result<Vec<Generated>> {
        writer::caption(self, images, how)
    }

    /// An answer to each question about its picture. A prefix in `how` begins the answer.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where [`Blip::can_answer`] is false; else as [`Blip::caption`], and for an empty question.
    pub fn answer(&self, questions: &[(&Features, &str)], how: &Decoding) -> Result<Vec<Generated>> {
        writer::answer(self, questions, how)
    }

    /// The vision tower.
    pub fn vision(&self) -> &VisionTower {
        &self.network.vision
    }

    /// `batch` as one tensor, (batch, 3, side, side), on the model's device and in the numbers that its vision tower reads.
    ///
    /// # Errors
    /// [`Error::Invalid`] for pixels that another model prepared.
    pub fn pixel_tensor(&self, batch: &[Pixels]) -> Result<Tensor> {
        let dtype = self.network.vision.reads().unwrap_or(self.dtype);
        self.preprocess.tensor(&self.name, batch, &self.device, dtype)
    }

    /// `features` as a tensor, (1 + patches, width), if they can be this model's.
    fn states(&self, features: &Features) -> Result<Tensor> {
        let vision = &self.config.vision;
        let own = (1 + vision.grid() * vision.grid(), vision.hidden_size);
        if features.size() != own {
            return Err(Error::invalid(
                format!("features of size {:?}", features.size()),
                format!("features that {} made: {own:?}", self.name),
            ));
        }
        features.tensor(&self.device, self.dtype)
    }

    /// Token ids of a text that looks at a picture: with the start token that the convention wants.
    fn looking_ids(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = self.tokenizer.encode(text)?;
        if let (Matching::Enc, Some(first)) = (self.matching, ids.first_mut()) {
            *first = self.enc();
        }
        Ok(ids)
    }

    fn enc(&self) -> u32 {
        self.config.text.enc_token_id.unwrap_or(self.config.text.bos_token_id + 1)
    }

    fn check_start(&self, files: &ModelFiles) -> Result<()> {
        let (enc, vocab) = (self.enc(), self.config.text.vocab_size);
        if self.matching == Matching::Enc && enc as usize >= vocab {
            return Err(files.error(format!(
                "the [ENC] convention needs the token id {enc}, and text_config.vocab_size is {vocab}; use the [CLS] convention"
            )));
        }
        Ok(())
    }

    fn lacks(&self, what: &str, class: &str) -> Error {
        let has = self.network.abilities.to_string();
        Error::unsupported(
            format!("model {:?} can't {what}, it can {has}", self.name),
            format!("use a {class} checkpoint"),
        )
    }
}

//! LLaVA (Liu et al. 2023, arXiv:2304.08485 and arXiv:2310.03744; 1.6: "LLaVA-NeXT", 2024): a language model that sees.
//!
//! 1. `config` reads `config.json`, `names` knows where checkpoints keep their tensors.
//! 2. `eyes` turns a picture into embeddings ([`Llava::prepare`], [`Llava::look`]), `grid` says where 1.6's tiles lie.
//! 3. `template` and `prompt` turn a question into tokens with holes for pictures.
//! 4. [`Llava::start`] fills the holes; a [`Session`] writes the answer, one token a step, over `llama`.

mod config;
mod eyes;
mod grid;
mod names;
mod prompt;
mod session;
mod template;

pub use config::{Layout, LlavaConfig};
pub use eyes::{Seen, View};
pub use prompt::Slot;
pub use session::{Finish, Piece, Session, Step, advance};

use super::files::{CONFIG, GENERATION_CONFIG, ModelFiles};
use super::generate::{Decoding, Generated, Strategy};
use super::llama::{Gguf, Llama, Source};
use super::options::ModelOptions;
use super::weights::{TensorRow, Weights};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use eyes::Eyes;
use prompt::Prompter;
use serde_json::Value;
use std::sync::Arc;

/// A loaded LLaVA. Its methods may be called from many threads at once.
pub struct Llava {
    name: String,
    fingerprint: String,
    eyes: Eyes,
    mind: Arc<Mind>,
}

/// What sessions share.
struct Mind {
    llama: Llama,
    prompter: Prompter,
    /// The tokens that end an answer.
    ends: Vec<u32>,
    context: usize,
}

/// A question about pictures.
#[derive(Clone, Copy, Debug, Default)]
pub struct Prompt<'a> {
    /// What the model is told about its task; None leaves that to the chat template.
    pub system: Option<&'a str>,
    /// The question. Special tokens in it, such as `<image>`, are plain text.
    pub question: &'a str,
    /// What it is about, in this order.
    pub images: &'a [&'a Seen],
    /// Strings that end the answer and are no part of it.
    pub stop: &'a [&'a str],
}

impl Llava {
    /// Loads the checkpoint `files`: with a `.gguf` of its language model beside it, that one's packed weights are used.
    ///
    /// # Errors
    /// [`Error::Model`] naming the file, field or tensor that is missing, misshapen or of another kind;
    /// [`Error::Invalid`] for a device or number type that isn't there.
    pub fn load(files: &ModelFiles, options: &ModelOptions) -> Result<Self> {
        let config = LlavaConfig::read(files)?;
        let (device, dtype) = options.resolve()?;
        let preprocess = Eyes::preprocess(files, &config)?;
        let prompter = Prompter::read(files, config.text.is_mistral)?;
        let (own, tower) = open(files, &device, dtype)?;
        let int8 = options.int8();
        let (own, tower) = (own.in_int8(int8), tower.map(|tower| tower.in_int8(int8)));
        let gguf = Gguf::find(files)?;
        let source = match &gguf {
            Some(gguf) => Source::gguf(gguf, &device, dtype),
            None => {
                let (body, head) = names::language(&own);
                Source::files(body, head, options.quantize)
            }
        };
        let mind = Mind {
            llama: Llama::load(&source, &config.text)?,
            ends: ends(files, &prompter)?,
            prompter,
            context: config.text.context,
        };
        Ok(Llava {
            name: files.name.clone(),
            fingerprint: files.fingerprint()?,
            eyes: Eyes::load(&own, tower.as_ref(), &config, preprocess, &files.name)?,
            mind: Arc::new(mind),
        })
    }

    /// Every tensor that the checkpoint's config asks for, beside what its files hold; nothing is loaded.
    pub(crate) fn survey(files: &ModelFiles) -> Result<Vec<TensorRow>> {
        let config = LlavaConfig::read(files)?;
        let (own, tower) = open(files, &Device::Cpu, DType::F32)?;
        let (own, tower) = (own.survey(), tower.map(Weights::survey));
        Eyes::load(&own, tower.as_ref(), &config, Eyes::preprocess(files, &config)?, &files.name)?;
        if Gguf::find(files)?.is_none() {
            let (body, head) = names::language(&own);
            Llama::load(&Source::files(body, head, None), &config.text)?;
        }
        let borrowed = tower.map(|tower| tower.rows()).unwrap_or_default();
        Ok(own.rows().into_iter().chain(borrowed.into_iter().filter(|row| row.expected.is_some())).collect())
    }

    /// The model as the user named it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sixteen hex digits that tell this model from every other; see [`ModelFiles::fingerprint`].
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// How many tokens the model can hold: prompt, pictures and answer together.
    pub fn context(&self) -> usize {
        self.mind.context
    }

    /// What a session takes in memory that holds `tokens` at its end, in bytes.
    pub fn session_bytes(&self, tokens: usize) -> usize {
        self.mind.llama.cache_bytes(tokens)
    }

    /// The language model.
    pub fn language(&self) -> &Llama {
        &self.mind.llama
    }

    /// How many tokens a picture of (height, width) takes in a prompt. LLaVA 1.6 looks closely with `tiles`; without, and for
    /// all other models, it is the same for every picture.
    pub fn image_tokens(&self, size: (u32, u32), tiles: bool) -> usize {
        self.eyes.tokens(size, tiles)
    }

    /// Whether its chat template numbers pictures as `[1]`, `[2]`, and it was taught to name those that an answer rests on.
    pub fn numbers_pictures(&self) -> bool {
        self.mind.prompter.numbers()
    }

    /// How many tokens the question itself takes, the chat template's included, pictures not.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty question.
    pub fn question_tokens(&self, prompt: &Prompt) -> Result<usize> {
        let slots = self.mind.prompter.prompt(prompt.system, prompt.question, prompt.images.len())?;
        Ok(slots.len() - prompt.images.len())
    }

    /// The tokens with which an answer that begins as `text` does can begin: for [`Decoding::begin_suppress`].
    ///
    /// # Errors
    /// [`Error::Model`] when the tokenizer fails.
    pub fn begin_tokens(&self, text: &str) -> Result<Vec<u32>> {
        self.mind.prompter.begin(text)
    }

    /// `image` as this model wants to see it; with `tiles`, closely, where it can. Runs on the calling thread.
    ///
    /// # Errors
    /// [`Error::Image`] for an image without pixels.
    pub fn prepare(&self, image: &image::RgbImage, tiles: bool) -> Result<View> {
        self.eyes.prepare(image, tiles)
    }

    /// What the model sees of `views`, in order. It depends on nothing else, and may be kept and used again.
    ///
    /// # Errors
    /// [`Error::Compute`] when the device fails; [`Error::Invalid`] for a view that another model prepared.
    pub fn look(&self, views: &[View]) -> Result<Vec<Seen>> {
        self.eyes.look(views)
    }

    /// The states of the vision tower that go into the projector, of each of the view's squares: (squares, patches, width).
    ///
    /// # Errors
    /// As [`Llava::look`].
    pub fn vision_states(&self, view: &View) -> Result<Tensor> {
        self.eyes.states(&self.eyes.pixels(view.squares())?)
    }

    /// The prompt's tokens, with a hole for each picture.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty question; [`Error::Model`] when the chat template fails.
    pub fn slots(&self, prompt: &Prompt) -> Result<Vec<Slot>> {
        self.mind.prompter.prompt(prompt.system, prompt.question, prompt.images.len())
    }

    /// Begins an answer. Nothing is computed yet: the first step reads the prompt.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty question, a prompt that is longer than the model can hold, a picture that another
    /// model saw, or a way of decoding that is out of range.
    pub fn start(&self, prompt: &Prompt, how: &Decoding) -> Result<Session> {
        how.check()?;
        if let Strategy::Beam { width, .. } = how.strategy {
            return Err(Error::invalid(format!("{width} beams"), "answers are written greedily or by top-p"));
        }
        if how.prefix.is_some() {
            return Err(Error::invalid("a prefix", "none: only captions take one"));
        }
        let slots = self.slots(prompt)?;
        let pictures: usize = prompt.images.iter().map(|seen| seen.tokens()).sum();
        let (length, room) = (slots.len() - prompt.images.len() + pictures, self.mind.context);
        if length >= room {
            return Err(Error::invalid(
                format!(
                    "a prompt of {length} tokens, {pictures} of them for {} pictures",
                    prompt.images.len()
                ),
                format!("fewer than {room}: ask in fewer words, or about fewer pictures"),
            ));
        }
        let (embeddings, tokens) = self.fill(&slots, prompt.images)?;
        Session::new(Arc::clone(&self.mind), embeddings, tokens, prompt.stop, how)
    }

    /// A whole answer at once. Its `token_ids` are those of the answer alone.
    ///
    /// # Errors
    /// As [`Llava::start`] and [`Session::next`].
    pub fn answer(&self, prompt: &Prompt, how: &Decoding) -> Result<Generated> {
        let mut session = self.start(prompt, how)?;
        let mut text = String::new();
        while let Some(piece) = session.next()? {
            text.push_str(&piece.text);
        }
        let (token_ids, log_prob) = (session.written().to_vec(), session.log_prob());
        if session.finish() != Some(Finish::Stop) {
            // All tokens at once: where bytes are broken, a stream can't take back what it has said.
            text = self.mind.prompter.decode(&token_ids)?;
        }
        Ok(Generated { text: text.trim().to_owned(), token_ids, log_prob })
    }

    /// The embeddings of a whole prompt, (tokens, width), and the ids of those that are no picture.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a picture that another model saw.
    pub fn fill(&self, slots: &[Slot], images: &[&Seen]) -> Result<(Tensor, Vec<u32>)> {
        let llama = &self.mind.llama;
        let width = llama.config().hidden_size;
        let (mut parts, mut tokens, mut images) = (Vec::new(), Vec::new(), images.iter());
        for run in slots.chunk_by(|a, b| matches!((a, b), (Slot::Token(_), Slot::Token(_)))) {
            let ids: Vec<u32> = run
                .iter()
                .filter_map(|slot| if let Slot::Token(id) = slot { Some(*id) } else { None })
                .collect();
            if !ids.is_empty() {
                self.must_know(&ids)?;
                parts.push(llama.embed(&ids)?);
                tokens.extend(ids);
                continue;
            }
            let Some(seen) = images.next() else { continue };
            if seen.states.dim(1)? != width {
                return Err(Error::invalid(
                    "a picture that another model saw",
                    format!("look at it with {}", self.name),
                ));
            }
            parts.push(seen.states.to_dtype(llama.dtype())?);
        }
        Ok((Tensor::cat(&parts, 0)?, tokens))
    }

    fn must_know(&self, ids: &[u32]) -> Result<()> {
        let vocab = self.mind.llama.vocab();
        match ids.iter().find(|id| **id as usize >= vocab) {
            Some(id) => Err(Error::model(
                &self.name,
                format!("the tokenizer makes the token {id}, and the language model has {vocab} of them"),
            )),
            None => Ok(()),
        }
    }
}

/// The checkpoint's own tensors, and those it borrows.
fn open(files: &ModelFiles, device: &Device, dtype: DType) -> Result<(Weights, Option<Weights>)> {
    let own = Weights::open(files, device, dtype)?;
    let tower = files.tower().map(|tower| Weights::open(tower, device, dtype)).transpose()?;
    Ok((own, tower))
}

/// The tokens that end an answer: as `generation_config.json` has them, else the config, else the tokenizer.
fn ends(files: &ModelFiles, prompter: &Prompter) -> Result<Vec<u32>> {
    let generation = if files.has(GENERATION_CONFIG) { files.json(GENERATION_CONFIG)? } else { Value::Null };
    let config = files.json(CONFIG)?;
    let ids = |value: &Value| -> Vec<u32> {
        let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        match value {
            Value::Array(many) => many.iter().filter_map(id).collect(),
            one => id(one).into_iter().collect(),
        }
    };
    let told = [&generation["eos_token_id"], &config["text_config"]["eos_token_id"], &config["eos_token_id"]];
    let mut told = told.into_iter().map(ids).filter(|ids| !ids.is_empty());
    // Llama's own end token is 2.
    Ok(told.next().unwrap_or_else(|| vec![prompter.end().unwrap_or(2)]))
}

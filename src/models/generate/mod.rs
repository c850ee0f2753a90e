//! From a network that says what comes next to a text: what captions, answers and chats share.
//!
//! 1. `logits` bends what the network says: repetition penalty, minimum length, temperature, nucleus.
//! 2. `single` writes one row a text, taking the likeliest token or drawing one; `beam` keeps several rows a text.
//! 3. `stream` turns tokens into text as they come, whole characters only, and holds back what may become a stop string.
//! 4. Here is what they are told ([`Decoding`]), what they ask of a network (`Decoder`) and what they give (`Written`).
//!
//! The rules are those of transformers' `generate`, so that the same weights write the same tokens.

mod beam;
mod logits;
mod single;
mod stream;

pub(crate) use logits::Draws;
pub(crate) use single::choose;
pub(crate) use stream::{Stops, Unfold};

use crate::{Error, Result};

/// How a text is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoding {
    /// How the next token is chosen.
    pub strategy: Strategy,
    /// How many tokens are written at most, the end token included; what the network has room for bounds it too.
    pub max_new_tokens: usize,
    /// How many tokens are written before the end token may come.
    pub min_new_tokens: usize,
    /// Divides the logits of tokens that stand already (multiplies them where they are negative): 1 leaves them alone
    /// (Keskar et al. 2019, arXiv:1909.05858).
    pub repetition_penalty: f32,
    /// How the text begins, for captions: "a picture of".
    pub prefix: Option<String>,
    /// Tokens that it does not begin with (transformers' `begin_suppress_tokens`).
    pub begin_suppress: Vec<u32>,
}

/// How the next token is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Strategy {
    /// The likeliest.
    Greedy,
    /// Of `width` texts side by side, the one with the highest log-probability over length^`length_penalty`.
    Beam {
        /// How many texts are kept.
        width: usize,
        /// Above 0 favours longer texts, below 0 shorter ones.
        length_penalty: f32,
        /// Stop as soon as `width` texts are finished, even where a longer one might score higher.
        early_stopping: bool,
    },
    /// Drawn from the likeliest tokens that together have probability `p` (Holtzman et al. 2019, arXiv:1904.09751). A
    /// text depends on `seed` and on its place in the batch alone.
    TopP {
        /// In (0, 1].
        p: f32,
        /// Divides the logits: below 1 is bolder, above 1 wilder.
        temperature: f32,
        /// What the draws follow from.
        seed: u64,
    },
}

impl Default for Decoding {
    /// Greedy, up to 20 tokens.
    fn default() -> Self {
        Decoding {
            strategy: Strategy::Greedy,
            max_new_tokens: 20,
            min_new_tokens: 0,
            repetition_penalty: 1.0,
            prefix: None,
            begin_suppress: vec![],
        }
    }
}

impl Decoding {
    /// The usual beam search: `width` texts, scores per token, stopping when no better one can come.
    pub fn beam(width: usize) -> Self {
        let strategy = Strategy::Beam { width, length_penalty: 1.0, early_stopping: false };
        Decoding { strategy, ..Decoding::default() }
    }

    /// How many rows a text takes.
    pub(crate) fn rows(&self) -> usize {
        match self.strategy {
            Strategy::Beam { width, .. } => width,
            _ => 1,
        }
    }

    /// # Errors
    /// [`Error::Invalid`] naming the number that is out of range.
    pub(crate) fn check(&self) -> Result<()> {
        let (least, most) = (self.min_new_tokens, self.max_new_tokens);
        let wrong = match self.strategy {
            _ if most == 0 => Some(("max_new_tokens 0".to_owned(), "at least 1")),
            _ if least > most => Some((format!("min_new_tokens {least}"), "at most max_new_tokens")),
            _ if !(self.repetition_penalty > 0.0 && self.repetition_penalty.is_finite()) => {
                Some((format!("repetition_penalty {}", self.repetition_penalty), "above 0; 1 means none"))
            }
            Strategy::Beam { width, .. } if !(1..=64).contains(&width) => {
                Some((format!("{width} beams"), "1 to 64"))
            }
            Strategy::Beam { length_penalty, .. } if !length_penalty.is_finite() => {
                Some((format!("length_penalty {length_penalty}"), "a finite number"))
            }
            Strategy::TopP { p, .. } if !(p > 0.0 && p <= 1.0) => {
                Some((format!("top_p {p}"), "above 0, at most 1"))
            }
            Strategy::TopP { temperature, .. } if !(temperature > 0.0 && temperature.is_finite()) => {
                Some((format!("temperature {temperature}"), "above 0; for the likeliest token use greedy"))
            }
            _ => None,
        };
        wrong.map_or(Ok(()), |(what, fix)| Err(Error::invalid(what, fix)))
    }
}

/// A text that a model wrote.
#[derive(Clone, Debug, PartialEq)]
pub struct Generated {
    /// The text, without special tokens; a caption begins with its prefix.
    pub text: String,
    /// Every token as transformers' `generate` returns them: start token, prefix, what was written, end token.
    pub token_ids: Vec<u32>,
    /// The model's log-probability of what was written, end token included.
    pub log_prob: f32,
}

/// What a network must do to write texts. It keeps keys and values of what it has read; a row is one text in the making.
pub(crate) trait Decoder {
    /// Reads `tokens`, (rows, tokens / rows), after what each row has read before, and says for each row what comes next:
    /// logits over the vocabulary, in f32.
    fn read(&mut self, tokens: &[u32], rows: usize) -> Result<Vec<Vec<f32>>>;

    /// Goes on with the rows `kept`, in that order, some perhaps more than once, others no more.
    fn keep(&mut self, kept: &[usize]) -> Result<()>;
}

/// What every text begins with and ends with.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// Start token and prefix: read before anything is written.
    pub prompt: Vec<u32>,
    /// Ends a text.
    pub end: u32,
}

/// A text as tokens.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Written {
    /// Prompt, what was written, end token where it came.
    pub tokens: Vec<u32>,
    /// Log-probability of what was written.
    pub log_prob: f32,
}

/// Writes `texts` texts at once. The decoder starts with texts x [`Decoding::rows`] rows, those of a text side by side.
pub(crate) fn write(
    decoder: &mut dyn Decoder,
    texts: usize,
    frame: &Frame,
    how: &Decoding,
) -> Result<Vec<Written>> {
    how.check()?;
    match how.strategy {
        _ if texts == 0 => Ok(Vec::new()),
        Strategy::Beam { width, length_penalty, early_stopping } => {
            beam::write(decoder, texts, frame, how, &beam::Rule { width, length_penalty, early_stopping })
        }
        Strategy::Greedy | Strategy::TopP { .. } => single::write(decoder, texts, frame, how),
    }
}

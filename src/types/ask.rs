//! Questions about images, and the answers to them.

use super::{Filter, ItemId, TermKind};
use serde::Serialize;
use std::time::Duration;

/// What is said where the images do not tell.
pub const REFUSAL: &str = "I can't tell from these images.";

/// A question about the images of a collection, or about given ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// The question.
    pub question: String,
    /// Look at these, in this order, and search for none: pictures, or items of the collection. With none of them, the answerer
    /// has nothing but the question.
    pub about: Option<Vec<TermKind>>,
    /// How many images are looked at, at most; at least 1. Fewer where the model can hold no more.
    pub limit: usize,
    /// Only among these.
    pub filter: Option<Filter>,
    /// Only images that match the question's words with at least this probability, where there is a matcher.
    pub min_match: f32,
    /// Tell the first answer as it comes, without holding what it claims against the images that it cites.
    pub unchecked: bool,
    /// How the answer is written.
    pub writing: Writing,
}

/// How an answer is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Writing {
    /// What the model is told about its task; None leaves it to the model's own template.
    pub system: Option<String>,
    /// How many tokens it may take; at least 1.
    pub max_tokens: usize,
    /// How long writing may take; what is there by then is the answer.
    pub time: Duration,
    /// 0 takes the likeliest token each time; above, tokens are drawn, the wilder the higher.
    pub temperature: f32,
    /// Tokens are drawn from the likeliest that have this probability together: above 0, at most 1.
    pub top_p: f32,
    /// What the draws follow from.
    pub seed: u64,
    /// Strings that end the answer and are no part of it.
    pub stop: Vec<String>,
}

impl Ask {
    /// `question` with the usual settings: up to four images, greedily.
    pub fn new(question: impl Into<String>) -> Self {
        Ask {
            question: question.into(),
            about: None,
            limit: 4,
            filter: None,
            min_match: 0.5,
            unchecked: false,
            writing: Writing::default(),
        }
    }
}

impl Default for Writing {
    fn default() -> Self {
        Writing {
            system: None,
            max_tokens: 256,
            time: Duration::from_secs(60),
            temperature: 0.0,
            top_p: 1.0,
            seed: 0,
            stop: vec![],
        }
    }
}

/// What is told while an answer is made.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// The images that are looked at: once, before any text.
    Looking(Vec<Shown>),
    /// A piece of the answer.
    Text(String),
}

/// An image that an answerer looks at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shown {
    /// Its number in the prompt and in the answer's `[1]`, from 1.
    pub number: usize,
    /// The item; None for a picture that was brought with the question.
    pub id: Option<ItemId>,
    /// Its URI; empty for bytes that were brought with the question.
    pub key: String,
    /// Cosine between the question's words and the image; None where nothing was searched.
    pub score: Option<f32>,
    /// Probability that the question's words fit it, where a matcher looked.
    #[serde(rename = "match")]
    pub matched: Option<f32>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// The text. Marks such as `[2]` within it name images by their number; those at its end are in `citations` only.
    #[serde(rename = "answer")]
    pub text: String,
    /// The images that it rests on, each of them among those that were looked at.
    pub citations: Vec<Citation>,
    /// Whether the images do not tell.
    pub abstained: bool,
    /// What a short answer claims of the images that it rests on; None where no matcher looked, and for answers that no caption
    /// would say.
    pub claim: Option<Claim>,
    /// The tokens that the model wrote; none where it was not asked.
    pub token_ids: Vec<u32>,
    /// The highest probability with which an image of the collection fits the question, shown or not; None where no matcher
    /// looked.
    pub best_match: Option<f32>,
    /// The images that were looked at.
    pub looked_at: Vec<Shown>,
    /// Why it ends where it does.
    pub finish: Ended,
}

/// What an answer claims of the images that it rests on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Claim {
    /// The answer, worded as a caption: "a dog left of the cat".
    pub text: String,
    /// The highest probability with which it fits one of them.
    #[serde(rename = "match")]
    pub matched: f32,
}

/// An image that an answer rests on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Citation {
    /// The item; None for a picture that was brought with the question.
    pub id: Option<ItemId>,
    /// Its URI.
    pub key: String,
    /// Its number in the answer's `[1]`.
    pub number: usize,
}

/// Why an answer ends where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// It is complete.
    Stop,
    /// It has as many tokens as it may.
    Length,
    /// Its time was over.
    Time,
    /// Nothing fits the question, and the model was not asked.
    Unasked,
}

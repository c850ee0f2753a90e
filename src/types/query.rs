//! What is asked of a collection, and the hits that answer it.

use super::{Filter, ItemId, Payload};
use serde::Serialize;

/// A question: weighted terms, and which of the items may answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// What to look for (at least one positive term).
    pub terms: Vec<Term>,
    /// How many hits at most; at least 1.
    pub limit: usize,
    /// How many of the best to leave out first: paging.
    pub offset: usize,
    /// Which of an item's sides is searched.
    pub side: Side,
    /// Only items that pass.
    pub filter: Option<Filter>,
    /// Only hits with at least this cosine.
    pub min_score: Option<f32>,
    /// Breadth of the graph search; more finds more and takes longer. None leaves it to the index.
    pub ef: Option<usize>,
    /// Scan everything instead of searching the graph.
    pub exact: bool,
}

impl Query {
    /// A query of `terms` with the usual settings: ten hits, no conditions.
    pub fn new(terms: Vec<Term>) -> Self {
        Query {
            terms,
            limit: 10,
            offset: 0,
            side: Side::Image,
            filter: None,
            min_score: None,
            ef: None,
            exact: false,
        }
    }
}

/// Which of an item's sides a query is held against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Side {
    /// The picture itself.
    #[default]
    Image,
    /// What is said of it; the score is the best caption's cosine.
    Caption,
    /// Both, fused by reciprocal rank; the score is the picture's cosine.
    Both,
}

/// One thing to look for, or, with a negative weight, to stay away from.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// What it is.
    pub kind: TermKind,
    /// How much it counts; negative pushes away.
    pub weight: f32,
}

/// What a term holds.
#[derive(Clone, Debug, PartialEq)]
pub enum TermKind {
    /// Words.
    Text(String),
    /// An encoded picture (JPEG, PNG, ...).
    Image(Vec<u8>),
    /// An item of the collection, by its stored vector.
    Item(ItemId),
}

impl TermKind {
    /// The words, of a term that is made of words.
    pub fn text(&self) -> Option<&str> {
        match self {
            TermKind::Text(text) => Some(text),
            TermKind::Image(_) | TermKind::Item(_) => None,
        }
    }
}

/// An item that answers a query.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hit {
    /// The item.
    pub id: ItemId,
    /// Its URI.
    pub key: String,
    /// Cosine between query and item, in -1..=1; good to about 1e-4, since the index holds vectors as 12-bit codes.
    pub score: f32,
    /// Probability that picture and words match, where a matcher reranked.
    #[serde(rename = "match")]
    pub matched: Option<f32>,
    /// The item's captions.
    pub captions: Vec<String>,
    /// The item's payload.
    pub payload: Payload,
}

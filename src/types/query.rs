//! What is asked of a collection, and the hits that answer it.

use super::{Filter, Item, ItemId, Payload};
use serde::{Serialize, Serializer};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

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
    /// Whether a matcher looks at the best hits once more, and how long.
    pub rerank: Option<Rerank>,
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
            rerank: None,
        }
    }
}

/// How the best hits are held against the query's words by an image-text matcher, which reads picture and words together.
///
/// Hits that were looked at come first, by the probability that they match and their cosine together; those that were not
/// (beyond `top`, beyond `budget`, or with a picture that is gone) keep their order behind them.
#[derive(Clone, Debug, PartialEq)]
pub struct Rerank {
    /// How many of the best hits are looked at; at least 1.
    pub top: usize,
    /// How long looking may take, model loading aside. The first few hits are always looked at.
    pub budget: Duration,
    /// Only hits with at least this probability; those that were not looked at have none, and drop out.
    pub min_match: Option<f32>,
    /// What hits are held against, in place of the query's own words.
    pub about: Option<String>,
}

impl Default for Rerank {
    fn default() -> Self {
        Rerank { top: 32, budget: Duration::from_secs(3), min_match: None, about: None }
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
    /// The very words, in captions and file names (BM25); the score is the picture's cosine.
    Words,
    /// Picture, captions and words, fused by reciprocal rank; the score is the picture's cosine.
    All,
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

/// An item that answers a query, and how well.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The item, as all who read it lately share it.
    pub item: Arc<Item>,
    /// Cosine between query and item, in -1..=1; good to about 1e-4, since the index holds vectors as 12-bit codes.
    pub score: f32,
    /// Probability that picture and words match, where a matcher reranked.
    pub matched: Option<f32>,
    /// Why a hit that was to be looked at has no probability.
    pub unmatched: Option<String>,
}

impl Deref for Hit {
    type Target = Item;

    fn deref(&self) -> &Item {
        &self.item
    }
}

impl Serialize for Hit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// What is told of a hit.
        #[derive(Serialize)]
        struct Told<'a> {
            id: ItemId,
            key: &'a str,
            score: f32,
            r#match: Option<f32>,
            #[serde(skip_serializing_if = "Option::is_none")]
            unmatched: Option<&'a str>,
            captions: &'a [String],
            payload: &'a Payload,
        }
        let told = Told {
            id: self.id,
            key: &self.key,
            score: self.score,
            r#match: self.matched,
            unmatched: self.unmatched.as_deref(),
            captions: &self.captions,
            payload: &self.payload,
        };
        told.serialize(serializer)
    }
}

//! Recall of text-to-image and image-to-image retrieval.
//!
//! R@k is the share of queries for which at least one right image is among the first k, as in the image retrieval
//! literature (Karpathy & Fei-Fei, CVPR 2015). An image query does not count its own file as an answer.

use crate::engine::Collection;
use crate::error::{Error, Result};
use crate::types::{Query, Rerank, Term, TermKind, uri};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// How deep hits are looked at.
const DEPTH: usize = 10;

/// A query and its right answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// What is asked.
    pub ask: Ask,
    /// The keys of the images that answer it.
    pub relevant: HashSet<String>,
}

/// What a case asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// Words.
    Text(String),
    /// An image file.
    Image(PathBuf),
}

/// The measured recall; None where there was no query of the kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// How many text queries.
    pub queries: usize,
    /// Share of text queries with a right image first.
    pub r1: Option<f64>,
    /// Among the first five.
    pub r5: Option<f64>,
    /// Among the first ten.
    pub r10: Option<f64>,
    /// How many image queries.
    pub i2i_queries: usize,
    /// Share of image queries with a right image among the first ten.
    pub i2i_r10: Option<f64>,
    /// The text queries once more, reranked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reranked: Option<Reranked>,
}

/// Text queries before and after reranking.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reranked {
    /// All of them, reranked.
    pub all: Recall,
    /// Those that say how things stand to one another, before.
    pub relational_before: Recall,
    /// The same, reranked.
    pub relational: Recall,
    /// How long a reranked query took, on average, in milliseconds.
    pub ms: f64,
    /// The same with every picture seen before.
    pub ms_again: f64,
}

/// The share of queries with a right image among the first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recall {
    /// How many queries.
    pub queries: usize,
    /// A right image first.
    pub r1: Option<f64>,
    /// Among the first five.
    pub r5: Option<f64>,
    /// Among the first ten.
    pub r10: Option<f64>,
}

/// Words that say how things stand to one another; whoever mixes them up finds the wrong picture.
const RELATIONS: [&str; 8] =
    ["left of", "right of", " above ", " over ", " below ", " under ", " beneath ", " on top of "];

/// A line of `queries.jsonl`: `{"query": "two cats", "relevant": ["0001.jpg"]}` or `{"image": "views/1.jpg", ...}`, with paths
/// relative to the folder.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    query: Option<String>,
    image: Option<PathBuf>,
    relevant: Vec<PathBuf>,
}

/// The cases that `file` lists, of images in `folder`.
pub fn cases_of_file(file: &Path, folder: &Path) -> Result<Vec<Case>> {
    let text = std::fs::read_to_string(file).map_err(|e| Error::io(file, e))?;
    let folder = folder.canonicalize().map_err(|e| Error::io(folder, e))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let cases = lines.map(|(at, line)| {
        let wrong = |why: String| {
            let fix = "each line is {\"query\": TEXT or \"image\": PATH, \"relevant\": [PATH, ...]}";
            Error::invalid(format!("{}:{}: {why}", file.display(), at + 1), fix)
        };
        let line: Line = serde_json::from_str(line).map_err(|e| wrong(e.to_string()))?;
        let ask = match (line.query, line.image) {
            (Some(text), None) => Ask::Text(text),
            (None, Some(path)) => Ask::Image(folder.join(path)),
            _ => return Err(wrong("it has both a query and an image, or neither".into())),
        };
        let relevant =
            line.relevant.iter().map(|path| uri::path_to_uri(&folder.join(path))).collect::<Result<_>>()?;
        Ok(Case { ask, relevant })
    });
    cases.collect()
}

/// Cases made of the items' own captions: each caption asks for all images that have it; each image that shares a caption
/// with others asks for those.
pub fn cases_of_captions(captions: &BTreeMap<String, Vec<String>>) -> Vec<Case> {
    let mut keys_of: BTreeMap<&str, HashSet<String>> = BTreeMap::new();
    for (key, captions) in captions {
        for caption in captions {
            keys_of.entry(caption).or_default().insert(key.clone());
        }
    }
    let texts = keys_of
        .iter()
        .map(|(text, keys)| Case { ask: Ask::Text((*text).to_owned()), relevant: keys.clone() });
    let images = captions.iter().filter_map(|(key, captions)| {
        let sharing = captions.iter().filter_map(|c| keys_of.get(c.as_str())).flatten();
        let relevant: HashSet<String> = sharing.filter(|other| *other != key).cloned().collect();
        let path = uri::uri_to_path(key).ok()?;
        (!relevant.is_empty()).then_some(Case { ask: Ask::Image(path), relevant })
    });
    texts.chain(images).collect()
}

/// Asks every case of the collection's images and reports recall, and that of words reranked where asked; `each` is called
/// after each query, of which words have three where they are reranked.
pub fn run(
    collection: &Collection,
    cases: &[Case],
    rerank: Option<&Rerank>,
    each: &dyn Fn(),
) -> Result<Report> {
    let mut ranks: (Vec<Option<usize>>, Vec<Option<usize>>) = Default::default();
    for case in cases {
        let rank = rank(collection, case, None)?;
        match case.ask {
            Ask::Text(_) => ranks.0.push(rank),
            Ask::Image(_) => ranks.1.push(rank),
        }
        each();
    }
    let (texts, images) = ranks;
    let reranked = rerank.map(|rerank| reranked(collection, cases, rerank, &texts, each)).transpose()?;
    Ok(Report {
        reranked,
        queries: texts.len(),
        r1: recall(&texts, 1),
        r5: recall(&texts, 5),
        r10: recall(&texts, 10),
        i2i_queries: images.len(),
        i2i_r10: recall(&images, 10),
    })
}

/// The cases with words, reranked, beside the places that they had `before`. They are asked twice, since what a matcher saw of
/// pictures is remembered.
fn reranked(
    collection: &Collection,
    cases: &[Case],
    rerank: &Rerank,
    before: &[Option<usize>],
    each: &dyn Fn(),
) -> Result<Reranked> {
    let words = |case: &Case| matches!(&case.ask, Ask::Text(_));
    let ask = || -> Result<(Vec<Option<usize>>, f64)> {
        let started = Instant::now();
        let ranks = cases.iter().filter(|case| words(case)).map(|case| {
            each();
            rank(collection, case, Some(rerank))
        });
        let ranks: Vec<Option<usize>> = ranks.collect::<Result<_>>()?;
        let ms = started.elapsed().as_secs_f64() * 1e3 / ranks.len().max(1) as f64;
        Ok((ranks, ms))
    };
    // The first query loads the matcher.
    if let Some(first) = cases.iter().find(|case| words(case)) {
        rank(collection, first, Some(rerank))?;
    }
    let (after, ms) = ask()?;
    let (_, ms_again) = ask()?;
    let related: Vec<bool> =
        cases.iter().filter(|case| words(case)).map(|case| is_relational(&case.ask)).collect();
    let of_related = |ranks: &[Option<usize>]| -> Vec<Option<usize>> {
        ranks.iter().zip(&related).filter(|(_, related)| **related).map(|(rank, _)| *rank).collect()
    };
    let relational_before = recalls(&of_related(before));
    Ok(Reranked {
        all: recalls(&after),
        relational_before,
        relational: recalls(&of_related(&after)),
        ms,
        ms_again,
    })
}

fn is_relational(ask: &Ask) -> bool {
    matches!(ask, Ask::Text(text) if RELATIONS.iter().any(|words| text.contains(words)))
}

fn recalls(ranks: &[Option<usize>]) -> Recall {
    Recall { queries: ranks.len(), r1: recall(ranks, 1), r5: recall(ranks, 5), r10: recall(ranks, 10) }
}

/// The place, from 0, of the first right answer among the first ten.
fn rank(collection: &Collection, case: &Case, rerank: Option<&Rerank>) -> Result<Option<usize>> {
    let (kind, own) = match &case.ask {
        Ask::Text(text) => (TermKind::Text(text.clone()), None),
        Ask::Image(path) => {
            let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
            (TermKind::Image(bytes), Some(uri::path_to_uri(path)?))
        }
    };
    let mut query = Query::new(vec![Term { kind, weight: 1.0 }]);
    query.limit = DEPTH + usize::from(own.is_some());
    query.rerank = rerank.cloned();
    let hits = collection.query(&query)?;
    let others = hits.iter().filter(|hit| Some(&hit.key) != own.as_ref()).take(DEPTH);
    Ok(others.into_iter().position(|hit| case.relevant.contains(&hit.key)))
}

fn recall(ranks: &[Option<usize>], k: usize) -> Option<f64> {
    let within = ranks.iter().flatten().filter(|rank| **rank < k).count();
    (!ranks.is_empty()).then(|| within as f64 / ranks.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recall_counts_the_first_right_answer() {
        let ranks = [Some(0), Some(4), Some(9), None];
        assert_eq!(recall(&ranks, 1), Some(0.25));
        assert_eq!(recall(&ranks, 5), Some(0.5));
        assert_eq!(recall(&ranks, 10), Some(0.75));
        assert_eq!(recall(&[], 10), None);
    }

    #[test]
    fn a_caption_shared_by_images_asks_for_all_of_them() {
        let captions: BTreeMap<String, Vec<String>> = [
            ("file:///a.jpg".to_owned(), vec!["a cat".to_owned(), "a pet".to_owned()]),
            ("file:///b.jpg".to_owned(), vec!["a cat".to_owned()]),
            ("file:///c.jpg".to_owned(), vec!["a dog".to_owned()]),
        ]
        .into();
        let cases = cases_of_captions(&captions);
        let relevant = |ask: &Ask| cases.iter().find(|c| c.ask == *ask).map(|c| c.relevant.len());
        assert_eq!(relevant(&Ask::Text("a cat".into())), Some(2));
        assert_eq!(relevant(&Ask::Text("a dog".into())), Some(1));
        assert_eq!(relevant(&Ask::Image("/a.jpg".into())), Some(1));
        assert_eq!(relevant(&Ask::Image("/c.jpg".into())), None);
    }
}

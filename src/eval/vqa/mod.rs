//! Questions about images: how often answers are right, what they cite, and when they say that they can't tell.
//!
//! 1. `cases`  questions with their right answers: ours about a whole folder, VQAv2's and GQA's about one image each.
//! 2. Each is asked with the images that are found (or with its own), with others drawn at random, and with none at all: what is right
//!    without the right images is guessed, not seen.
//! 3. `score`  judges; the totals say how good citations and refusals are, and yes and no (as POPE: Li et al. 2023,
//!    arXiv:2305.10355).

mod cases;
mod score;

pub use cases::{Case, read};
pub use score::{Right, Said};

use crate::engine::{Caller, Collection};
use crate::error::{Error, Result};
use crate::types::{Ask, ContentHash, TermKind};
use score::{auc, plain, score};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Which images a question is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Images {
    /// Those that are found for it.
    Retrieved,
    /// Its own, where the data set says which.
    Given,
    /// As many others, drawn at random.
    Random,
    /// None.
    None,
}

/// How often answers to one type of question are right.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The type; `all` for all together.
    pub r#type: String,
    /// What was looked at.
    pub images: Images,
    /// How many questions.
    pub n: usize,
    /// The share of right answers.
    pub exact: f64,
}

/// What is told of all answers about the right images; None where nothing of the kind was asked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Totals {
    /// The share of citations that are of images which the question is about.
    pub citation_precision: Option<f64>,
    /// The share of images which the question is about, and which were looked at, that answers cite.
    pub citation_recall: Option<f64>,
    /// The share of questions which no image answers that were refused.
    pub refused_unanswerable: Option<f64>,
    /// The share of questions which some image answers that were refused.
    pub refused_answerable: Option<f64>,
    /// How well the best match alone tells which questions can be answered: the area under its ROC curve.
    pub abstention_auc: Option<f64>,
    /// F1 of "yes", over questions for yes or no.
    pub yes_f1: Option<f64>,
    /// The share of those to which the answer was yes.
    pub yes_rate: Option<f64>,
    /// The share of those to which yes is right.
    pub yes_right: Option<f64>,
}

/// What came of a measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// A row a type and kind of images.
    pub rows: Vec<Row>,
    /// Over all.
    pub totals: Totals,
}

/// How many steps [`run`] takes.
pub fn steps(cases: &[Case]) -> usize {
    3 * cases.len()
}

/// Asks each of `cases` three times. `images` are all of the folder's, of which the random ones are drawn, by `seed`.
pub fn run(
    collection: &Collection,
    cases: &[Case],
    images: &[PathBuf],
    usual: &Ask,
    seed: u64,
    step: &dyn Fn(),
) -> Result<Report> {
    let mut judged: BTreeMap<(String, Images), Vec<f64>> = BTreeMap::new();
    let mut right_ones = Vec::with_capacity(cases.len());
    for (at, case) in cases.iter().enumerate() {
        let own = case.about.as_ref().map(|path| bytes(path).map(|bytes| vec![bytes])).transpose()?;
        let seen = if own.is_some() { Images::Given } else { Images::Retrieved };
        let count = own.as_ref().map_or(usual.limit, Vec::len);
        let others = drawn(images, case, count, seed, at).iter().map(bytes).collect::<Result<Vec<_>>>()?;
        for (kind, about) in [(seen, own), (Images::Random, Some(others)), (Images::None, Some(vec![]))] {
            let said = answer(collection, case, usual, about)?;
            step();
            let Some(said) = said else { continue };
            let score = score(&said, &case.right, &case.relevant);
            judged.entry((case.kind.clone(), kind)).or_default().push(score);
            judged.entry(("all".to_owned(), kind)).or_default().push(score);
            if kind == seen {
                right_ones.push((case, said));
            }
        }
    }
    let row = |((r#type, images), scores): ((String, Images), Vec<f64>)| {
        let n = scores.len();
        Row { r#type, images, n, exact: scores.iter().sum::<f64>() / n as f64 }
    };
    let mut rows: Vec<Row> = judged.into_iter().map(row).collect();
    rows.sort_by(|a, b| {
        (a.images, a.r#type == "all", &a.r#type).cmp(&(b.images, b.r#type == "all", &b.r#type))
    });
    Ok(Report { rows, totals: totals(&right_ones) })
}

/// None where the answerer can't: some must have an image.
fn answer(
    collection: &Collection,
    case: &Case,
    usual: &Ask,
    about: Option<Vec<TermKind>>,
) -> Result<Option<Said>> {
    let ask = Ask { question: case.question.clone(), about, ..usual.clone() };
    match collection.ask(&ask, &Caller::default(), &mut |_| {}) {
        Err(Error::Unsupported { .. }) => Ok(None),
        answer => {
            let answer = answer?;
            Ok(Some(Said {
                text: answer.text,
                cited: answer.citations.into_iter().map(|cited| cited.key).collect(),
                shown: answer.looked_at.into_iter().map(|shown| shown.key).collect(),
                abstained: answer.abstained,
                best_match: answer.best_match,
            }))
        }
    }
}

fn bytes(path: &PathBuf) -> Result<TermKind> {
    std::fs::read(path).map(TermKind::Image).map_err(|e| Error::io(path, e))
}

/// Images that the case is not about, the same ones for the same seed.
fn drawn(images: &[PathBuf], case: &Case, count: usize, seed: u64, at: usize) -> Vec<PathBuf> {
    let about =
        |path: &&PathBuf| crate::types::uri::path_to_uri(path).is_ok_and(|key| case.relevant.contains(&key));
    let mut others: Vec<(ContentHash, &PathBuf)> = images
        .iter()
        .filter(|path| !about(path))
        .map(|path| (ContentHash::of(format!("{seed} {at} {}", path.display()).as_bytes()), path))
        .collect();
    others.sort();
    others.into_iter().take(count).map(|(_, path)| path.clone()).collect()
}

fn totals(answers: &[(&Case, Said)]) -> Totals {
    let share = |part: usize, whole: usize| (whole > 0).then(|| part as f64 / whole as f64);
    let (mut cited, mut right, mut due, mut told) = (0, 0, 0, 0);
    for (case, said) in answers.iter().filter(|(case, said)| case.answerable && !said.abstained) {
        cited += said.cited.len();
        right += said.cited.iter().filter(|key| case.relevant.contains(*key)).count();
        // "No" rests on no image, whatever is shown.
        if plain(&said.text) != "no" {
            let of_it: Vec<&String> = said.shown.iter().filter(|key| case.relevant.contains(*key)).collect();
            due += of_it.len();
            told += of_it.iter().filter(|key| said.cited.contains(key)).count();
        }
    }
    let refused = |answerable: bool| {
        let of = || answers.iter().filter(move |(case, _)| case.answerable == answerable);
        share(of().filter(|(_, said)| said.abstained).count(), of().count())
    };
    let yes_no: Vec<(bool, bool)> =
        answers.iter().filter_map(|(case, said)| Some((yes(case)?, plain(&said.text) == "yes"))).collect();
    let count = |wanted: (bool, bool)| yes_no.iter().filter(|pair| **pair == wanted).count();
    let (hit, missed, wrong) = (count((true, true)), count((true, false)), count((false, true)));
    let matches: Vec<(f32, bool)> =
        answers.iter().filter_map(|(case, said)| Some((said.best_match?, case.answerable))).collect();
    Totals {
        citation_precision: share(right, cited),
        citation_recall: share(told, due),
        refused_unanswerable: refused(false),
        refused_answerable: refused(true),
        abstention_auc: auc(&matches),
        yes_f1: share(2 * hit, 2 * hit + missed + wrong),
        yes_rate: share(hit + wrong, yes_no.len()),
        yes_right: share(hit + missed, yes_no.len()),
    }
}

/// Whether yes is right; None where the question is not for yes or no.
fn yes(case: &Case) -> Option<bool> {
    let (Right::Any(answers) | Right::People(answers)) = &case.right else { return None };
    let count = |word: &str| answers.iter().filter(|answer| plain(answer) == word).count();
    let (yes, no) = (count("yes"), count("no"));
    (2 * (yes + no) > answers.len()).then_some(yes > no)
}

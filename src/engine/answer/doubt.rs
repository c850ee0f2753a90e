//! A short answer is doubted before it is told: what it claims is held against the images that it cites.
//!
//! 1. An answer is held back while it is short enough for a caption. A longer one is told as it comes, and not doubted.
//! 2. A matcher says how probably what it claims fits each image that it cites; an image that it does not fit is not cited.
//! 3. Where it fits none, or where the model refuses, others are written that may not, about each image alone and drawn about all of them; the
//!    one is told that fits best, and that came most often. Where none fits, the images do not tell.
//!
//! Writing several answers and letting another model choose among them is old (Cobbe et al. 2021, arXiv:2110.14168); that the judge
//! looks at the image keeps it from falling for what merely sounds right.

use super::Draft;
use super::claims::{Said, said};
use super::wording::{Asks, Wording};
use crate::engine::caller::Caller;
use crate::engine::eyes::Sight;
use crate::engine::matcher::Matcher;
use crate::engine::rerank::fused;
use crate::error::Result;
use crate::models::Features;
use crate::types::Claim;
use std::sync::Arc;

/// Of how many images it is asked about each alone: one that fits distracts from another.
pub(super) const ALONE: usize = 4;
/// How many more answers are drawn. With those about one image they fill the places of a desk, and are written together.
pub(super) const DRAWN: u64 = 4;
/// How wild they are.
pub(super) const TEMPERATURE: f32 = 0.7;
/// Where what the first answer claims is less probable, it gives way; an image that it fits no better is not cited.
const DOUBTED: f32 = 0.25;
/// Another answer has to be as probable.
const BELIEVED: f32 = 0.5;
/// Where the model itself refuses, or does not say what its answer rests on, it takes as much to be believed.
const SURE: f32 = 0.7;

/// What an answer to a question is held against.
pub(super) struct Judge {
    pub matcher: Arc<Matcher>,
    pub question: Wording,
}

impl Judge {
    /// Whether answers to the question can claim anything at all.
    pub fn has_a_say(&self) -> bool {
        self.question.asks != Asks::Other
    }

    /// The answer to tell: `first`, or the best of `others`; None where the images do not tell.
    pub fn settle(
        &self,
        mut first: Draft,
        sights: &[Sight],
        others: impl FnOnce() -> Result<Vec<Draft>>,
        caller: &Caller,
    ) -> Result<Option<Draft>> {
        let refused = first.abstained();
        let weighed = if refused {
            None
        } else {
            Some(self.weigh(std::slice::from_mut(&mut first), sights, caller)?)
        };
        match weighed.as_deref() {
            // Nobody can say, or it fits.
            Some([None]) => return Ok(Some(first)),
            Some([Some(weight)]) if *weight >= DOUBTED => return Ok(Some(first)),
            _ => {}
        }
        let least = if refused { SURE } else { BELIEVED };
        let mut drafts = others()?;
        drafts.retain(|draft| !draft.abstained());
        drafts.sort_by(|a, b| a.text.cmp(&b.text));
        let alike: Vec<&[Draft]> = drafts.chunk_by(|a, b| a.text == b.text).collect();
        let times: Vec<f32> = alike.iter().map(|same| same.len() as f32).collect();
        let mut drafts: Vec<Draft> = alike.iter().filter_map(|same| same.first().cloned()).collect();
        let weights = self.weigh(&mut drafts, sights, caller)?;
        let rank = |weight: f32, times: f32| fused(weight, 0.0) + times.ln();
        let believed = drafts.into_iter().zip(weights).zip(times).filter_map(|((draft, weight), times)| {
            weight.filter(|weight| *weight >= least).map(|weight| (rank(weight, times), draft))
        });
        Ok(believed.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, draft)| draft))
    }

    /// How probably what each draft claims fits an image that it cites; those that it does not fit are cited no longer. 0 where it
    /// fits none; None where it claims nothing that could be held against an image.
    fn weigh(&self, drafts: &mut [Draft], sights: &[Sight], caller: &Caller) -> Result<Vec<Option<f32>>> {
        let said: Vec<Said> = drafts.iter().map(|draft| said(&self.question, &draft.text)).collect();
        let claims = said.iter().any(|said| matches!(said, Said::Claim(_)));
        let glances = if claims { self.matcher.see(sights.to_vec(), caller)?.0 } else { vec![] };
        // Each claim with each image that it is held against: all of them share passes.
        let all: Vec<usize> = (1..=sights.len()).collect();
        let mut pairs: Vec<(usize, usize, Features, &str)> = vec![];
        for (at, (draft, said)) in drafts.iter().zip(&said).enumerate() {
            let Said::Claim(text) = said else { continue };
            for number in if draft.cited.is_empty() { &all } else { &draft.cited } {
                if let Some(Ok(features)) = number.checked_sub(1).and_then(|at| glances.get(at)) {
                    pairs.push((at, *number, features.clone(), text));
                }
            }
        }
        let asked = pairs.iter().map(|(_, _, features, text)| (features.clone(), *text)).collect();
        let matched = self.matcher.matches(asked, caller)?;
        let weigh = |((at, draft), said): ((usize, &mut Draft), &Said)| {
            let text = match said {
                Said::Claim(text) => text.clone(),
                Said::Nothing => return Some(0.0),
                Said::Other => return None,
            };
            let held = pairs.iter().zip(&matched).filter(|((of, ..), _)| *of == at);
            let held: Vec<(usize, f32)> = held.map(|((_, number, ..), p)| (*number, *p)).collect();
            let best = held.iter().map(|(_, p)| *p).max_by(f32::total_cmp)?;
            let least = if draft.cited.is_empty() { SURE } else { DOUBTED };
            draft.cited = held.iter().filter(|(_, p)| *p >= least).map(|(number, _)| *number).collect();
            draft.claim = Some(Claim { text, matched: best });
            // What rests on nothing is not believed, however it sounds.
            Some(if draft.cited.is_empty() { 0.0 } else { best })
        };
        Ok(drafts.iter_mut().enumerate().zip(&said).map(weigh).collect())
    }
}

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
use super::claims::{claim, repeats};
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
/// How many more answers are drawn.
pub(super) const DRAWN: u64 = 5;
/// How wild they are.
pub(super) const TEMPERATURE: f32 = 0.7;
/// A claim that is less probable is not told.
const BELIEVED: f32 = 0.5;
/// Where the model itself refuses, or does not say what its answer rests on, it takes as much to be believed.
const SURE: f32 = 0.9;

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
        let weighed = if refused { None } else { Some(self.weigh(&mut first, sights, caller)?) };
        match weighed {
            // Nobody can say, or it fits.
            Some(None) => return Ok(Some(first)),
            Some(Some(weight)) if weight >= BELIEVED => return Ok(Some(first)),
            _ => {}
        }
        let least = if refused { SURE } else { BELIEVED };
        let mut drafts = others()?;
        drafts.retain(|draft| !draft.abstained());
        drafts.sort_by(|a, b| a.text.cmp(&b.text));
        let mut best: Option<(f32, Draft)> = None;
        for same in drafts.chunk_by(|a, b| a.text == b.text) {
            let Some(mut draft) = same.first().cloned() else { continue };
            let Some(weight) = self.weigh(&mut draft, sights, caller)?.filter(|weight| *weight >= least)
            else {
                continue;
            };
            let rank = fused(weight, 0.0) + (same.len() as f32).ln();
            if best.as_ref().is_none_or(|(known, _)| *known < rank) {
                best = Some((rank, draft));
            }
        }
        Ok(best.map(|(_, draft)| draft))
    }

    /// How probably what the draft claims fits an image that it cites; those that it does not fit are cited no longer. 0
    /// where it fits none; None where it claims nothing that could be held against an image.
    fn weigh(&self, draft: &mut Draft, sights: &[Sight], caller: &Caller) -> Result<Option<f32>> {
        if repeats(&self.question, &draft.text) {
            return Ok(Some(0.0));
        }
        let Some(text) = claim(&self.question, &draft.text) else { return Ok(None) };
        let all: Vec<usize> = (1..=sights.len()).collect();
        let (numbers, least) = if draft.cited.is_empty() { (&all, SURE) } else { (&draft.cited, BELIEVED) };
        let named: Vec<Sight> =
            numbers.iter().filter_map(|n| sights.get(n.checked_sub(1)?).cloned()).collect();
        let (glances, _) = self.matcher.see(named, caller)?;
        let seen: Vec<(usize, Features)> =
            numbers.iter().zip(glances).filter_map(|(n, glance)| Some((*n, glance.ok()?))).collect();
        let pairs = seen.iter().map(|(_, features)| (features.clone(), text.as_str())).collect();
        let matched = self.matcher.matches(pairs, caller)?;
        let Some(best) = matched.iter().copied().max_by(f32::total_cmp) else { return Ok(None) };
        draft.cited = seen.iter().zip(&matched).filter(|(_, p)| **p >= least).map(|((n, _), _)| *n).collect();
        draft.claim = Some(Claim { text, matched: best });
        // What rests on nothing is not believed, however it sounds.
        Ok(Some(if draft.cited.is_empty() { 0.0 } else { best }))
    }
}

//! Rerank: a matcher reads picture and words together, and says how probably they belong to one another.
//!
//! 1. The best hits are taken in their order, a few at a time, within a budget of time; those few share forward passes with
//!    other callers' (`matcher`).
//! 2. Each is held against every text term. Terms come together as probabilities of independent events: of the positive
//!    ones that they fit, of the negative ones that they do not, each to the power of its weight over the largest.
//! 3. It is ranked by `logit(probability) + COSINE * cosine`: as if the two were independent evidence for a match.
//! 4. Looking ends early once no hit further down could still come onto the page: the logit is capped where a match is as good
//!    as certain, so that what a hit can reach at most is known before it is looked at. What is returned is the same.
//!
//! A hit whose picture is gone or changed stays, without a probability, and says why.

use super::caller::Caller;
use super::collection::Collection;
use super::eyes::Sight;
use super::matcher::Matcher;
use crate::error::{Error, Result};
use crate::types::{Item, ItemId, Rerank, Term};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The most hits that one query may have looked at.
const MOST: usize = 1000;
/// How many are looked at together, between two looks at the clock.
const AT_ONCE: usize = 8;
/// How much a cosine counts beside the logit of a probability. On held-out scenes 10 to 80 do equally well (R@1 0.972 by cosine
/// alone, 0.956 by probability alone, 0.992 by both), 5 and 1000 do worse; the least of them leaves most to the matcher.
const COSINE: f32 = 10.0;
/// Beyond this probability, or below its complement, a match is as good as certain, and the cosine alone decides. On the same
/// scenes 0.99 does a little worse, and higher bounds do no better while looking ends early less often.
const CERTAIN: f32 = 0.999;

/// A hit and what looking at it told.
pub(super) struct Ranked {
    pub id: ItemId,
    pub score: f32,
    pub matched: Option<f32>,
    pub unmatched: Option<String>,
}

/// A text to be held against pictures, and how much it counts: -1 to 1.
type Weighed<'a> = (&'a str, f32);

impl Ranked {
    /// A hit that nobody looked at.
    pub fn unseen((id, score): (ItemId, f32)) -> Self {
        Ranked { id, score, matched: None, unmatched: None }
    }

    fn fused(&self) -> Option<f32> {
        self.matched.map(|p| fused(p, self.score))
    }
}

impl Collection {
    /// `found` in the order that looking at its first hits gives; `wanted` is how many of them the caller is going to see.
    pub(super) fn rerank(
        &self,
        rerank: &Rerank,
        terms: &[Term],
        found: Vec<(ItemId, f32)>,
        wanted: usize,
        caller: &Caller,
    ) -> Result<Vec<Ranked>> {
        let mut hits: Vec<Ranked> = found.into_iter().map(Ranked::unseen).collect();
        if hits.is_empty() {
            return Ok(hits);
        }
        let span =
            tracing::info_span!("rerank", hits = hits.len() as i64, looked = tracing::field::Empty).entered();
        let about = rerank.about.as_deref().map(|about| vec![(about, 1.0)]);
        let (matcher, texts) = (self.matcher()?, about.unwrap_or_else(|| weighed(terms)));
        let started = Instant::now();
        let hurried = caller.within(started.checked_add(rerank.budget));
        let (mut at, mut last) = (0, Duration::ZERO);
        let top = rerank.top.min(hits.len());
        while at < top {
            let (seen, rest) = hits.split_at_mut(at);
            let over = at > 0 && started.elapsed().saturating_add(last) > rerank.budget;
            if over || settled(seen, rest, wanted) {
                break;
            }
            let Some(few) = rest.get_mut(..AT_ONCE.min(top - at)) else { break };
            let began = Instant::now();
            let waiting = if at == 0 { caller } else { &hurried };
            match self.look(&matcher, &texts, few, waiting) {
                // The budget passed while others were served.
                Err(Error::Late) if caller.check().is_ok() => break,
                done => done?,
            }
            last = began.elapsed();
            at += few.len();
        }
        span.record("looked", at as i64);
        self.counts.looked.fetch_add(at as u64, Ordering::Relaxed);
        self.counts.reranks.note(started.elapsed());
        // Those without a probability keep their order, behind those with one.
        hits.sort_by(|a, b| match (a.fused(), b.fused()) {
            (Some(a), Some(b)) => b.total_cmp(&a),
            (a, b) => b.is_some().cmp(&a.is_some()),
        });
        hits.retain(|hit| rerank.min_match.is_none_or(|least| hit.matched.is_some_and(|p| p >= least)));
        Ok(hits)
    }

    /// Looks at a few hits.
    fn look(&self, matcher: &Matcher, texts: &[Weighed], few: &mut [Ranked], caller: &Caller) -> Result<()> {
        let mut items: Vec<Item> = Vec::with_capacity(few.len());
        for hit in few.iter() {
            items.extend(self.item(hit.id)?);
        }
        let mut pairs = Vec::new();
        let shelf = self.shelf();
        let sights = items.iter().map(|item| Sight::of(item, &shelf)).collect();
        let (looks, remembered) = matcher.see(sights, caller)?;
        self.counts.remembered.fetch_add(remembered as u64, Ordering::Relaxed);
        for (item, seen) in items.iter().zip(looks) {
            let Some(hit) = few.iter_mut().find(|hit| hit.id == item.id) else { continue };
            match seen {
                Ok(features) => pairs.extend(texts.iter().map(|(text, _)| (hit.id, features.clone(), *text))),
                Err(reason) => hit.unmatched = Some(reason),
            }
        }
        let asked = pairs.iter().map(|(_, features, text)| (features.clone(), *text)).collect();
        let told = matcher.matches(asked, caller)?;
        for (of_one, told) in pairs.chunks(texts.len()).zip(told.chunks(texts.len())) {
            let id = of_one.first().map(|(id, ..)| *id);
            if let Some(hit) = few.iter_mut().find(|hit| Some(hit.id) == id) {
                hit.matched = Some(together(texts, told));
            }
        }
        Ok(())
    }
}

/// Whether no hit from `next` on, in any order, can come among the `wanted` best of those that were seen.
fn settled(seen: &[Ranked], rest: &[Ranked], wanted: usize) -> bool {
    let mut best: Vec<f32> = seen.iter().filter_map(Ranked::fused).collect();
    best.sort_unstable_by(|a, b| b.total_cmp(a));
    let highest = rest.iter().map(|hit| hit.score).fold(f32::NEG_INFINITY, f32::max);
    wanted > 0 && best.get(wanted - 1).is_some_and(|last| *last >= fused(1.0, highest))
}

/// What hits are ranked by: the logit of the probability, capped where it is as good as certain, and the cosine.
pub fn fused(probability: f32, cosine: f32) -> f32 {
    let p = probability.clamp(1.0 - CERTAIN, CERTAIN);
    (p / (1.0 - p)).ln() + COSINE * cosine
}

/// The text terms, their weights over the largest of them.
fn weighed(terms: &[Term]) -> Vec<Weighed<'_>> {
    let texts = || terms.iter().filter_map(|term| Some((term.kind.text()?, term.weight)));
    let largest = texts().map(|(_, weight)| weight.abs()).fold(0.0, f32::max);
    texts().map(|(text, weight)| (text, weight / largest)).collect()
}

/// The probability that a picture fits all texts as their weights want it.
fn together(texts: &[Weighed], probabilities: &[f32]) -> f32 {
    let one = |((_, weight), p): (&Weighed, &f32)| match *weight > 0.0 {
        true => p.powf(*weight),
        false => (1.0 - p).powf(-weight),
    };
    texts.iter().zip(probabilities).map(one).product()
}

/// That what is asked of reranking can be done.
pub(super) fn check(rerank: &Rerank, terms: &[Term]) -> Result<()> {
    if rerank.about.is_none() && !terms.iter().any(|term| term.kind.text().is_some()) {
        return Err(Error::invalid(
            "reranking holds pictures against words, and the query has none",
            "add some words, or leave reranking out",
        ));
    }
    if !(1..=MOST).contains(&rerank.top) {
        let what = format!("reranking the best {}", rerank.top);
        return Err(Error::invalid(what, format!("expected 1 to {MOST}")));
    }
    match rerank.min_match {
        Some(least) if !(0.0..=1.0).contains(&least) => {
            Err(Error::invalid(format!("a least probability of {least}"), "expected 0 to 1"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::TermKind;

    #[test]
    fn texts_come_together_by_weight() {
        let check = |terms: &[(&str, f32)], told: &[f32], wanted: f32| {
            let term =
                |(text, weight): &(&str, f32)| Term { kind: TermKind::Text((*text).into()), weight: *weight };
            let terms: Vec<Term> = terms.iter().map(term).collect();
            let got = together(&weighed(&terms), told);
            assert!((got - wanted).abs() < 1e-6, "{terms:?}: {got}, not {wanted}");
        };
        check(&[("cat", 1.0)], &[0.9], 0.9);
        check(&[("cat", 3.0)], &[0.9], 0.9);
        check(&[("cat", 1.0), ("dog", 1.0)], &[0.9, 0.5], 0.45);
        check(&[("cat", 2.0), ("dog", 1.0)], &[0.9, 0.25], 0.45);
        check(&[("cat", 1.0), ("dog", -1.0)], &[0.9, 0.8], 0.18);
        check(&[("dog", -1.0)], &[0.8], 0.2);
    }

    /// Looking ends early only where a full look gives the same page.
    #[test]
    fn an_early_end_changes_no_page() {
        let hit = |id: u64, score, p| Ranked { matched: p, ..Ranked::unseen((ItemId(id), score)) };
        let sure = |id, score| hit(id, score, Some(1.0));
        let seen = [sure(1, 0.30), sure(2, 0.28), hit(3, 0.27, Some(0.2)), hit(4, 0.26, None)];
        let rest = [Ranked::unseen((ItemId(5), 0.25)), Ranked::unseen((ItemId(6), 0.2))];
        assert!(settled(&seen, &rest, 1) && settled(&seen, &rest, 2));
        assert!(!settled(&seen, &rest, 3), "a certain match further down would come third");
        assert!(!settled(&seen, &[Ranked::unseen((ItemId(7), 0.29))], 2), "it would come second");
        assert!(!settled(&seen[..1], &rest, 2), "the page is not full");
        assert!(!settled(&[], &rest, 1));
    }
}

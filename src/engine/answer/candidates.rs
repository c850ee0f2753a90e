//! Which images may be shown for a question: those that fit it, best first, or those that were named.

use super::wording::{self, Asks};
use crate::engine::caller::Caller;
use crate::engine::collection::Collection;
use crate::engine::eyes::Sight;
use crate::engine::rerank::fused;
use crate::error::{Error, Result};
use crate::types::ask::REFUSAL;
use crate::types::{Ask, Hit, Query, Rerank, Shown, Term, TermKind};

/// How many hits are looked at by a matcher, of which a few are shown.
const CANDIDATES: usize = 16;
/// Below this probability a matcher is as good as sure that an image does not fit: where all hits lie below it, the answer to a
/// question for yes or no is no. On held-out scenes one wrong caption in fifty lies above 0.5, one right one in a hundred below.
const SURELY_NOT: f32 = 0.1;
/// Hits that rank so far behind the best one are not shown: by odds, twenty to one. On held-out scenes this takes the share of shown
/// images that the question is about from 0.62 to 0.76, and loses 0.04 of those.
const BEHIND: f32 = 3.0;
/// What is said to a question for yes or no where nothing fits; like every "no" it rests on no image.
pub(super) const NO: &str = "no";

/// What may be shown, best first, and the highest probability with which anything fits.
pub(super) struct Found {
    pub images: Vec<Candidate>,
    pub best: Option<f32>,
    /// What is to be said without asking the model.
    pub said: Option<&'static str>,
}

/// An image that may be shown.
pub(super) struct Candidate {
    pub sight: Sight,
    pub shown: Shown,
}

impl Collection {
    /// The images that fit the question, best first.
    pub(super) fn find(&self, ask: &Ask, caller: &Caller) -> Result<Found> {
        let wording = wording::read(&ask.question);
        let looked = self.has_matcher() && !wording.about.is_empty();
        let own = [ask.question.clone()];
        let texts = if wording.about.is_empty() { &own[..] } else { &wording.about };
        let mut hits = self.hits(ask, texts.iter().zip(texts), looked, caller)?;
        let fits = |hit: &Hit| hit.matched.is_some_and(|p| p >= ask.min_match);
        if looked && !hits.iter().any(fits) {
            // The words may have lost what the question says.
            let question = own.iter().cycle().zip(texts);
            hits = merged(vec![hits, self.hits(ask, question, looked, caller)?]);
        }
        let best = hits.iter().filter_map(|hit| hit.matched).max_by(f32::total_cmp);
        // That no image can be looked at is no answer: it would read as if they did not tell.
        if let (None, Some((key, why))) =
            (best, hits.iter().find_map(|hit| Some((&hit.key, hit.unmatched.as_ref()?))))
        {
            return Err(Error::image(format!("none of the images that fit can be looked at; {key}: {why}")));
        }
        if looked && (hits.iter().any(fits) || wording.asks != Asks::Whether) {
            hits.retain(fits);
            let best = hits.iter().filter_map(rank).fold(f32::NEG_INFINITY, f32::max);
            hits.retain(|hit| rank(hit).is_some_and(|rank| rank >= best - BEHIND));
        }
        let said = match () {
            () if wording.asks == Asks::Whether && best.is_some_and(|best| best < SURELY_NOT) => Some(NO),
            () if hits.is_empty() => Some(REFUSAL),
            () => None,
        };
        let candidate = |hit: &Hit| {
            let (score, matched) = (Some(hit.score), hit.matched);
            let shown = Shown { number: 0, id: Some(hit.id), key: hit.key.clone(), score, matched };
            Candidate { sight: Sight::of(&hit.item, &self.shelf()), shown }
        };
        Ok(Found { images: hits.iter().map(candidate).collect(), best, said })
    }

    /// The hits of any of the texts, best first; where they are `looked` at, held each against what it comes with.
    fn hits<'a>(
        &self,
        ask: &Ask,
        texts: impl Iterator<Item = (&'a String, &'a String)>,
        looked: bool,
        caller: &Caller,
    ) -> Result<Vec<Hit>> {
        let limit = CANDIDATES.max(ask.limit);
        let query = |(text, about): (&String, &String)| Query {
            limit,
            filter: ask.filter.clone(),
            rerank: looked.then(|| Rerank { top: limit, about: Some(about.clone()), ..Rerank::default() }),
            ..Query::new(vec![Term { kind: TermKind::Text(text.clone()), weight: 1.0 }])
        };
        let queries: Vec<Query> = texts.map(query).collect();
        Ok(merged(self.query_many(&queries, caller)?.into_iter().collect::<Result<_>>()?))
    }

    /// The images that were named.
    pub(super) fn named(&self, about: &[TermKind]) -> Result<Vec<Candidate>> {
        let of_item = |id| -> Result<Candidate> {
            let item = self.item(id)?.ok_or_else(|| Error::NotFound {
                kind: "item",
                name: id.to_string(),
                fix: "ids are in the `id` field of search results".into(),
            })?;
            let shown = Shown { id: Some(id), key: item.key.clone(), ..unsearched() };
            Ok(Candidate { sight: Sight::of(&item, &self.shelf()), shown })
        };
        about
            .iter()
            .map(|kind| match kind {
                TermKind::Item(id) => of_item(*id),
                TermKind::Image(bytes) => Ok(brought(bytes.clone(), String::new())),
                TermKind::Text(_) => {
                    Err(Error::invalid("words as an image", "ask about images, or items by id"))
                }
            })
            .collect()
    }
}

/// Each hit once, with the highest probability that it was given anywhere, best first.
fn merged(lists: Vec<Vec<Hit>>) -> Vec<Hit> {
    if lists.len() == 1 {
        return lists.into_iter().flatten().collect();
    }
    let mut all: Vec<Hit> = vec![];
    for hit in lists.into_iter().flatten() {
        match all.iter_mut().find(|known| known.id == hit.id) {
            Some(known) if rank(known) < rank(&hit) => *known = hit,
            Some(_) => {}
            None => all.push(hit),
        }
    }
    let place = |hit: &Hit| rank(hit).unwrap_or(f32::NEG_INFINITY);
    all.sort_by(|a, b| place(b).total_cmp(&place(a)).then(b.score.total_cmp(&a.score)));
    all
}

/// What a hit that was looked at is ranked by.
fn rank(hit: &Hit) -> Option<f32> {
    hit.matched.map(|p| fused(p, hit.score))
}

/// An image that came with the question.
pub(super) fn brought(bytes: Vec<u8>, key: String) -> Candidate {
    Candidate { sight: Sight::here(bytes), shown: Shown { key, ..unsearched() } }
}

fn unsearched() -> Shown {
    Shown { number: 0, id: None, key: String::new(), score: None, matched: None }
}

//! Answers to questions about images, with citations.
//!
//! 1. `wording`  what a question is about, without the words that ask.
//! 2. `candidates` the collection is searched for that, and a matcher holds the best hits against it; where none fits, for the question itself
//!    too. What does not fit is left out. Where nothing is left, the answer is that the images do not tell. To a question for
//!    yes or no it is "no" where the matcher is sure; where it is not, the model looks at the best hits all the same.
//! 3. `answerer` the model looks at as many of them as it can hold. One whose picture is gone gives way to the next.
//! 4. `talker` and `desk`, or `vqa`, write the answer; pieces go to the caller as they come.
//! 5. `marks`    `[2]` in it must name an image that was shown; those are cited.
//! 6. `doubt`    a short answer is held back until it is complete, and what it claims (`claims`) until a matcher has held it against
//!    the images that it cites.

mod answerer;
mod candidates;
mod claims;
mod desk;
mod doubt;
mod marks;
mod talker;
mod vqa;
mod wording;

pub(super) use answerer::AnyAnswerer;
pub use answerer::{ANSWERER, AnswerOptions};
pub use desk::{DeskOptions, Written};

use super::caller::Caller;
use super::collection::Collection;
use super::eyes::Sight;
use super::queue::QueueOptions;
use crate::error::{Error, Result};
use crate::models::{ModelOptions, Progress};
use crate::types::ask::REFUSAL;
use crate::types::{Answer, Ask, Citation, Claim, Ended, Shown, Told, Writing};
use answerer::{Answerer, Asked, Wrote};
use candidates::{Candidate, Found, NO, brought};
use claims::too_long;
use doubt::Judge;
use marks::Marks;
use std::time::{Duration, Instant};
use wording::Asks;

/// The most images that may be asked for.
const MOST: usize = 64;
/// The most tokens that an answer may be given.
const LONGEST: usize = 4096;

impl Collection {
    /// The answer to `ask`, which `tell` hears as it is made.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty question, one that is too long for the answerer, and settings out of range; and where no
    /// answerer is named.
    pub fn ask(&self, ask: &Ask, caller: &Caller, tell: &mut dyn FnMut(Told)) -> Result<Answer> {
        check(ask)?;
        let answerer = self.answerer()?;
        let judge = match self.has_matcher() && !ask.unchecked {
            true => Some(Judge { matcher: self.matcher()?, question: wording::read(&ask.question) }),
            false => None,
        };
        let candidates = || match &ask.about {
            None => self.find(ask, caller),
            Some(about) => Ok(Found { images: self.named(about)?, best: None, said: None }),
        };
        answerer.answer(ask, candidates, judge.filter(Judge::has_a_say).as_ref(), caller, tell)
    }
}

/// An answerer outside any collection, for questions about given images.
pub struct LoadedAnswerer(AnyAnswerer);

/// Finds and loads the answerer of that name.
pub fn load(
    name: &str,
    models: &ModelOptions,
    progress: &dyn Progress,
    options: &AnswerOptions,
) -> Result<LoadedAnswerer> {
    AnyAnswerer::load(name, models, progress, QueueOptions::default(), options).map(LoadedAnswerer)
}

impl LoadedAnswerer {
    /// The answer to `ask` about `images`, each with its URI.
    ///
    /// # Errors
    /// As [`Collection::ask`]; [`Error::Image`] that names the image that cannot be looked at.
    pub fn ask(
        &self,
        ask: &Ask,
        images: Vec<(String, Vec<u8>)>,
        caller: &Caller,
        tell: &mut dyn FnMut(Told),
    ) -> Result<Answer> {
        check(ask)?;
        // They are what it is about, whatever it says itself.
        let ask = &Ask { about: Some(vec![]), ..ask.clone() };
        let images = images.into_iter().map(|(key, bytes)| brought(bytes, key)).collect();
        self.0.answer(ask, || Ok(Found { images, best: None, said: None }), None, caller, tell)
    }
}

impl AnyAnswerer {
    fn answer(
        &self,
        ask: &Ask,
        candidates: impl FnOnce() -> Result<Found>,
        judge: Option<&Judge>,
        caller: &Caller,
        tell: &mut dyn FnMut(Told),
    ) -> Result<Answer> {
        match self {
            AnyAnswerer::Llava(talker) => answer(talker, ask, candidates, judge, caller, tell),
            AnyAnswerer::Blip(vqa) => answer(vqa, ask, candidates, judge, caller, tell),
        }
    }
}

/// An answer as it was written.
#[derive(Clone)]
struct Draft {
    text: String,
    /// The numbers of the images that it rests on.
    cited: Vec<usize>,
    claim: Option<Claim>,
    wrote: Wrote,
}

impl Draft {
    fn abstained(&self) -> bool {
        refuses(&self.text)
    }
}

/// Looks at the candidates, and writes.
fn answer<A: Answerer>(
    answerer: &A,
    ask: &Ask,
    candidates: impl FnOnce() -> Result<Found>,
    judge: Option<&Judge>,
    caller: &Caller,
    tell: &mut dyn FnMut(Told),
) -> Result<Answer> {
    let asked = Asked { question: &ask.question, writing: &ask.writing, may_refuse: true };
    // Before any work is done for it.
    answerer.must_hold(&asked)?;
    let Found { images, best: best_match, said } = candidates()?;
    if let Some(said) = said {
        return Ok(unasked(said, best_match, tell));
    }
    // Who names images wants all of them looked at.
    let limit = if ask.about.is_some() { images.len() } else { ask.limit };
    let (mut shown, mut seen) = look(answerer, images, limit, caller)?;
    let count = answerer.affords(&asked, &seen)?;
    shown.truncate(count);
    seen.truncate(count);
    shown.iter_mut().zip(1..).for_each(|(candidate, number)| candidate.shown.number = number);
    let (shown, sights): (Vec<Shown>, Vec<Sight>) =
        shown.into_iter().map(|candidate| (candidate.shown, candidate.sight)).unzip();
    tell(Told::Looking(shown.clone()));
    let scene = Scene { answerer, shown: &shown, seen: &seen, caller };
    let draft = match judge.filter(|_| !shown.is_empty()) {
        None => scene.write(&asked, &mut |text| tell(Told::Text(text)))?,
        Some(judge) => scene.doubted(&asked, judge, &sights, &mut |text| tell(Told::Text(text)))?,
    };
    let abstained = draft.abstained();
    let cited = if abstained { vec![] } else { draft.cited };
    Ok(Answer {
        text: draft.text,
        citations: cited.into_iter().filter_map(|number| cite(&shown, number)).collect(),
        abstained,
        claim: draft.claim.filter(|_| !abstained),
        token_ids: draft.wrote.token_ids,
        best_match,
        looked_at: shown,
        finish: draft.wrote.ended,
    })
}

/// What an answer is written about.
struct Scene<'a, A: Answerer> {
    answerer: &'a A,
    shown: &'a [Shown],
    seen: &'a [A::Seen],
    caller: &'a Caller,
}

impl<A: Answerer> Scene<'_, A> {
    /// Writes an answer, each piece of which is said as soon as it is certain.
    fn write(&self, asked: &Asked, say: &mut dyn FnMut(String)) -> Result<Draft> {
        let (mut marks, mut text) = (Marks::new(self.shown.len()), String::new());
        let mut say = |ready: String| {
            if !ready.is_empty() {
                text.push_str(&ready);
                say(ready);
            }
        };
        let wrote = self
            .answerer
            .write(asked, self.seen.to_vec(), self.caller, &mut |piece| say(marks.push(piece)))?;
        let (rest, mut cited) = marks.finish();
        say(rest);
        if cited.is_empty() && !self.answerer.names_pictures() {
            cited = unnamed(self.shown);
        }
        Ok(Draft { text, cited, claim: None, wrote })
    }

    /// Writes an answer, which is held back while it is short, and said when the judge has nothing against it.
    fn doubted(
        &self,
        asked: &Asked,
        judge: &Judge,
        sights: &[Sight],
        say: &mut dyn FnMut(String),
    ) -> Result<Draft> {
        let began = Instant::now();
        let (mut held, mut told) = (String::new(), false);
        let first = self.write(asked, &mut |piece| {
            held.push_str(&piece);
            if told || too_long(&held) {
                say(std::mem::take(&mut held));
                told = true;
            }
        })?;
        if told {
            say(held);
            return Ok(first);
        }
        let (wrote, refused) = (first.wrote.clone(), first.abstained());
        let others = || self.others(asked, asked.writing.time.saturating_sub(began.elapsed()));
        let settled = judge.settle(first, sights, others, self.caller)?;
        // What fits no image is not so.
        let text = if judge.question.asks == Asks::Whether && !refused { NO } else { REFUSAL };
        let refusal = || Draft { text: text.to_owned(), cited: vec![], claim: None, wrote };
        let settled = settled.unwrap_or_else(refusal);
        say(settled.text.clone());
        Ok(settled)
    }

    /// Other answers to the same question, side by side: about each image alone, and drawn. Those that come to nothing are left out.
    fn others(&self, asked: &Asked, time: Duration) -> Result<Vec<Draft>> {
        let writing = asked.writing;
        let alone = if self.shown.len() > 1 { self.shown.len().min(doubt::ALONE) } else { 0 };
        let one = |nth: usize| {
            // Alone, it is the first.
            let shown = [Shown { number: 1, ..self.shown.get(nth)?.clone() }];
            let seen = self.seen.get(nth..nth + 1)?;
            let scene = Scene { answerer: self.answerer, shown: &shown, seen, caller: self.caller };
            let writing = Writing { time, ..writing.clone() };
            let asked = Asked { writing: &writing, may_refuse: false, ..*asked };
            let mut draft = scene.write(&asked, &mut |_| {}).ok()?;
            draft.cited.iter_mut().for_each(|number| *number += nth);
            Some(draft)
        };
        let temperature = if writing.temperature > 0.0 { writing.temperature } else { doubt::TEMPERATURE };
        let drawn = |nth: u64| {
            let seed = writing.seed.wrapping_add(nth);
            let writing = Writing { temperature, seed, time, ..writing.clone() };
            self.write(&Asked { writing: &writing, may_refuse: false, ..*asked }, &mut |_| {}).ok()
        };
        let drafts: Vec<Option<Draft>> = std::thread::scope(|scope| {
            let (one, drawn) = (&one, &drawn);
            let ones = (0..alone).map(|nth| scope.spawn(move || one(nth)));
            let threads: Vec<_> =
                ones.chain((1..=doubt::DRAWN).map(|nth| scope.spawn(move || drawn(nth)))).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        self.caller.check()?;
        Ok(drafts.into_iter().flatten().collect())
    }
}

/// The first images of which as many can be seen as are wanted.
fn look<A: Answerer>(
    answerer: &A,
    candidates: Vec<Candidate>,
    limit: usize,
    caller: &Caller,
) -> Result<(Vec<Candidate>, Vec<A::Seen>)> {
    let (mut shown, mut seen, mut reason) = (vec![], vec![], None);
    let mut left = candidates.into_iter().peekable();
    while shown.len() < limit && left.peek().is_some() {
        let some: Vec<Candidate> = left.by_ref().take(limit - shown.len()).collect();
        let glances = answerer.see(some.iter().map(|one| one.sight.clone()).collect(), caller)?;
        for (candidate, glance) in some.into_iter().zip(glances) {
            match glance {
                Ok(glance) => {
                    shown.push(candidate);
                    seen.push(glance);
                }
                // Who names an image means that one.
                Err(why) if candidate.shown.score.is_none() => {
                    return Err(Error::image(format!("{}: {why}", called(&candidate.shown))));
                }
                Err(why) => _ = reason.get_or_insert(format!("{}: {why}", called(&candidate.shown))),
            }
        }
    }
    match (shown.is_empty(), reason) {
        (true, Some(reason)) => {
            Err(Error::image(format!("none of the images that fit can be looked at; {reason}")))
        }
        _ => Ok((shown, seen)),
    }
}

fn called(shown: &Shown) -> &str {
    if shown.key.is_empty() { "the image that came with the question" } else { &shown.key }
}

/// What an answer rests on whose model was never taught to say: the only image, or those that a matcher found to fit.
fn unnamed(shown: &[Shown]) -> Vec<usize> {
    let sure = |shown: &&Shown| shown.matched.is_some();
    match shown {
        [only] => vec![only.number],
        several => several.iter().filter(sure).map(|shown| shown.number).collect(),
    }
}

fn cite(shown: &[Shown], number: usize) -> Option<Citation> {
    let shown = shown.get(number.checked_sub(1)?)?;
    Some(Citation { id: shown.id, key: shown.key.clone(), number })
}

/// Nothing fits: the model is not asked.
fn unasked(said: &str, best_match: Option<f32>, tell: &mut dyn FnMut(Told)) -> Answer {
    tell(Told::Looking(vec![]));
    tell(Told::Text(said.to_owned()));
    Answer {
        text: said.to_owned(),
        citations: vec![],
        abstained: refuses(said),
        claim: None,
        token_ids: vec![],
        best_match,
        looked_at: vec![],
        finish: Ended::Unasked,
    }
}

/// Whether a text says that the images do not tell.
fn refuses(text: &str) -> bool {
    const BEGINNINGS: &[&str] = &[
        "i can't tell",
        "i cannot tell",
        "i can not tell",
        "can't tell",
        "cannot tell",
        "i don't know",
        "i do not know",
        "it is not possible to tell",
        "it is impossible to tell",
        "the images do not show",
        "the images don't show",
        "the image does not show the answer",
        "unanswerable",
    ];
    let plain = text.trim().to_lowercase().replace('\u{2019}', "'");
    plain.is_empty() || BEGINNINGS.iter().any(|beginning| plain.starts_with(beginning))
}

fn check(ask: &Ask) -> Result<()> {
    let (writing, about) = (&ask.writing, ask.about.as_ref().map_or(0, Vec::len));
    let wrong = match () {
        () if ask.question.trim().is_empty() => {
            ("an empty question".to_owned(), "ask in a few words".to_owned())
        }
        () if !(1..=MOST).contains(&ask.limit) => {
            (format!("a limit of {}", ask.limit), format!("1 to {MOST} images"))
        }
        () if about > MOST => (format!("{about} images"), format!("at most {MOST}")),
        () if !(0.0..=1.0).contains(&ask.min_match) => {
            (format!("a least match of {}", ask.min_match), "a probability, 0 to 1".to_owned())
        }
        () if !(1..=LONGEST).contains(&writing.max_tokens) => {
            (format!("{} tokens", writing.max_tokens), format!("1 to {LONGEST}"))
        }
        () if !(0.0..=10.0).contains(&writing.temperature) => (
            format!("a temperature of {}", writing.temperature),
            "0 to 10; 0 takes the likeliest token".to_owned(),
        ),
        () if !(writing.top_p > 0.0 && writing.top_p <= 1.0) => {
            (format!("a top_p of {}", writing.top_p), "above 0, at most 1".to_owned())
        }
        () if writing.stop.iter().any(String::is_empty) => {
            ("an empty stop string".to_owned(), "leave it out".to_owned())
        }
        () => return Ok(()),
    };
    Err(Error::invalid(wrong.0, wrong.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_known() {
        for text in [REFUSAL, "i can\u{2019}t tell from these images", " I cannot tell.", "unanswerable", ""]
        {
            assert!(refuses(text), "{text:?}");
        }
        for text in ["no", "two dogs", "The person says: I can't tell"] {
            assert!(!refuses(text), "{text:?}");
        }
    }
}

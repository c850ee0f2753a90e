//! A BLIP with a head for questions as answerer: small and quick. It looks at one picture at a time, and says a word or two.
//!
//! 1. Each picture is asked by itself.
//! 2. To a question for yes or no, "yes" wins if any picture says so; else the best hit's answer does.
//! 3. All pictures that say the same are cited.
//!
//! It cannot say that a picture does not tell: abstaining is left to the matcher.

use super::answerer::{Answerer, Asked, Wrote};
use super::talker::decoding;
use super::wording::{self, Asks};
use crate::engine::caller::Caller;
use crate::engine::eyes::{Glance, Looks, Sight};
use crate::engine::queue::{Load, Queue, QueueOptions};
use crate::error::{Error, Result};
use crate::models::{Blip, Decoding, Features, Generated};
use crate::types::Ended;
use std::sync::Arc;

/// The most tokens of an answer: what BLIP was taught to give.
const LONGEST: usize = 20;

/// A BLIP and its queues.
pub(in crate::engine) struct Vqa {
    blip: Arc<Blip>,
    looks: Looks<Blip>,
    questions: Queue<Question, Generated>,
}

struct Question {
    seen: Features,
    text: String,
    how: Decoding,
}

impl Vqa {
    pub fn new(blip: Blip, options: QueueOptions, features: u64) -> Result<Self> {
        let blip = Arc::new(blip);
        let (looks, writer) = (Looks::new(blip.clone(), options, features)?, blip.clone());
        let questions =
            Queue::new("answer", options, move |questions: &[Question]| answer(&writer, questions))?;
        Ok(Vqa { blip, looks, questions })
    }

    pub fn loads(&self) -> [(String, &'static str, Load); 2] {
        let name = || self.blip.name().to_owned();
        [(name(), "picture", self.looks.load()), (name(), "answer", self.questions.load())]
    }
}

impl Answerer for Vqa {
    type Seen = Features;

    fn must_hold(&self, asked: &Asked) -> Result<()> {
        match self.blip.excess(asked.question)? {
            0 => Ok(()),
            excess => {
                let what = format!("the question has {excess} tokens more than {} reads", self.blip.name());
                Err(Error::invalid(what, "ask in fewer words"))
            }
        }
    }

    fn see(&self, sights: Vec<Sight>, caller: &Caller) -> Result<Vec<Glance<Features>>> {
        Ok(self.looks.see(sights, caller)?.0)
    }

    fn affords(&self, _: &Asked, seen: &[Features]) -> Result<usize> {
        Ok(seen.len())
    }

    fn names_pictures(&self) -> bool {
        true
    }

    fn write(
        &self,
        asked: &Asked,
        seen: Vec<Features>,
        caller: &Caller,
        say: &mut dyn FnMut(&str),
    ) -> Result<Wrote> {
        if seen.is_empty() {
            let what = format!("{} has no image to look at", self.blip.name());
            return Err(Error::unsupported(what, "give it one, or ask a language model"));
        }
        let mut how = decoding(asked.writing);
        how.max_new_tokens = how.max_new_tokens.min(LONGEST);
        let question = |seen| Question { seen, text: asked.question.to_owned(), how: how.clone() };
        let said = self.questions.ask(seen.into_iter().map(question).collect(), caller)?;
        let texts: Vec<String> = said.iter().map(|one| one.text.trim().to_lowercase()).collect();
        let whether = wording::read(asked.question).asks == Asks::Whether;
        let yes = texts.iter().position(|text| whether && text == "yes");
        let Some(best) = said.get(yes.unwrap_or(0)) else { return Err(Error::Cancelled) };
        let chosen = best.text.trim().to_lowercase();
        let marks = texts
            .iter()
            .enumerate()
            .filter(|(_, text)| **text == chosen)
            .map(|(at, _)| format!(" [{}]", at + 1));
        // "No" is said of all pictures, and rests on none.
        let marks: String = if chosen == "no" { String::new() } else { marks.collect() };
        say(&format!("{}{marks}", best.text.trim()));
        Ok(Wrote { ended: Ended::Stop, token_ids: best.token_ids.clone() })
    }
}

/// Questions that wait together; those that are answered in the same way share passes.
fn answer(blip: &Blip, questions: &[Question]) -> Result<Vec<Generated>> {
    let mut answers = Vec::with_capacity(questions.len());
    for alike in questions.chunk_by(|a, b| a.how == b.how) {
        let Some(first) = alike.first() else { continue };
        let pairs: Vec<(&Features, &str)> = alike.iter().map(|one| (&one.seen, one.text.as_str())).collect();
        answers.extend(blip.answer(&pairs, &first.how)?);
    }
    Ok(answers)
}

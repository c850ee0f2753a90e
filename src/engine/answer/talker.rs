//! A LLaVA as answerer: it sees all pictures at once, and its answer comes token by token.

use super::answerer::{Answerer, Asked, Wrote};
use super::desk::{Desk, DeskOptions, Job, Written};
use crate::engine::caller::Caller;
use crate::engine::eyes::{Glance, LlavaEyes, Looks, Sight};
use crate::engine::queue::{Load, QueueOptions};
use crate::error::{Error, Result};
use crate::models::{Decoding, Llava, Prompt, Seen, Strategy};
use crate::types::Writing;
use crate::types::ask::REFUSAL;
use std::sync::Arc;
use std::time::Instant;

/// What an answer wants at least: this share of all that the model can hold is kept free for it, or all that it may take.
const RESERVE: usize = 8;

/// A LLaVA, its eyes and its desk.
pub(in crate::engine) struct Talker {
    llava: Arc<Llava>,
    looks: Looks<LlavaEyes>,
    desk: Desk,
    tiles: bool,
    /// The tokens with which it begins to refuse.
    refusing: Vec<u32>,
}

impl Talker {
    pub fn new(
        llava: Llava,
        queue: QueueOptions,
        desk: DeskOptions,
        features: u64,
        tiles: bool,
    ) -> Result<Self> {
        let llava = Arc::new(llava);
        let eyes = Arc::new(LlavaEyes { llava: llava.clone(), tiles });
        Ok(Talker {
            looks: Looks::new(eyes, queue, features)?,
            desk: Desk::new(llava.clone(), desk)?,
            refusing: llava.begin_tokens(REFUSAL)?,
            llava,
            tiles,
        })
    }

    pub fn loads(&self) -> (String, Load, Written) {
        (self.llava.name().to_owned(), self.looks.load(), self.desk.load())
    }

    /// The question as the model hears it about so many pictures. One that was taught to name pictures needs no telling.
    fn worded(&self, question: &str, pictures: usize) -> String {
        if self.llava.numbers_pictures() {
            return question.to_owned();
        }
        match pictures {
            0 | 1 => {
                format!("{question}\nAnswer briefly. If the image does not show the answer, say: {REFUSAL}")
            }
            _ => format!(
                "The images are numbered 1 to {pictures} in this order. {question}\nAnswer briefly, and name the images that the \
                 answer rests on by number, as in [1]. If they do not show the answer, say: {REFUSAL}"
            ),
        }
    }

    /// How many tokens the prompt about the first `count` of `seen` takes.
    fn prompt_tokens(&self, asked: &Asked, seen: &[Seen], count: usize) -> Result<usize> {
        let images: Vec<&Seen> = seen.iter().take(count).collect();
        let question = self.worded(asked.question, images.len());
        let system = asked.writing.system.as_deref();
        let own = self.llava.question_tokens(&Prompt {
            system,
            question: &question,
            images: &images,
            stop: &[],
        })?;
        Ok(own + images.iter().map(|seen| seen.tokens()).sum::<usize>())
    }

    /// How many tokens a prompt may have.
    fn room(&self, writing: &Writing) -> usize {
        let context = self.llava.context();
        context - writing.max_tokens.min(context / RESERVE)
    }
}

impl Answerer for Talker {
    type Seen = Seen;

    fn must_hold(&self, asked: &Asked) -> Result<()> {
        // A picture of any size takes as much, unless it is looked at closely; then the pictures themselves decide.
        let picture = if self.tiles { 0 } else { self.llava.image_tokens((1, 1), false) };
        let (tokens, room) = (self.prompt_tokens(asked, &[], 0)? + picture, self.room(asked.writing));
        if tokens <= room {
            return Ok(());
        }
        let what = format!("the question takes {} tokens, and a picture {picture}", tokens - picture);
        let fix =
            format!("{} can hold {room} of them beside an answer: ask in fewer words", self.llava.name());
        Err(Error::invalid(what, fix))
    }

    fn see(&self, sights: Vec<Sight>, caller: &Caller) -> Result<Vec<Glance<Seen>>> {
        Ok(self.looks.see(sights, caller)?.0)
    }

    fn affords(&self, asked: &Asked, seen: &[Seen]) -> Result<usize> {
        let room = self.room(asked.writing);
        for count in (2..=seen.len()).rev() {
            if self.prompt_tokens(asked, seen, count)? <= room {
                return Ok(count);
            }
        }
        // Where not even one fits, the model says so itself.
        Ok(seen.len().min(1))
    }

    fn names_pictures(&self) -> bool {
        self.llava.numbers_pictures()
    }

    fn write(
        &self,
        asked: &Asked,
        seen: Vec<Seen>,
        caller: &Caller,
        say: &mut dyn FnMut(&str),
    ) -> Result<Wrote> {
        let writing = asked.writing;
        let mut how = decoding(writing);
        if !asked.may_refuse {
            how.begin_suppress.clone_from(&self.refusing);
        }
        let tokens = self.prompt_tokens(asked, &seen, seen.len())?.saturating_add(writing.max_tokens);
        let job = Job {
            system: writing.system.clone(),
            question: self.worded(asked.question, seen.len()),
            stop: writing.stop.clone(),
            seen,
            how,
            tokens: tokens.min(self.llava.context()),
            until: Instant::now().checked_add(writing.time),
        };
        let (ended, token_ids) = self.desk.write(job, caller, say)?;
        Ok(Wrote { ended, token_ids })
    }
}

/// A temperature of 0 is the likeliest token each time.
pub(super) fn decoding(writing: &Writing) -> Decoding {
    let strategy = match writing.temperature > 0.0 {
        true => Strategy::TopP { p: writing.top_p, temperature: writing.temperature, seed: writing.seed },
        false => Strategy::Greedy,
    };
    Decoding { strategy, max_new_tokens: writing.max_tokens, ..Decoding::default() }
}

//! An answer in the making: one token a step, so that a caller can stop between any two, and several go on side by side.

use super::Mind;
use crate::models::generate::{Decoding, Draws, Stops, Strategy, Unfold, choose};
use crate::models::llama::{Cache, Span};
use crate::{Error, Result};
use candle_core::Tensor;
use std::sync::Arc;

/// How many tokens of a prompt are read in one step.
const READ: usize = 256;

/// An answer in the making. Dropping it frees what it holds.
pub struct Session {
    mind: Arc<Mind>,
    cache: Cache,
    how: Decoding,
    draws: Draws,
    unfold: Unfold,
    stops: Stops,
    /// The prompt's tokens, pictures left out, and what was written.
    tokens: Vec<u32>,
    /// Embeddings of the prompt that were not read yet: (tokens, width).
    unread: Option<Tensor>,
    written: usize,
    log_prob: f32,
    finish: Option<Finish>,
}

/// What one step brought.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A part of the prompt was read; so many tokens of it are left.
    Reading(usize),
    /// A token was written.
    Piece(Piece),
    /// The answer is complete: nothing was done.
    Done,
}

/// A token of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// The text that has become certain with it: whole characters, often none; without special tokens and stop strings.
    pub text: String,
    /// Its id; the last one may be that of the end token.
    pub token_id: u32,
}

/// Why an answer is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model ended it.
    End,
    /// A stop string came.
    Stop,
    /// It is as long as it may be.
    Length,
    /// A step failed.
    Failed,
}

impl Session {
    /// `prompt` holds the embeddings of all tokens and pictures, `tokens` the ids of the former.
    pub(super) fn new(
        mind: Arc<Mind>,
        prompt: Tensor,
        tokens: Vec<u32>,
        stop: &[&str],
        how: &Decoding,
    ) -> Result<Self> {
        let room = (prompt.dim(0)? + how.max_new_tokens).min(mind.context);
        let seed = if let Strategy::TopP { seed, .. } = how.strategy { seed } else { 0 };
        Ok(Session {
            cache: mind.llama.cache(room),
            mind,
            how: how.clone(),
            draws: Draws::new(seed, 0),
            unfold: Unfold::default(),
            stops: Stops::new(stop),
            tokens,
            unread: Some(prompt),
            written: 0,
            log_prob: 0.0,
            finish: None,
        })
    }

    /// Writes the next token, after reading the prompt where that is still to be done; None when the answer is complete.
    ///
    /// # Errors
    /// [`Error::Compute`] when the device fails or a number is not finite; the answer is over then.
    // An iterator of results would hide that an error ends it.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Piece>> {
        loop {
            match self.step()? {
                Step::Reading(_) => {}
                Step::Piece(piece) => return Ok(Some(piece)),
                Step::Done => return Ok(None),
            }
        }
    }

    /// As [`Session::next`], but a long prompt takes several steps, so that a caller can stop between them.
    ///
    /// # Errors
    /// As [`Session::next`].
    pub fn step(&mut self) -> Result<Step> {
        advance(&mut [self])?.pop().unwrap_or(Ok(Step::Done))
    }

    /// The tokens that were written.
    pub fn written(&self) -> &[u32] {
        self.tokens.get(self.tokens.len() - self.written..).unwrap_or_default()
    }

    /// The model's log-probability of what was written.
    pub fn log_prob(&self) -> f32 {
        self.log_prob
    }

    /// Why the answer is complete; None while it isn't.
    pub fn finish(&self) -> Option<Finish> {
        self.finish
    }

    /// The embeddings of what is to be read next: (tokens, width).
    fn upcoming(&mut self) -> Result<Tensor> {
        let Some(unread) = self.unread.take() else {
            return self
                .mind
                .llama
                .embed(self.tokens.get(self.tokens.len().saturating_sub(1)..).unwrap_or_default());
        };
        let left = unread.dim(0)?;
        if left <= READ {
            return Ok(unread);
        }
        self.unread = Some(unread.narrow(0, READ, left - READ)?);
        Ok(unread.narrow(0, 0, READ)?)
    }

    /// Goes on after the token that `logits` call for.
    fn write(&mut self, logits: Vec<f32>) -> Result<Piece> {
        let ends = &self.mind.ends;
        let (token_id, log_prob) =
            choose(logits, &self.tokens, self.written, ends, &self.how, &mut self.draws);
        if !log_prob.is_finite() {
            let reason = "a score is not finite; in f16 this is an overflow: try f32".to_owned();
            return Err(Error::Compute { reason });
        }
        self.tokens.push(token_id);
        self.written += 1;
        self.log_prob += log_prob;
        let mind = Arc::clone(&self.mind);
        let decode = |ids: &[u32]| mind.prompter.decode(ids);
        let ended = mind.ends.contains(&token_id);
        let certain = if ended { String::new() } else { self.unfold.push(token_id, decode)? };
        let (mut text, stopped) = self.stops.push(&certain);
        self.finish = match () {
            () if stopped => Some(Finish::Stop),
            () if ended => Some(Finish::End),
            () if self.written >= self.how.max_new_tokens || self.cache.len() >= mind.context => {
                Some(Finish::Length)
            }
            () => None,
        };
        if matches!(self.finish, Some(Finish::End | Finish::Length)) {
            let (rest, stopped) = self.stops.push(&self.unfold.finish(decode)?);
            text.push_str(&rest);
            if !stopped {
                text.push_str(&self.stops.finish());
            }
        }
        Ok(Piece { text, token_id })
    }
}

/// One step of each of `sessions`, in one pass through the model. What several say does not depend on who else is there: one
/// whose numbers are not finite ends with an error of its own.
///
/// # Errors
/// [`Error::Invalid`] when they are of different models; [`Error::Compute`] when the device fails: then all of them are over.
pub fn advance(sessions: &mut [&mut Session]) -> Result<Vec<Result<Step>>> {
    let stepped = step_all(sessions);
    if stepped.is_err() {
        sessions.iter_mut().for_each(|session| session.finish = session.finish.or(Some(Finish::Failed)));
    }
    stepped
}

fn step_all(sessions: &mut [&mut Session]) -> Result<Vec<Result<Step>>> {
    let Some(mind) = sessions.first().map(|session| Arc::clone(&session.mind)) else { return Ok(Vec::new()) };
    if !sessions.iter().all(|session| Arc::ptr_eq(&session.mind, &mind)) {
        return Err(Error::invalid(
            "sessions of different models",
            "advance each model's sessions by themselves",
        ));
    }
    let (mut rows, mut lengths) = (Vec::new(), Vec::new());
    for session in sessions.iter_mut().filter(|session| session.finish.is_none()) {
        let upcoming = session.upcoming()?;
        lengths.push(upcoming.dim(0)?);
        rows.push(upcoming);
    }
    if rows.is_empty() {
        return Ok(sessions.iter().map(|_| Ok(Step::Done)).collect());
    }
    let open = sessions.iter_mut().filter(|session| session.finish.is_none());
    let mut spans: Vec<Span> =
        open.zip(&lengths).map(|(session, len)| Span { cache: &mut session.cache, len: *len }).collect();
    let states = mind.llama.forward(&Tensor::cat(&rows, 0)?, &mut spans)?;
    drop(spans);
    let (mut steps, mut lengths, mut at) = (Vec::with_capacity(sessions.len()), lengths.into_iter(), 0);
    for session in sessions.iter_mut() {
        let next = if session.finish.is_none() { lengths.next() } else { None };
        let Some(length) = next else {
            steps.push(Ok(Step::Done));
            continue;
        };
        at += length;
        steps.push(match &session.unread {
            Some(unread) => Ok(Step::Reading(unread.dim(0)?)),
            None => {
                let logits = mind.llama.logits(&states.narrow(0, at - 1, 1)?)?;
                let written = session.write(logits.flatten_all()?.to_vec1()?);
                if written.is_err() {
                    session.finish = Some(Finish::Failed);
                }
                written.map(Step::Piece)
            }
        });
    }
    Ok(steps)
}

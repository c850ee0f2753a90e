//! Where answers are written: all that are open go on together, one token each a step.
//!
//! 1. A question waits in a bounded line, first come, first served; a full line is an error that says when to come back.
//! 2. It is let in once there is a place, and memory for all the keys and values that it may come to hold.
//! 3. Each step is one pass through the model for all who are in; a long prompt is read in several, so that nobody waits long.
//! 4. Before each step those are let go whose caller has left or whose time is over: a place is free within one token.
//!
//! One thread does all of this. What a session says goes to its own caller, and what breaks one does not break another.

use crate::engine::caller::Caller;
use crate::error::{Error, Result};
use crate::models::llava::{self, Finish, Step};
use crate::models::{Decoding, Llava, Prompt, Seen, Session};
use crate::types::Ended;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How much is written at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeskOptions {
    /// The most answers that are written at once; at least 1.
    pub places: usize,
    /// The most questions that wait.
    pub waiting: usize,
    /// How many bytes the keys and values of all open answers may take. One answer alone may always be written.
    pub memory: u64,
}

impl Default for DeskOptions {
    fn default() -> Self {
        DeskOptions { places: 8, waiting: 64, memory: 1 << 30 }
    }
}

/// What a desk has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Questions that wait now.
    pub waiting: usize,
    /// Answers that are being written.
    pub open: usize,
    /// Answers that were begun.
    pub begun: u64,
    /// Tokens that were written.
    pub tokens: u64,
    /// Answers whose caller left before their end.
    pub dropped: u64,
    /// Questions that found the line full.
    pub refused: u64,
    /// Time spent in steps.
    pub busy: Duration,
}

/// What is asked of the model.
pub(super) struct Job {
    pub system: Option<String>,
    pub question: String,
    pub stop: Vec<String>,
    pub seen: Vec<Seen>,
    pub how: Decoding,
    /// How many tokens it may come to, prompt and answer.
    pub tokens: usize,
    /// When writing ends, complete or not.
    pub until: Option<Instant>,
}

/// The line, and the thread that writes.
pub(super) struct Desk {
    line: Arc<Line>,
    llava: Arc<Llava>,
}

struct Line {
    options: DeskOptions,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Waiting>,
    load: Written,
    closed: bool,
}

/// A question in the line.
struct Waiting {
    job: Job,
    bytes: u64,
    caller: Caller,
    out: Sender<Said>,
}

/// An answer in the making.
struct Open {
    session: Session,
    bytes: u64,
    until: Option<Instant>,
    caller: Caller,
    out: Sender<Said>,
}

/// What a caller hears.
enum Said {
    Text(String),
    End(Ended, Vec<u32>),
    Failed(Error),
}

impl Desk {
    /// A desk for `llava`, with a thread of its own.
    pub fn new(llava: Arc<Llava>, options: DeskOptions) -> Result<Self> {
        let line = Arc::new(Line { options, state: Mutex::default(), changed: Condvar::new() });
        let (served, model) = (line.clone(), llava.clone());
        let thread = std::thread::Builder::new().name("answer desk".into());
        thread.spawn(move || served.serve(&model)).map_err(|e| Error::io("a new thread", e))?;
        Ok(Desk { line, llava })
    }

    /// Writes the answer, and hands `say` each piece as it comes; why it ends, and its tokens.
    ///
    /// # Errors
    /// [`Error::Overloaded`] where the line is full; the caller's own where they leave; as [`Llava::start`].
    pub fn write(&self, job: Job, caller: &Caller, say: &mut dyn FnMut(&str)) -> Result<(Ended, Vec<u32>)> {
        let bytes = self.llava.session_bytes(job.tokens) as u64;
        let (out, said) = channel();
        self.line.push(Waiting { job, bytes, caller: caller.clone(), out })?;
        for said in said {
            match said {
                Said::Text(text) => say(&text),
                Said::End(ended, tokens) => return Ok((ended, tokens)),
                Said::Failed(error) => return Err(error),
            }
        }
        // The desk has closed, or its thread broke.
        Err(caller.check().err().unwrap_or(Error::Cancelled))
    }

    /// What it has done so far.
    pub fn load(&self) -> Written {
        let state = self.line.lock();
        Written { waiting: state.jobs.len(), ..state.load }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.line.lock().closed = true;
        self.line.changed.notify_all();
    }
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, waiting: Waiting) -> Result<()> {
        let mut state = self.lock();
        if state.jobs.len() >= self.options.waiting.max(1) {
            state.load.refused += 1;
            return Err(Error::Overloaded { what: "answer", retry: Duration::from_secs(1) });
        }
        state.jobs.push_back(waiting);
        self.changed.notify_one();
        Ok(())
    }

    fn serve(&self, llava: &Llava) {
        let mut open: Vec<Open> = vec![];
        while self.admit(llava, &mut open) {
            let began = Instant::now();
            self.told(&mut open, |open, load| {
                let before = open.len();
                open.retain(Open::goes_on);
                load.dropped += (before - open.len()) as u64;
            });
            let mut sessions: Vec<&mut Session> = open.iter_mut().map(|open| &mut open.session).collect();
            let steps = match sessions.is_empty() {
                true => Ok(vec![]),
                false => guarded(|| llava::advance(&mut sessions)),
            };
            self.told(&mut open, |open, load| {
                load.tokens += tell(open, steps);
                load.busy += began.elapsed();
            });
        }
    }

    /// Has callers told, so that whoever has heard the end of an answer finds it counted.
    fn told(&self, open: &mut Vec<Open>, tell: impl FnOnce(&mut Vec<Open>, &mut Written)) {
        let mut state = self.lock();
        tell(open, &mut state.load);
        state.load.open = open.len();
    }

    /// Lets in whom there is room for, and sleeps while nobody is there; false when the desk has closed.
    fn admit(&self, llava: &Llava, open: &mut Vec<Open>) -> bool {
        let mut state = self.lock();
        loop {
            if state.closed {
                return false;
            }
            let held: u64 = open.iter().map(|open| open.bytes).sum();
            let room = |bytes: u64| {
                open.is_empty()
                    || (open.len() < self.options.places && held.saturating_add(bytes) <= self.options.memory)
            };
            match state.jobs.pop_front() {
                Some(waiting) if room(waiting.bytes) => {
                    drop(state);
                    let begun = Open::begin(llava, waiting);
                    state = self.lock();
                    state.load.begun += u64::from(begun.is_some());
                    open.extend(begun);
                }
                Some(waiting) => {
                    state.jobs.push_front(waiting);
                    return true;
                }
                None if !open.is_empty() => return true,
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

impl Open {
    /// None where the caller was told that it cannot be.
    fn begin(llava: &Llava, waiting: Waiting) -> Option<Self> {
        let Waiting { job, bytes, caller, out } = waiting;
        let late = job.until.is_some_and(|until| Instant::now() >= until);
        let begun = caller.check().and(if late { Err(Error::Late) } else { Ok(()) }).and_then(|()| {
            let (images, stop): (Vec<&Seen>, Vec<&str>) =
                (job.seen.iter().collect(), job.stop.iter().map(String::as_str).collect());
            let (system, question) = (job.system.as_deref(), job.question.as_str());
            guarded(|| llava.start(&Prompt { system, question, images: &images, stop: &stop }, &job.how))
        });
        match begun {
            Ok(session) => Some(Open { session, bytes, until: job.until, caller, out }),
            Err(error) => {
                // Nobody there to hear it: the caller has left.
                _ = out.send(Said::Failed(error));
                None
            }
        }
    }

    /// Whether another token is wanted; the caller is told where not.
    fn goes_on(&self) -> bool {
        let end = match self.caller.check() {
            Err(error) => Said::Failed(error),
            Ok(()) if self.until.is_some_and(|until| Instant::now() >= until) => {
                Said::End(Ended::Time, self.session.written().to_vec())
            }
            Ok(()) => return true,
        };
        _ = self.out.send(end);
        false
    }

    /// Tells the caller what a step brought; whether there is more to come.
    fn hear(&self, step: Result<Step>) -> bool {
        let piece = match step {
            Ok(Step::Piece(piece)) => piece.text,
            Ok(Step::Reading(_)) => return true,
            Ok(Step::Done) => String::new(),
            Err(error) => {
                _ = self.out.send(Said::Failed(error));
                return false;
            }
        };
        // A caller who no longer listens has left.
        let heard = piece.is_empty() || self.out.send(Said::Text(piece)).is_ok();
        let ended = match self.session.finish() {
            None => return heard,
            Some(Finish::Length) => Ended::Length,
            Some(_) => Ended::Stop,
        };
        _ = self.out.send(Said::End(ended, self.session.written().to_vec()));
        false
    }
}

/// Tells each caller what the step brought, and lets go who is done; how many tokens were written.
fn tell(open: &mut Vec<Open>, steps: Result<Vec<Result<Step>>>) -> u64 {
    let steps = match steps {
        Ok(steps) => steps,
        Err(error) => {
            let reason = error.to_string();
            for open in open.drain(..) {
                _ = open.out.send(Said::Failed(Error::Compute { reason: reason.clone() }));
            }
            return 0;
        }
    };
    let written = steps.iter().filter(|step| matches!(step, Ok(Step::Piece(_)))).count();
    let mut steps = steps.into_iter();
    open.retain(|open| steps.next().is_some_and(|step| open.hear(step)));
    written as u64
}

/// A model that breaks on one question must not end the desk.
fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let broke =
        |_| Err(Error::Compute { reason: "the answerer broke on this question: please report it".into() });
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(broke)
}

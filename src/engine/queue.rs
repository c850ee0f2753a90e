//! The queue before a model: those who wait at the same time share a forward pass.
//!
//! 1. A caller puts inputs into the line, all or none; a full line is an error that says when to come back.
//! 2. A thread takes what waits, up to a batch, leaving out those whose caller has gone; there is one a device.
//! 3. The batch runs; where it fails, each input runs by itself, so that a poisoned one costs only itself.
//! 4. Each result goes to its caller, who has been asleep, or, in a future, has held no thread.
//!
//! Nobody waits for a batch to fill: while one runs the next one gathers, so that a lone caller is served at once and a crowd
//! shares.
//!
//! Who traces a request sees its wait (`queue`) and the forward passes that it had a share in (`forward`) below its `encode`.
//! Numbers in spans are i64, since that is what traces keep as numbers.

use super::caller::Caller;
use super::timing::Timed;
use crate::error::{Error, Result};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot::{Receiver, Sender, channel, error::RecvError};
use tracing::Span;

/// How much the queues before each model take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueOptions {
    /// The most inputs that share a forward pass; at least 1, which is no sharing.
    pub batch: usize,
    /// The most inputs that wait.
    pub waiting: usize,
    /// How many texts' embeddings are remembered.
    pub recent: usize,
}

impl Default for QueueOptions {
    fn default() -> Self {
        QueueOptions { batch: 64, waiting: 1024, recent: 4096 }
    }
}

/// What a queue has done since it was made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Load {
    /// Inputs that wait now.
    pub waiting: usize,
    /// Inputs that were taken out to be run.
    pub taken: u64,
    /// Forward passes.
    pub batches: u64,
    /// Inputs that went through them.
    pub inputs: u64,
    /// Inputs that were dropped because their caller had gone.
    pub dropped: u64,
    /// Requests that found the line full.
    pub refused: u64,
    /// Time spent in forward passes.
    pub busy: Duration,
    /// How long inputs that were taken out had waited.
    pub waited: Timed,
    /// Forward passes by size: of 1, up to 2, up to 4, ... and of more than 64.
    pub sizes: [u64; 8],
}

/// A bounded line of `I`, and the thread that turns them into `O`.
pub(super) struct Queue<I, O> {
    line: Arc<Line<I, O>>,
}

struct Line<I, O> {
    what: &'static str,
    options: QueueOptions,
    state: Mutex<State<I, O>>,
    changed: Condvar,
}

struct State<I, O> {
    jobs: VecDeque<Job<I, O>>,
    load: Load,
    closed: bool,
}

struct Job<I, O> {
    input: I,
    caller: Caller,
    came: Instant,
    trace: Trace,
    done: Sender<Result<O>>,
}

/// Inputs in the line, or out of it already: what their caller gets.
pub(super) struct Waiting<O> {
    results: Vec<Receiver<Result<O>>>,
    caller: Caller,
}

impl<O> Waiting<O> {
    /// Sleeps until the outputs are there, in the inputs' order, or the caller is found gone.
    ///
    /// # Errors
    /// The first input's error where one fails.
    pub fn block(self) -> Result<Vec<O>> {
        self.results.into_iter().map(|result| came(result.blocking_recv(), &self.caller)).collect()
    }

    /// The same for those who have other things to do.
    pub async fn wait(self) -> Result<Vec<O>> {
        let mut outputs = Vec::with_capacity(self.results.len());
        for result in self.results {
            outputs.push(came(result.await, &self.caller)?);
        }
        Ok(outputs)
    }
}

/// A result is missing where the thread dropped the job: the caller has gone, or the queue has closed.
fn came<O>(result: Result<Result<O>, RecvError>, caller: &Caller) -> Result<O> {
    result.unwrap_or_else(|_| Err(caller.check().err().unwrap_or(Error::Cancelled)))
}

/// The spans of one request's inputs: its own, and the one that ends when the last of them is taken out of the line.
#[derive(Clone)]
struct Trace {
    whole: Span,
    _waiting: Span,
}

impl Trace {
    /// A part of what this thread does; nothing where nobody traces that.
    fn of(what: &'static str, inputs: usize) -> Self {
        if Span::current().is_none() {
            return Trace { whole: Span::none(), _waiting: Span::none() };
        }
        let whole = tracing::info_span!("encode", input = what, inputs = inputs as i64);
        let _waiting = tracing::info_span!(parent: &whole, "queue");
        Trace { whole, _waiting }
    }

    /// A span in each request that has a share in a batch; requests' inputs stand together.
    fn forward<I, O>(batch: &[Job<I, O>]) -> Vec<Span> {
        let mut wholes: Vec<&Span> = batch.iter().map(|job| &job.trace.whole).collect();
        wholes.dedup();
        let forward = |whole| tracing::info_span!(parent: whole, "forward", batch = batch.len() as i64);
        wholes.into_iter().filter(|whole| !whole.is_none()).map(forward).collect()
    }
}

impl<I: Send + 'static, O: Send + 'static> Queue<I, O> {
    /// A queue that `run` serves, on a thread of its own; `run` gives one output for each input, in order. `what` names it in
    /// messages.
    pub fn new(
        what: &'static str,
        options: QueueOptions,
        run: impl Fn(&[I]) -> Result<Vec<O>> + Send + 'static,
    ) -> Result<Self> {
        Self::served_by(what, options, vec![run])
    }

    /// One line that each of `runs` serves, on a thread of its own.
    pub fn served_by(
        what: &'static str,
        options: QueueOptions,
        runs: Vec<impl Fn(&[I]) -> Result<Vec<O>> + Send + 'static>,
    ) -> Result<Self> {
        let state = State { jobs: VecDeque::new(), load: Load::default(), closed: false };
        let line = Arc::new(Line { what, options, state: Mutex::new(state), changed: Condvar::new() });
        let queue = Queue { line };
        for run in runs {
            let served = queue.line.clone();
            let thread = std::thread::Builder::new().name(format!("{what} queue"));
            thread.spawn(move || served.serve(&run)).map_err(|e| Error::io("a new thread", e))?;
        }
        Ok(queue)
    }

    /// The outputs for `inputs`, in order. Sleeps until they are there or their caller is found gone.
    ///
    /// # Errors
    /// Those of [`Queue::put`]; the first input's error where one fails.
    pub fn ask(&self, inputs: Vec<I>, caller: &Caller) -> Result<Vec<O>> {
        self.put(inputs, caller)?.block()
    }

    /// Puts `inputs` into the line.
    ///
    /// # Errors
    /// [`Error::Overloaded`] where they would make it too long.
    pub fn put(&self, inputs: Vec<I>, caller: &Caller) -> Result<Waiting<O>> {
        caller.check()?;
        let trace = Trace::of(self.line.what, inputs.len());
        let results = self.line.push(inputs, caller, trace)?;
        Ok(Waiting { results, caller: caller.clone() })
    }

    /// What it has done so far.
    pub fn load(&self) -> Load {
        let state = self.line.lock();
        Load { waiting: state.jobs.len(), ..state.load.clone() }
    }
}

impl<I, O> Drop for Queue<I, O> {
    fn drop(&mut self) {
        self.line.lock().closed = true;
        self.line.changed.notify_all();
    }
}

impl<I, O> Line<I, O> {
    fn lock(&self) -> MutexGuard<'_, State<I, O>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, inputs: Vec<I>, caller: &Caller, trace: Trace) -> Result<Vec<Receiver<Result<O>>>> {
        let mut state = self.lock();
        // A request that is longer than the line may come when nobody else waits: it would never fit otherwise.
        if !state.jobs.is_empty() && state.jobs.len() + inputs.len() > self.options.waiting {
            state.load.refused += 1;
            return Err(Error::Overloaded { what: self.what, retry: retry(&state.load, state.jobs.len()) });
        }
        let came = Instant::now();
        // Takes the trace along, so that it is let go before the lock is: the wait would seem to outlast the forward pass.
        let job = move |input| {
            let (done, result) = channel();
            (Job { input, caller: caller.clone(), came, trace: trace.clone(), done }, result)
        };
        let (jobs, results): (Vec<_>, _) = inputs.into_iter().map(job).unzip();
        state.jobs.extend(jobs);
        self.changed.notify_one();
        Ok(results)
    }

    fn serve(&self, run: &dyn Fn(&[I]) -> Result<Vec<O>>) {
        while let Some(jobs) = self.next() {
            let (started, forward) = (Instant::now(), Trace::forward(&jobs));
            let (mut inputs, mut ends) = (Vec::with_capacity(jobs.len()), Vec::with_capacity(jobs.len()));
            for job in jobs {
                inputs.push(job.input);
                ends.push(job.done);
            }
            let results = guarded_batch(run, &inputs);
            drop(forward);
            let mut state = self.lock();
            state.load.batches += 1;
            let power = inputs.len().max(1).next_power_of_two().trailing_zeros() as usize;
            if let Some(count) = state.load.sizes.get_mut(power.min(7)) {
                *count += 1;
            }
            state.load.inputs += inputs.len() as u64;
            state.load.busy += started.elapsed();
            drop(state);
            for (done, result) in ends.into_iter().zip(results) {
                // Nobody there to hear it: the caller has left, or has an error from another input already.
                _ = done.send(result);
            }
        }
    }

    /// The next batch, once there is one; None when the queue has closed.
    fn next(&self) -> Option<Vec<Job<I, O>>> {
        let mut state = self.lock();
        loop {
            let mut batch = Vec::new();
            while batch.len() < self.options.batch.max(1) {
                let Some(job) = state.jobs.pop_front() else { break };
                match job.caller.check() {
                    Ok(()) => batch.push(job),
                    Err(_) => state.load.dropped += 1,
                }
            }
            if !batch.is_empty() {
                state.load.taken += batch.len() as u64;
                batch.iter().for_each(|job| state.load.waited.note(job.came.elapsed()));
                return Some(batch);
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// One result for each input: of all together, else, where that fails, of each by itself.
fn guarded_batch<I, O>(run: &dyn Fn(&[I]) -> Result<Vec<O>>, inputs: &[I]) -> Vec<Result<O>> {
    match guarded(run, inputs) {
        Ok(outputs) => outputs.into_iter().map(Ok).collect(),
        Err(error) if inputs.len() == 1 => vec![Err(error)],
        Err(_) => {
            let alone = |input| guarded(run, std::slice::from_ref(input));
            let one = |input| alone(input)?.pop().ok_or_else(|| broken("it gave no result"));
            inputs.iter().map(one).collect()
        }
    }
}

/// Runs a model that may panic, and holds it to one output for each input.
fn guarded<I, O>(run: &dyn Fn(&[I]) -> Result<Vec<O>>, inputs: &[I]) -> Result<Vec<O>> {
    let outputs = catch_unwind(AssertUnwindSafe(|| run(inputs))).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
        Err(broken(&format!("it panicked: {said}")))
    })?;
    match outputs.len() == inputs.len() {
        true => Ok(outputs),
        false => Err(broken(&format!("{} results for {} inputs", outputs.len(), inputs.len()))),
    }
}

fn broken(what: &str) -> Error {
    Error::Compute { reason: format!("the model gave up: {what}") }
}

/// About how long the line needs to empty itself.
fn retry(load: &Load, waiting: usize) -> Duration {
    let each = load.busy.checked_div(load.inputs.try_into().unwrap_or(u32::MAX)).unwrap_or_default();
    let all = each.saturating_mul(waiting.try_into().unwrap_or(u32::MAX));
    all.clamp(Duration::from_millis(50), Duration::from_secs(5))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;

//! Waits until a source may have changed: folders tell by themselves, other places are looked at from time to time.

use super::report::Cancel;
use super::sources::{Source, looks_relevant};
use crate::error::{Error, Result};
use crossbeam_channel::{Receiver, RecvTimeoutError, unbounded};
use notify::event::{EventKind, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use std::time::{Duration, Instant};

/// How long it has to be quiet after a change, so that a copy of many files is one change.
const QUIET: Duration = Duration::from_millis(700);
/// The longest that a change waits for quiet.
const RESTLESS: Duration = Duration::from_secs(10);
/// How often it is looked whether to stop.
const GLANCE: Duration = Duration::from_millis(100);

/// An eye on sources.
pub struct Watch {
    changes: Receiver<()>,
    every: Duration,
    /// Dropped, it tells no more.
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Looks at `sources` from now on; those that cannot tell, and all others too, are due after `every`.
    ///
    /// # Errors
    /// [`Error::Io`] where the system can watch no more.
    pub fn new(sources: &[Box<dyn Source>], every: Duration) -> Result<Self> {
        let (tell, changes) = unbounded();
        let heard = move |event: notify::Result<Event>| {
            // An error may have swallowed a change, so it is taken for one.
            if event.as_ref().map_or(true, matters) {
                _ = tell.send(());
            }
        };
        let wrong = |path: &std::path::Path, e: notify::Error| {
            Error::io(path, std::io::Error::other(format!("it can't be watched: {e}")))
        };
        let here = std::path::Path::new(".");
        let mut watcher = notify::recommended_watcher(heard).map_err(|e| wrong(here, e))?;
        for path in sources.iter().filter_map(|source| source.watched()) {
            watcher.watch(path, RecursiveMode::Recursive).map_err(|e| wrong(path, e))?;
        }
        Ok(Watch { changes, every, _watcher: watcher })
    }

    /// Returns when something has changed and all is quiet again, when it is time to look anyway, or on request.
    pub fn wait(&self, cancel: &Cancel) {
        let due = Instant::now() + self.every;
        let mut quiet: Option<(Instant, Instant)> = None;
        while !cancel.is_set() {
            let now = Instant::now();
            match quiet {
                Some((since, last)) if now >= last + QUIET || now >= since + RESTLESS => return,
                None if now >= due => return,
                _ => {}
            }
            match self.changes.recv_timeout(GLANCE) {
                Ok(()) => {
                    let now = Instant::now();
                    quiet = Some((quiet.map_or(now, |(since, _)| since), now));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(GLANCE),
            }
        }
    }
}

/// Whether a run would find something new after this: looking at files changes nothing, nor does what is no image's.
fn matters(event: &Event) -> bool {
    match event.kind {
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_)) => false,
        _ => event.paths.is_empty() || event.paths.iter().any(|path| looks_relevant(path)),
    }
}

//! Pictures that lie elsewhere, fetched again: from a bucket, from behind a URL, from a tar in either.
//!
//! 1. [`Refetch`] says from where; elsewhere nothing is asked, and the error names the flag.
//! 2. What comes is what was indexed, as long and with the same hash, or it is refused.
//! 3. It is bounded: in time and tries (`patience`), in how many are fetched at once, in the memory that they take meanwhile.
//!    The latest are remembered.
//! 4. What a store says goes no further: it may hold addresses and keys, and whoever searches may be anybody.
//!
//! Not here: whether a key is one that may be fetched (`picture`).

use super::bucket::{self, Buckets};
use super::caller::Caller;
use super::decode::Limits;
use super::fetch::Reach;
use super::gate::{Gate, Held};
use super::patience::Patience;
use super::picture;
use super::recent::Recent;
use super::web::Web;
use crate::error::{Error, Result};
use crate::types::ContentHash;
use crate::types::uri::ObjectUri;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// How many pictures are fetched at once, for all callers.
const LANES: usize = 16;
/// How many bytes of the latest are remembered: a page of photographs that is looked at in several ways.
const REMEMBERED: u64 = 64 << 20;
/// How often a place is asked for one picture.
const TRIES: u32 = 3;

/// From where pictures that lie elsewhere may be fetched again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Refetch {
    /// Whether from buckets, with the credentials of this process.
    pub buckets: bool,
    /// How far `http(s)` URLs may lead; None for nowhere.
    pub urls: Option<Reach>,
    /// How long one picture may take to come, all tries together.
    pub time: Duration,
}

impl Default for Refetch {
    /// From nowhere.
    fn default() -> Self {
        Refetch { buckets: false, urls: None, time: Duration::from_secs(10) }
    }
}

impl Refetch {
    /// From everywhere: for whoever asks on their own machine, with their own credentials.
    pub fn anywhere() -> Self {
        Refetch { buckets: true, urls: Some(Reach::Anywhere), ..Refetch::default() }
    }
}

/// What fetches pictures again, for all collections.
pub(super) struct Afar {
    options: Refetch,
    buckets: Buckets,
    web: Option<Web>,
    room: Gate,
    recent: Mutex<Recent<ContentHash, Vec<u8>>>,
    /// Threads that wait for networks, so that none of those that compute does.
    lanes: OnceLock<Option<ThreadPool>>,
}

impl Afar {
    /// Nothing is asked yet.
    pub fn new(options: Refetch) -> Self {
        // One that stalls leaves time for another try.
        let silence = options.time / TRIES;
        let patience = Patience { tries: TRIES, silence, whole: Some(options.time) };
        Afar {
            options,
            buckets: Buckets::new(patience),
            web: options.urls.map(|reach| Web::within(patience, reach)),
            room: Gate::new(Self::room()),
            recent: Mutex::new(Recent::new(REMEMBERED)),
            lanes: OnceLock::new(),
        }
    }

    /// How many bytes may be held at once: as many as the longest picture may have.
    pub fn room() -> u64 {
        Limits::default().bytes
    }

    /// Waits until there is room for so many bytes; who asks for more than [`Afar::room`] gets all of it.
    pub fn hold(&self, bytes: u64, caller: &Caller) -> Result<Held<'_>> {
        self.room.hold_for(bytes, caller)
    }

    /// What `work` makes of each, in order, a few at a time. Not to be asked by a thread that computes for others.
    pub fn each<T: Send, U: Send>(&self, all: Vec<T>, work: impl Fn(T) -> U + Sync) -> Vec<U> {
        let threads = || ThreadPoolBuilder::new().num_threads(LANES).thread_name(|n| format!("refetch-{n}"));
        match self.lanes.get_or_init(|| threads().build().ok()) {
            Some(pool) => pool.install(|| all.into_par_iter().map(&work).collect()),
            None => all.into_iter().map(work).collect(),
        }
    }

    /// The `size` bytes with that hash that lie at `place`: a bucket's object or a URL, or, from `at` on, a tar's member there.
    ///
    /// # Errors
    /// [`Error::Forbidden`] where nothing is to be fetched from there; [`Error::Gone`] where they are no longer there, or not the
    /// same; [`Error::GaveUp`] where the place does not give them.
    pub fn get(&self, place: &str, at: Option<u64>, hash: &ContentHash, size: u64) -> Result<Vec<u8>> {
        if let Some(bytes) = self.recent.lock().unwrap_or_else(PoisonError::into_inner).get(hash) {
            return Ok(bytes);
        }
        let bytes = match place.parse::<ObjectUri>() {
            Ok(object) => self.of_bucket(place, &object, at, size)?,
            Err(_) => self.of_web(place, at, size)?,
        };
        let bytes = picture::same(bytes, hash, size)?;
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if size <= REMEMBERED {
            recent.put(*hash, bytes.clone(), size);
        }
        Ok(bytes)
    }

    fn of_bucket(&self, place: &str, object: &ObjectUri, at: Option<u64>, size: u64) -> Result<Vec<u8>> {
        if !self.options.buckets {
            let what = "pictures are not fetched again from buckets here".to_owned();
            return Err(Error::Forbidden {
                what,
                fix: "have the operator start the server with --refetch".into(),
            });
        }
        let read = self.buckets.of(object).and_then(|bucket| bucket.piece(&object.key, at, size));
        read.map_err(|error| {
            // For the operator, who traces the server.
            tracing::warn!(%place, %error, "a picture cannot be fetched again");
            bucket::lost(place, &error)
        })
    }

    fn of_web(&self, place: &str, at: Option<u64>, size: u64) -> Result<Vec<u8>> {
        let Some(web) = &self.web else {
            let what = "this server does not fetch URLs".to_owned();
            return Err(Error::Forbidden {
                what,
                fix: "have the operator start it with --allow-urls".into(),
            });
        };
        web.piece(place, at, size)
    }
}

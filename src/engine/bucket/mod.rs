//! Buckets of object stores: `s3://`, `gs://` and `az://`. What lies below a prefix, and an object's bytes.
//!
//! 1. `settings` read credentials and endpoints from the environment, under the names that each store's own tools read.
//! 2. this file  lists and reads. A request that fails in passing, stalls, or meets a store that asks to slow down is tried again
//!    ([`Patience`]); credentials that are no longer good end everything at once ([`Error::Forbidden`]).
//! 3. `google`   signs in to Google, and `heed` has all wait where a store says how long.
//!
//! The library that speaks the protocols is named here alone; it is asynchronous, and the rest of the engine is not, so its
//! tasks have two threads of their own. Its own interface tidies names (`a//b`, spaces at the ends) and would then ask for
//! another object, so names are handed to the layer below, as the store spells them.

mod google;
mod heed;
mod settings;

use super::patience::{Failed, Patience, Pause};
use crate::error::{Error, Result};
use crate::types::uri::{self, ObjectUri, Scheme};
use opendal::layers::{RetryLayer, TimeoutLayer};
use opendal::options::ListOptions;
use opendal::raw::{OpRead, OpStat, oio};
use opendal::{BytesRange, ErrorKind, OperationContext, Operator};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// What stores say of credentials that no request will fare better with. A signature that does not match is not among them: it may
/// be one odd name's.
const SPENT: [&str; 10] = [
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "TokenRefreshRequired",
    "RequestTimeTooSkewed",
    "AuthenticationFailed",
    "InvalidAuthenticationInfo",
    "UNAUTHENTICATED",
    "authError",
    "invalid_grant",
];

/// The longest piece of an object that is given room before it comes.
const PIECE: u64 = 32 << 20;

/// How the errors that [`lost`] tells apart say what is wrong.
const GONE: &str = "it is not there";
const SHORTER: &str = "it is shorter than what is asked of it";
const REFUSED: &str = "the store refuses access";

/// The buckets that one run asks, each opened once.
#[derive(Default)]
pub struct Buckets {
    open: Mutex<HashMap<String, Arc<Bucket>>>,
    patience: Patience,
}

/// A bucket that can be asked.
pub struct Bucket {
    scheme: Scheme,
    name: String,
    /// Asks again by itself, a page at a time.
    listing: Operator,
    /// Asks once.
    reading: Operator,
    pause: Arc<Pause>,
    patience: Patience,
}

/// One object of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its name in the bucket, as the store spells it.
    pub key: String,
    /// How many bytes it said it has.
    pub size: u64,
    /// Changes when its content does: the ETag, else time and size.
    pub version: String,
}

impl Buckets {
    /// None is open yet.
    pub fn new(patience: Patience) -> Self {
        Buckets { open: Mutex::default(), patience }
    }

    /// The bucket that `uri` names.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the environment lacks what the store needs.
    pub fn of(&self, uri: &ObjectUri) -> Result<Arc<Bucket>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let place = uri.bucket_uri();
        if let Some(bucket) = open.get(&place) {
            return Ok(bucket.clone());
        }
        let bucket = Arc::new(Bucket::open(uri.scheme, &uri.bucket, self.patience)?);
        open.insert(place, bucket.clone());
        Ok(bucket)
    }
}

impl Bucket {
    fn open(scheme: Scheme, name: &str, patience: Patience) -> Result<Bucket> {
        transport();
        let pause = Arc::new(Pause::default());
        let context = OperationContext::default().with_http_transport(heed::transport(pause.clone()));
        let limit = TimeoutLayer::new().with_timeout(patience.silence).with_io_timeout(patience.silence);
        let again = RetryLayer::new()
            .with_max_times(patience.tries.saturating_sub(1) as usize)
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(10))
            .with_jitter()
            .with_notify(|_: opendal::layers::RetryEvent| {});
        let reading = settings::operator(scheme, name)?.with_context(context).layer(limit);
        // A store that stalls is given up within one try, so the limit on time stands inside the retries.
        let listing = reading.clone().layer(again);
        Ok(Bucket { scheme, name: name.to_owned(), listing, reading, pause, patience })
    }

    /// The objects whose names begin with `prefix`, in the store's order, a page at a time. The first error ends it.
    pub fn list(self: &Arc<Self>, prefix: &str) -> impl Iterator<Item = Result<Object>> + Send + use<> {
        let (bucket, prefix) = (self.clone(), prefix.to_owned());
        let (mut pages, mut over) = (None, false);
        std::iter::from_fn(move || {
            if over {
                return None;
            }
            std::thread::sleep(bucket.pause.left());
            let wrong = |e: opendal::Error| bucket.failed(&prefix, &e);
            let next = runtime().and_then(|runtime| {
                runtime.block_on(async {
                    let lister: &mut oio::Lister = match &mut pages {
                        Some(lister) => lister,
                        None => pages.insert(bucket.pages(&prefix).map_err(wrong)?),
                    };
                    lister.next_dyn().await.map_err(wrong)
                })
            });
            over = !matches!(next, Ok(Some(_)));
            next.transpose().map(|entry| entry.map(object))
        })
    }

    /// A listing below `prefix`, as the store spells that too.
    fn pages(&self, prefix: &str) -> opendal::Result<oio::Lister> {
        // The library's word for the whole bucket.
        let prefix = if prefix.is_empty() { "/" } else { prefix };
        let options = ListOptions { recursive: true, ..ListOptions::default() };
        self.listing.service().list_dyn(self.listing.context(), prefix, options.into())
    }

    /// What changes when the object does.
    pub fn version(&self, key: &str) -> Result<String> {
        Ok(version(&self.facts(key)?))
    }

    /// The bytes of an object, which has at most `limit`.
    ///
    /// # Errors
    /// [`Error::Image`] where it is longer; [`Error::Fetch`] where it is gone or hidden; [`Error::GaveUp`] where the store
    /// keeps failing; [`Error::Forbidden`] where it takes our credentials no longer.
    pub fn read(&self, key: &str, limit: u64) -> Result<Vec<u8>> {
        self.piece(key, None, limit)
    }

    /// So `long` a piece of an object, from `at` on; all of it, which has at most `long`, where `at` is None.
    ///
    /// # Errors
    /// As [`Bucket::read`].
    pub fn piece(&self, key: &str, at: Option<u64>, long: u64) -> Result<Vec<u8>> {
        let range = at.map_or(BytesRange::new(0, None), |at| BytesRange::new(at, Some(long)));
        Ok(self.range(key, range, long)?.0)
    }

    /// Hands an object of any length to `take`, `piece` bytes at a time.
    ///
    /// # Errors
    /// As [`Bucket::read`], and what `take` says.
    pub fn copy(&self, key: &str, piece: u64, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let facts = self.facts(key)?;
        let size = facts.content_length();
        let mut at = 0;
        while at < size {
            let long = piece.min(size - at);
            let (bytes, tag) = self.range(key, BytesRange::new(at, Some(long)), long)?;
            // One answer has the tag in quotes where another has not.
            let same = |tag: &str| facts.etag().map(plain) == Some(plain(tag));
            if bytes.len() as u64 != long || tag.is_some_and(|tag| !same(&tag)) {
                let place = uri::object(self.scheme, &self.name, key);
                return Err(Error::Fetch { url: place, reason: "it changed meanwhile: run it again".into() });
            }
            take(&bytes)?;
            at += long;
        }
        Ok(())
    }

    /// A piece of an object, and the ETag of what it is a piece of.
    fn range(&self, key: &str, range: BytesRange, limit: u64) -> Result<(Vec<u8>, Option<String>)> {
        let (place, runtime) = (uri::object(self.scheme, &self.name, key), runtime()?);
        self.patience
            .keep(&place, &self.pause, |left| runtime.block_on(within(left, self.once(key, range, limit))))
    }

    async fn once(
        &self,
        key: &str,
        range: BytesRange,
        limit: u64,
    ) -> Result<(Vec<u8>, Option<String>), Failed> {
        let wrong = |e: opendal::Error| self.verdict(key, &e);
        let (service, context) = (self.reading.service(), self.reading.context());
        let reader = service.read_dyn(context, key, OpRead::new()).map_err(wrong)?;
        let (found, mut stream) = reader.open_dyn(range).await.map_err(wrong)?;
        let tag = found.metadata().and_then(|facts| facts.etag().map(str::to_owned));
        // As long as the store says, as far as it may be believed.
        let length = found.metadata().map_or(0, |facts| facts.content_length()).min(limit).min(PIECE);
        let mut bytes = Vec::with_capacity(length as usize);
        loop {
            let piece = stream.read_dyn().await.map_err(wrong)?;
            if piece.is_empty() {
                return Ok((bytes, tag));
            }
            if bytes.len() as u64 + piece.len() as u64 > limit {
                let reason = format!("too large: more than {limit} bytes, which is the limit");
                return Err(Failed::ForGood(Error::image(reason)));
            }
            piece.for_each(|part| bytes.extend_from_slice(&part));
        }
    }

    fn facts(&self, key: &str) -> Result<opendal::Metadata> {
        let (place, runtime) = (uri::object(self.scheme, &self.name, key), runtime()?);
        self.patience.keep(&place, &self.pause, |left| {
            let found = self.reading.service().stat_dyn(self.reading.context(), key, OpStat::new());
            let found = async { found.await.map_err(|e| self.verdict(key, &e)) };
            runtime.block_on(within(left, found)).map(|found| found.into_metadata())
        })
    }

    /// Whether another try may help.
    fn verdict(&self, key: &str, error: &opendal::Error) -> Failed {
        match self.failed(key, error) {
            Error::Fetch { reason, .. } if error.is_temporary() => Failed::InPassing(reason),
            error => Failed::ForGood(error),
        }
    }

    fn failed(&self, key: &str, error: &opendal::Error) -> Error {
        let (hint, said) = (settings::hint(self.scheme), said(error));
        // Of a request that was never signed, what the library was told meanwhile; else the store's own words, without any address, which
        // has the object's name in it.
        let told = if error.message().starts_with("signing") { said.as_str() } else { error.message() };
        if let Some(code) = SPENT.into_iter().find(|code| told.contains(code)) {
            let what = format!(
                "{}://{}: the store takes our credentials no longer ({code})",
                self.scheme, self.name
            );
            return Error::Forbidden { what, fix: format!("renew them and run it again; {hint}") };
        }
        if said.contains("signing credential") {
            let what = format!("{}://{}: no credentials were found", self.scheme, self.name);
            return Error::Forbidden { what, fix: hint.to_owned() };
        }
        let reason = match error.kind() {
            ErrorKind::NotFound => GONE.to_owned(),
            ErrorKind::RangeNotSatisfied => SHORTER.to_owned(),
            ErrorKind::PermissionDenied => match code(error.message()) {
                Some(code) => format!("{REFUSED} ({code}): {hint}"),
                None => format!("{REFUSED}: {hint}"),
            },
            ErrorKind::ConfigInvalid if error.message().contains("NoSuchBucket") => {
                "the bucket is not there".to_owned()
            }
            ErrorKind::ConfigInvalid => format!("{}: {hint}", error.message()),
            ErrorKind::RateLimited => "the store asks to slow down: run it again later".to_owned(),
            _ if said.contains("(Connect)") => {
                format!("no connection to the store ({said}): check {}", settings::address(self.scheme))
            }
            _ => said,
        };
        Error::Fetch { url: uri::object(self.scheme, &self.name, key), reason }
    }
}

/// All that an error says, down to what caused it.
fn said(error: &opendal::Error) -> String {
    let mut said = error.message().to_owned();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}

/// The store's word for what it refuses, as the library prints it.
fn code(message: &str) -> Option<&str> {
    let code = message.split_once("code: \"")?.1.split('"').next()?;
    (!code.is_empty() && code.chars().all(|c| c.is_ascii_alphanumeric())).then_some(code)
}

/// What `asked` gives, if it comes in time.
async fn within<T>(
    left: Option<Duration>,
    asked: impl Future<Output = Result<T, Failed>>,
) -> Result<T, Failed> {
    let Some(left) = left else { return asked.await };
    let late = |_| Err(Failed::InPassing("nothing came in time".into()));
    tokio::time::timeout(left, asked).await.unwrap_or_else(late)
}

/// Why an object that was there once cannot be had again, in words that anybody may hear: ours alone, since the store's may hold
/// addresses and keys.
pub(super) fn lost(place: &str, error: &Error) -> Error {
    let gave_up = |reason: &str, tries| Error::GaveUp { url: place.to_owned(), reason: reason.into(), tries };
    match error {
        Error::Fetch { reason, .. } if reason == GONE => {
            Error::gone("it is gone from its bucket since it was indexed")
        }
        Error::Fetch { reason, .. } if reason == SHORTER => {
            Error::gone("what it lies in has changed since it was indexed")
        }
        Error::Image { .. } => Error::gone("it has changed since it was indexed"),
        Error::Fetch { reason, .. } if reason.starts_with(REFUSED) => gave_up(reason, 1),
        Error::Forbidden { what, fix } => gave_up(&format!("{what}: {fix}"), 1),
        Error::GaveUp { tries, .. } => gave_up("its store does not answer as it should", *tries),
        _ => gave_up("its store cannot be asked", 1),
    }
}

fn object(entry: oio::Entry) -> Object {
    let (key, facts) = entry.into_parts();
    Object { key, size: facts.content_length(), version: version(&facts) }
}

fn version(facts: &opendal::Metadata) -> String {
    let size = facts.content_length();
    let changed = || facts.last_modified().map(|at| format!("{at}-{size}"));
    let version = facts.etag().map(|etag| plain(etag).to_owned()).or_else(changed);
    version.unwrap_or_else(|| size.to_string())
}

fn plain(etag: &str) -> &str {
    etag.trim_matches('"')
}

/// The client's encryption is told once for the process: the same that the rest of this program uses.
fn transport() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        // Another part of the program may have set it first, to the same.
        _ = rustls::crypto::ring::default_provider().install_default();
    });
}

fn runtime() -> Result<&'static Runtime> {
    static RUNTIME: OnceLock<Option<Runtime>> = OnceLock::new();
    let made = RUNTIME.get_or_init(|| {
        Builder::new_multi_thread().worker_threads(2).thread_name("bucket").enable_all().build().ok()
    });
    made.as_ref().ok_or_else(|| Error::Compute { reason: "no threads for the network".into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_s_word_is_told_and_nothing_else_of_it() {
        let refused = r#"S3Error { code: "SignatureDoesNotMatch", message: "The key AKIA" }"#;
        assert_eq!(code(refused), Some("SignatureDoesNotMatch"));
        for other in ["", "403", r#"code: """#, r#"code: "<a href=x>""#, r#"code: ""#] {
            assert_eq!(code(other), None, "{other}");
        }
    }
}

//! Buckets of object stores: `s3://`, `gs://` and `az://`. What lies below a prefix, and an object's bytes.
//!
//! Requests that fail in passing, stall, or meet a store that asks to slow down are tried again, later each time. Credentials
//! and endpoints come from the environment that each store's own tools read. The library that speaks the protocols is named
//! here alone; it is asynchronous, and the rest of the engine is not, so its tasks have two threads of their own.

use crate::error::{Error, Result};
use crate::types::uri::{self, ObjectUri, Scheme};
use opendal::layers::{RetryLayer, TimeoutLayer};
use opendal::services::{Azblob, Gcs, S3};
use opendal::{ErrorKind, Operator};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio_stream::StreamExt;

/// How often a request is tried before it counts as failed: about half a minute of patience in all.
const TRIES: usize = 6;
/// How long a store may say nothing.
const SILENCE: Duration = Duration::from_secs(20);

/// A bucket that can be asked.
pub struct Bucket {
    scheme: Scheme,
    name: String,
    store: Operator,
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

impl Bucket {
    /// The bucket that `uri` names; opened once, then shared.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the environment lacks what the store needs.
    pub fn of(uri: &ObjectUri) -> Result<Arc<Bucket>> {
        static OPEN: Mutex<Option<HashMap<String, Arc<Bucket>>>> = Mutex::new(None);
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let open = open.get_or_insert_default();
        let place = uri.bucket_uri();
        if let Some(bucket) = open.get(&place) {
            return Ok(bucket.clone());
        }
        let bucket = Arc::new(Bucket::open(uri.scheme, &uri.bucket)?);
        open.insert(place, bucket.clone());
        Ok(bucket)
    }

    fn open(scheme: Scheme, name: &str) -> Result<Bucket> {
        transport();
        let store = match scheme {
            Scheme::S3 => Operator::new(s3(name)),
            Scheme::Gs => Operator::new(gcs(name)),
            Scheme::Az => Operator::new(azure(name)?),
        };
        let wrong = |e: opendal::Error| Error::invalid(format!("{scheme}://{name}: {e}"), hint(scheme));
        let retry = RetryLayer::new()
            .with_max_times(TRIES)
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(10))
            .with_jitter();
        // A store that stalls is given up within one try, so the limit on time stands inside the retries.
        let patience = TimeoutLayer::new().with_timeout(SILENCE).with_io_timeout(SILENCE);
        let store = store.map_err(wrong)?.layer(patience).layer(retry);
        Ok(Bucket { scheme, name: name.to_owned(), store })
    }

    /// The objects whose names begin with `prefix`, in the store's order, a page at a time. The first error ends it.
    pub fn list(&self, prefix: &str) -> impl Iterator<Item = Result<Object>> + Send + use<> {
        let (store, prefix) = (self.store.clone(), prefix.to_owned());
        let place = uri::object(self.scheme, &self.name, &prefix);
        let (scheme, mut pages, mut over) = (self.scheme, None, false);
        std::iter::from_fn(move || {
            let next = runtime().and_then(|runtime| {
                runtime.block_on(async {
                    if over {
                        return Ok(None);
                    }
                    let lister = match &mut pages {
                        Some(lister) => lister,
                        None => pages.insert(store.lister_with(&prefix).recursive(true).await.map_err(|e| failed(&place, scheme, &e))?),
                    };
                    lister.next().await.transpose().map_err(|e| failed(&place, scheme, &e))
                })
            });
            over |= !matches!(next, Ok(Some(_)));
            next.transpose().map(|entry| entry.map(object))
        })
    }

    /// What changes when the object does.
    pub fn version(&self, key: &str) -> Result<String> {
        let found = runtime()?.block_on(self.store.stat(key));
        let found = found.map_err(|e| failed(&uri::object(self.scheme, &self.name, key), self.scheme, &e))?;
        Ok(version(&found))
    }

    /// Hands an object of any length to `take`, `piece` bytes at a time.
    ///
    /// # Errors
    /// As [`Bucket::read`], and what `take` says.
    pub fn copy(&self, key: &str, piece: u64, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let place = || uri::object(self.scheme, &self.name, key);
        let wrong = |e: opendal::Error| failed(&place(), self.scheme, &e);
        let runtime = runtime()?;
        let size = runtime.block_on(self.store.stat(key)).map_err(wrong)?.content_length();
        let mut at = 0;
        while at < size {
            let end = size.min(at + piece);
            let bytes = runtime.block_on(async { self.store.read_with(key).range(at..end).await }).map_err(wrong)?;
            take(&bytes.to_vec())?;
            at = end;
        }
        Ok(())
    }

    /// The bytes of an object, which has at most `limit`.
    ///
    /// # Errors
    /// [`Error::Image`] where it is longer, or has a name that the protocol's library cannot carry; [`Error::Fetch`] where
    /// it is gone, hidden, or the store keeps failing.
    pub fn read(&self, key: &str, limit: u64) -> Result<Vec<u8>> {
        if key.contains("//") || key.starts_with('/') {
            // The library folds slashes together, and would read another object.
            return Err(Error::image("a name with an empty part (`//`) can't be fetched: rename the object"));
        }
        let place = || uri::object(self.scheme, &self.name, key);
        let bytes = runtime()?.block_on(async {
            let reader = self.store.read_with(key).range(0..limit.saturating_add(1));
            reader.await.map_err(|e| failed(&place(), self.scheme, &e))
        })?;
        if bytes.len() as u64 > limit {
            return Err(Error::image(format!("too large: more than {limit} bytes, which is the limit")));
        }
        Ok(bytes.to_vec())
    }
}

fn object(entry: opendal::Entry) -> Object {
    let (key, facts) = entry.into_parts();
    Object { key, size: facts.content_length(), version: version(&facts) }
}

fn version(facts: &opendal::Metadata) -> String {
    let size = facts.content_length();
    let changed = || facts.last_modified().map(|at| format!("{at}-{size}"));
    let version = facts.etag().map(|etag| etag.trim_matches('"').to_owned()).or_else(changed);
    version.unwrap_or_else(|| size.to_string())
}

fn s3(bucket: &str) -> S3 {
    // Region, keys, profiles, roles and AWS_ENDPOINT_URL are read from the environment by the library; what it lacks follows.
    let mut builder = S3::default().bucket(bucket);
    if let Some(endpoint) = env(&["AWS_ENDPOINT_URL_S3"]) {
        builder = builder.endpoint(&endpoint);
    }
    if env(&["AWS_REGION", "AWS_DEFAULT_REGION"]).is_none() {
        builder = builder.region("us-east-1");
    }
    if env(&["AWS_NO_SIGN_REQUEST"]).is_some_and(|v| v != "0" && v != "false") {
        builder = builder.skip_signature();
    }
    builder
}

fn gcs(bucket: &str) -> Gcs {
    let builder = Gcs::default().bucket(bucket);
    match env(&["STORAGE_EMULATOR_HOST"]) {
        Some(endpoint) => builder.endpoint(&endpoint).skip_signature(),
        None => builder,
    }
}

fn azure(container: &str) -> Result<Azblob> {
    if let Some(connection) = env(&["AZURE_STORAGE_CONNECTION_STRING"]) {
        let wrong = |e: opendal::Error| Error::invalid("AZURE_STORAGE_CONNECTION_STRING", e.to_string());
        return Ok(Azblob::from_connection_string(&connection).map_err(wrong)?.container(container));
    }
    let mut builder = Azblob::default().container(container);
    let account = env(&["AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME"]);
    let endpoint = env(&["AZURE_STORAGE_ENDPOINT"]);
    match (endpoint, &account) {
        (Some(endpoint), _) => builder = builder.endpoint(&endpoint),
        (None, Some(account)) => builder = builder.endpoint(&format!("https://{account}.blob.core.windows.net")),
        (None, None) => return Err(Error::invalid(format!("az://{container}: no storage account"), hint(Scheme::Az))),
    }
    if let Some(account) = account {
        builder = builder.account_name(&account);
    }
    if let Some(key) = env(&["AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY"]) {
        builder = builder.account_key(&key);
    }
    if let Some(token) = env(&["AZURE_STORAGE_SAS_TOKEN"]) {
        builder = builder.sas_token(&token);
    }
    Ok(builder)
}

fn env(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

/// What to set for a store to be reached.
fn hint(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::S3 => {
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or a profile, or AWS_NO_SIGN_REQUEST=1 for a public bucket), \
             AWS_REGION, and AWS_ENDPOINT_URL for a store that is not Amazon's"
        }
        Scheme::Gs => "set GOOGLE_APPLICATION_CREDENTIALS to a service account's file",
        Scheme::Az => {
            "set AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN, or AZURE_STORAGE_CONNECTION_STRING"
        }
    }
}

fn failed(place: &str, scheme: Scheme, error: &opendal::Error) -> Error {
    let reason = match error.kind() {
        ErrorKind::NotFound => "it is not there".to_owned(),
        ErrorKind::PermissionDenied => format!("the store refuses access: {}", hint(scheme)),
        ErrorKind::ConfigInvalid => format!("{}: {}", error.message(), hint(scheme)),
        ErrorKind::RateLimited => format!("the store asks to slow down, {TRIES} times in a row: run it again later"),
        _ => match std::error::Error::source(error) {
            Some(source) => format!("{}: {source}", error.message()),
            None => error.message().to_owned(),
        },
    };
    Error::Fetch { url: place.to_owned(), reason }
}

/// The client's encryption is told once for the process: the same that the rest of this program uses.
fn transport() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        // Another part of the program may have set it first, to the same.
        _ = rustls::crypto::ring::default_provider().install_default();
        opendal::install_default();
    });
}

fn runtime() -> Result<&'static Runtime> {
    static RUNTIME: OnceLock<Option<Runtime>> = OnceLock::new();
    let made = RUNTIME.get_or_init(|| {
        Builder::new_multi_thread().worker_threads(2).thread_name("bucket").enable_all().build().ok()
    });
    made.as_ref().ok_or_else(|| Error::Compute { reason: "no threads for the network".into() })
}

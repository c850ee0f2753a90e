//! Many pictures of the web: connections are kept, and a host that fails in passing or asks to wait is asked again.

use super::decode::Limits;
use super::fetch::{self, Reach};
use super::patience::{Failed, Patience, Pause};
use crate::error::{Error, Result};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use ureq::http::{Response, Uri};
use ureq::{Agent, Body};

/// What asks the web for one run.
pub struct Web {
    agent: Agent,
    patience: Patience,
    /// By host: until when it wants to be left alone.
    pauses: Mutex<HashMap<String, Arc<Pause>>>,
}

impl Web {
    /// No connection is open yet. Every host may be asked.
    pub fn new(patience: Patience) -> Self {
        Web::within(patience, Reach::Anywhere)
    }

    /// The same as far as `reach` goes.
    pub fn within(patience: Patience, reach: Reach) -> Self {
        let silence = Some(patience.silence);
        let config = Agent::config_builder()
            .timeout_connect(silence)
            .timeout_recv_response(silence)
            .timeout_per_read(silence)
            .max_redirects(5)
            .http_status_as_error(false)
            .user_agent(fetch::AGENT);
        Web { agent: fetch::reaching(config, reach), patience, pauses: Mutex::default() }
    }

    /// What `address` names, up to [`Limits::bytes`].
    ///
    /// # Errors
    /// [`Error::Image`] where it is longer, [`Error::Fetch`] where the other side refuses it, [`Error::GaveUp`] where it keeps
    /// failing.
    pub fn get(&self, address: &str) -> Result<Vec<u8>> {
        self.ask(address, None, |came| whole(came.checked()?, Limits::default().bytes))
    }

    /// So `long` a piece of what `address` names, from `at` on; all of it, which has at most `long`, where `at` is None.
    ///
    /// # Errors
    /// [`Error::Gone`] where it was there once; else as [`Web::get`].
    pub fn piece(&self, address: &str, at: Option<u64>, long: u64) -> Result<Vec<u8>> {
        let range = at.map(|at| format!("bytes={at}-{}", at.saturating_add(long).saturating_sub(1)));
        let gone = |what: &str| Failed::ForGood(Error::gone(format!("{what} since it was indexed")));
        let bytes = self.ask(address, range.as_deref(), |came| match came.response.status().as_u16() {
            404 | 410 => Err(gone("it is gone")),
            416 => Err(gone("what it lies in has changed")),
            200 if range.is_some() => {
                let reason = "the other side gives no pieces of a file".to_owned();
                Err(Failed::ForGood(Error::Fetch { url: address.to_owned(), reason }))
            }
            _ => whole(came.checked()?, long),
        });
        // It is longer than it was.
        bytes.map_err(|error| match error {
            Error::Image { .. } => Error::gone("it has changed since it was indexed"),
            error => error,
        })
    }

    /// Writes what `address` names, however long it is, to what `begin` opens for each try.
    ///
    /// # Errors
    /// As [`Web::get`], and what `begin` says.
    pub fn download<F: Write>(&self, address: &str, begin: impl Fn() -> Result<F>) -> Result<F> {
        self.ask(address, None, |came| {
            let response = came.checked()?;
            let mut file = begin().map_err(Failed::ForGood)?;
            std::io::copy(&mut body(response), &mut file).map_err(|e| Failed::InPassing(e.to_string()))?;
            Ok(file)
        })
    }

    fn ask<T>(
        &self,
        address: &str,
        range: Option<&str>,
        mut take: impl FnMut(Came) -> Result<T, Failed>,
    ) -> Result<T> {
        let pause = self.pause(address);
        self.patience.keep(address, &pause, |left| {
            let mut request = self.agent.get(address).config().timeout_global(left).build();
            if let Some(range) = range {
                request = request.header("range", range);
            }
            let response = request.call().map_err(|e| failed(address, &e))?;
            take(Came { address, response, pause: &pause })
        })
    }

    fn pause(&self, address: &str) -> Arc<Pause> {
        let host =
            address.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner).entry(host).or_default().clone()
    }
}

fn body(response: Response<Body>) -> impl Read {
    response.into_body().into_with_config().limit(u64::MAX).reader()
}

/// All bytes that come, at most `limit`.
fn whole(response: Response<Body>, limit: u64) -> Result<Vec<u8>, Failed> {
    let mut bytes = Vec::new();
    let read = body(response).take(limit.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|e| Failed::InPassing(e.to_string()))?;
    if bytes.len() as u64 > limit {
        let reason = format!("too large: more than {limit} bytes, which is the limit");
        return Err(Failed::ForGood(Error::image(reason)));
    }
    Ok(bytes)
}

/// What the other side said.
struct Came<'a> {
    address: &'a str,
    response: Response<Body>,
    pause: &'a Pause,
}

impl Came<'_> {
    /// Passes what brings a picture.
    fn checked(self) -> Result<Response<Body>, Failed> {
        let status = self.response.status();
        if status.is_success() {
            return Ok(self.response);
        }
        let headers = self.response.headers();
        if let Some(after) = headers.get("retry-after").and_then(|value| value.to_str().ok()) {
            self.pause.heed(after);
        }
        let reason = format!("the other side said {status}");
        match status.as_u16() {
            408 | 425 | 429 | 500.. => Err(Failed::InPassing(reason)),
            _ => Err(Failed::ForGood(Error::Fetch { url: self.address.to_owned(), reason })),
        }
    }
}

fn failed(address: &str, error: &ureq::Error) -> Failed {
    match error {
        ureq::Error::BadUri(_)
        | ureq::Error::TooManyRedirects
        | ureq::Error::Http(_)
        // What our own resolver refuses.
        | ureq::Error::Other(_) => {
            Failed::ForGood(Error::Fetch { url: address.to_owned(), reason: error.to_string() })
        }
        _ => Failed::InPassing(error.to_string()),
    }
}

//! Many pictures of the web: connections are kept, and a host that fails in passing or asks to wait is asked again.

use super::decode::Limits;
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
    /// No connection is open yet.
    pub fn new(patience: Patience) -> Self {
        let silence = Some(patience.silence);
        let config = Agent::config_builder()
            .timeout_connect(silence)
            .timeout_recv_response(silence)
            .timeout_per_read(silence)
            .max_redirects(5)
            .http_status_as_error(false)
            .user_agent(super::fetch::AGENT);
        Web { agent: config.build().new_agent(), patience, pauses: Mutex::default() }
    }

    /// What `address` names, up to [`Limits::bytes`].
    ///
    /// # Errors
    /// [`Error::Image`] where it is longer, [`Error::Fetch`] where the other side refuses it, [`Error::GaveUp`] where it keeps
    /// failing.
    pub fn get(&self, address: &str) -> Result<Vec<u8>> {
        let limit = Limits::default().bytes;
        self.ask(address, |body| {
            let mut bytes = Vec::new();
            body.take(limit + 1).read_to_end(&mut bytes).map_err(|e| Failed::InPassing(e.to_string()))?;
            if bytes.len() as u64 > limit {
                let reason = format!("too large: more than {limit} bytes, which is the limit");
                return Err(Failed::ForGood(Error::image(reason)));
            }
            Ok(bytes)
        })
    }

    /// Writes what `address` names, however long it is, to what `begin` opens for each try.
    ///
    /// # Errors
    /// As [`Web::get`], and what `begin` says.
    pub fn download<F: Write>(&self, address: &str, begin: impl Fn() -> Result<F>) -> Result<F> {
        self.ask(address, |mut body| {
            let mut file = begin().map_err(Failed::ForGood)?;
            std::io::copy(&mut body, &mut file).map_err(|e| Failed::InPassing(e.to_string()))?;
            Ok(file)
        })
    }

    fn ask<T>(&self, address: &str, mut take: impl FnMut(Box<dyn Read>) -> Result<T, Failed>) -> Result<T> {
        let pause = self.pause(address);
        self.patience.keep(address, &pause, || {
            let response = self.agent.get(address).call().map_err(|e| failed(address, &e))?;
            check(address, &response, &pause)?;
            take(Box::new(response.into_body().into_with_config().limit(u64::MAX).reader()))
        })
    }

    fn pause(&self, address: &str) -> Arc<Pause> {
        let host =
            address.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner).entry(host).or_default().clone()
    }
}

/// Passes what brings a picture.
fn check(address: &str, response: &Response<Body>, pause: &Pause) -> Result<(), Failed> {
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    if let Some(after) = response.headers().get("retry-after").and_then(|value| value.to_str().ok()) {
        pause.heed(after);
    }
    let reason = format!("the other side said {status}");
    match status.as_u16() {
        408 | 425 | 429 | 500.. => Err(Failed::InPassing(reason)),
        _ => Err(Failed::ForGood(Error::Fetch { url: address.to_owned(), reason })),
    }
}

fn failed(address: &str, error: &ureq::Error) -> Failed {
    match error {
        ureq::Error::BadUri(_) | ureq::Error::TooManyRedirects | ureq::Error::Http(_) => {
            Failed::ForGood(Error::Fetch { url: address.to_owned(), reason: error.to_string() })
        }
        _ => Failed::InPassing(error.to_string()),
    }
}

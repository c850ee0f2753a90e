//! The bytes of a picture behind an `http(s)` URL, bounded in length and time.

use super::decode::Limits;
use crate::error::{Error, Result};
use std::time::Duration;

/// How long a picture may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether `text` is a URL that [`url`] can fetch.
pub fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// Fetches what `address` names, up to [`Limits::bytes`]. Redirects are followed, to any host: whoever lets others name the
/// address must not call this.
pub fn url(address: &str) -> Result<Vec<u8>> {
    let failed = |reason: String| Error::Fetch { url: address.to_owned(), reason };
    let agent = ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .user_agent(concat!("eyeshot/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent();
    let mut response = agent.get(address).call().map_err(|e| failed(e.to_string()))?;
    let body = response.body_mut().with_config().limit(Limits::default().bytes);
    body.read_to_vec().map_err(|e| failed(e.to_string()))
}

//! The three questions that the hub is asked: what a repository holds, what a file is, and its bytes.

use super::{HubOptions, RepoId};
use crate::{Error, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::time::Duration;
use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::{Agent, Body};

/// What may stand in one part of a path as it is.
const PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const MOST_REDIRECTS: usize = 8;

/// A connection to one hub.
pub(super) struct Client {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
}

/// What a repository holds at one commit.
pub(super) struct Listing {
    pub commit: String,
    pub files: Vec<String>,
}

/// What a file is, before it is fetched.
#[derive(Debug)]
pub(super) struct Metadata {
    /// Names the content: for large files its SHA-256, for small ones git's hash of it.
    pub etag: String,
    /// Its length in bytes, where the hub tells.
    pub size: Option<u64>,
}

impl Client {
    pub(super) fn new(options: &HubOptions) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            // Redirects are followed here: the hub says what a file is in the redirect itself, and a token must not
            // travel to another host.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(Duration::from_secs(20)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .timeout_per_read(Some(Duration::from_secs(60)))
            .user_agent(concat!("eyeshot/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Client { agent, endpoint: options.endpoint.clone(), token: options.token.clone() }
    }

    /// The address of `file` in `repo`.
    pub(super) fn url(&self, repo: &RepoId, file: &str) -> String {
        let encode = |text: &str| text.split('/').map(part).collect::<Vec<_>>().join("/");
        format!("{}/{}/resolve/{}/{}", self.endpoint, encode(&repo.name), part(&repo.revision), encode(file))
    }

    /// What `repo` holds.
    pub(super) fn listing(&self, repo: &RepoId) -> Result<Listing> {
        let (name, revision) = (&repo.name, part(&repo.revision));
        let url = format!("{}/api/models/{name}/revision/{revision}", self.endpoint);
        let mut response = self.follow(Method::Get { from: 0 }, &url, false)?;
        self.expect_success(&url, response.status(), &format!("the repository {name} at {}", repo.revision))?;
        let text = response.body_mut().with_config().limit(64 << 20).read_to_string();
        let json: Value = text
            .map_err(|e| e.to_string())
            .and_then(|text| serde_json::from_str(&text).map_err(|e| e.to_string()))
            .map_err(|e| fetch(&url, format!("the answer can't be read: {e}")))?;
        let commit = json["sha"]
            .as_str()
            .filter(|sha| !sha.is_empty() && sha.chars().all(|c| c.is_ascii_alphanumeric()));
        let commit = commit.ok_or_else(|| fetch(&url, "the answer names no commit"))?.to_owned();
        let files = json["siblings"].as_array().into_iter().flatten();
        let files = files.filter_map(|file| file["rfilename"].as_str().map(str::to_owned)).collect();
        Ok(Listing { commit, files })
    }

    /// What `file` of `repo` is.
    pub(super) fn metadata(&self, repo: &RepoId, file: &str) -> Result<Metadata> {
        let url = self.url(repo, file);
        let response = self.follow(Method::Head, &url, true)?;
        if !response.status().is_redirection() {
            self.expect_success(&url, response.status(), &format!("{file} in the repository {}", repo.name))?;
        }
        let headers = response.headers();
        let etag = header(headers, "x-linked-etag").or(header(headers, "etag"));
        let etag = etag.map(|etag| etag.trim_start_matches("W/").trim_matches('"').to_owned());
        // It becomes a file's name.
        let etag = etag
            .filter(|etag| !etag.is_empty() && etag.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'));
        let etag = etag.ok_or_else(|| fetch(&url, "the answer has no usable ETag"))?;
        let linked = header(headers, "x-linked-size");
        let size = match response.status().is_redirection() {
            true => linked,
            false => linked.or(header(headers, "content-length")),
        };
        Ok(Metadata { etag, size: size.and_then(|size| size.parse().ok()) })
    }

    /// The bytes of `file` of `repo` from the offset `from` on, where the server can start there: its status says.
    pub(super) fn get(&self, repo: &RepoId, file: &str, from: u64) -> Result<Response<Body>> {
        let url = self.url(repo, file);
        let response = self.follow(Method::Get { from }, &url, false)?;
        if response.status() != StatusCode::RANGE_NOT_SATISFIABLE {
            self.expect_success(&url, response.status(), &format!("{file} in the repository {}", repo.name))?;
        }
        Ok(response)
    }

    /// Asks for `url` and follows redirects; with `stay`, only those to the same host.
    fn follow(&self, method: Method, url: &str, stay: bool) -> Result<Response<Body>> {
        let mut at = url.to_owned();
        for _ in 0..MOST_REDIRECTS {
            let request = match method {
                Method::Head => self.agent.head(&at),
                Method::Get { .. } => self.agent.get(&at),
            };
            // A compressed answer has another length than the file.
            let mut request = request.header("Accept-Encoding", "identity");
            if let Method::Get { from: from @ 1.. } = method {
                request = request.header("Range", format!("bytes={from}-"));
            }
            if let (Some(token), true) = (&self.token, host(&at) == host(&self.endpoint)) {
                request = request.header("Authorization", format!("Bearer {token}"));
            }
            let response = request.call().map_err(|e| fetch(&at, network(&e)))?;
            let location =
                header(response.headers(), "location").filter(|_| response.status().is_redirection());
            let Some(next) = location.map(|location| join(&at, location)) else {
                return Ok(response);
            };
            if stay && host(&next) != host(&at) {
                return Ok(response);
            }
            at = next;
        }
        Err(fetch(url, format!("more than {MOST_REDIRECTS} redirects")))
    }

    fn expect_success(&self, url: &str, status: StatusCode, what: &str) -> Result<()> {
        let reason = match status.as_u16() {
            200..=299 => return Ok(()),
            code @ (401 | 403) => {
                let token = match self.token {
                    Some(_) => "the token in HF_TOKEN may not read it",
                    None => "set HF_TOKEN to a token that may read it",
                };
                format!(
                    "{code}: {what} does not exist, or is private or gated; accept its terms on its page, and {token}"
                )
            }
            404 => format!("404: {what} does not exist"),
            429 => format!("429: the hub is refusing more requests for {what}; wait a while"),
            code => format!("{code} for {what}"),
        };
        Err(fetch(url, reason))
    }
}

#[derive(Clone, Copy)]
enum Method {
    Head,
    Get { from: u64 },
}

pub(super) fn fetch(url: &str, reason: impl Into<String>) -> Error {
    Error::Fetch { url: url.to_owned(), reason: reason.into() }
}

fn network(error: &ureq::Error) -> String {
    format!(
        "{error}; is the network there? A model that is in the cache needs none (HF_HOME), a mirror is named by HF_ENDPOINT"
    )
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn part(text: &str) -> String {
    utf8_percent_encode(text, PART).to_string()
}

/// `https://host:port` of an address.
fn host(url: &str) -> &str {
    let rest = url.find("://").map_or(0, |at| at + 3);
    url.get(rest..).and_then(|tail| tail.find(['/', '?'])).map_or(url, |end| &url[..rest + end])
}

/// The address that `location` means at `base`.
fn join(base: &str, location: &str) -> String {
    if location.contains("://") {
        location.to_owned()
    } else if location.starts_with('/') {
        format!("{}{location}", host(base))
    } else {
        let folder = base.rfind('/').map_or(base, |end| &base[..end]);
        format!("{folder}/{location}")
    }
}

//! Who may call, and what: API keys, told by their hashes in constant time.

use crate::error::{Error, Result};
use std::sync::Arc;
use tonic::codegen::http::{HeaderMap, header};
use tonic::service::Interceptor;
use tonic::{Request, Status};

/// The cookie of a session.
pub const COOKIE: &str = "eyeshot_session";
/// What a session's token is derived for; see [`blake3::derive_key`].
const SESSIONS: &str = "eyeshot 2026-11-23 session of the web page";

/// What a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Search and look.
    Read,
    /// Everything.
    Write,
}

/// The keys that open the server; with none, it is open to all who can reach it.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    all: Vec<Known>,
    /// Whether cookies travel by TLS only.
    pub(super) behind_tls: bool,
}

/// A key by its hashes: its own, and that of the token which stands for it in a cookie. A token is as good as its key, but is no
/// use elsewhere, and dies with it.
#[derive(Clone, Debug)]
struct Known {
    key: blake3::Hash,
    token: blake3::Hash,
    access: Access,
}

impl Keys {
    /// Adds a key.
    ///
    /// # Errors
    /// [`Error::Invalid`] for one too short to be a secret, or that cannot stand in a header.
    pub fn add(&mut self, key: &str, access: Access) -> Result<()> {
        let key = key.trim();
        if key.len() < 8 || !key.chars().all(|c| c.is_ascii_graphic()) {
            return Err(Error::invalid(
                "an API key is too short, or has spaces or other than ASCII",
                "use 8 or more letters, digits and signs; `openssl rand -hex 24` makes a good one",
            ));
        }
        let (key, token) = (blake3::hash(key.as_bytes()), blake3::hash(token(key).as_bytes()));
        self.all.push(Known { key, token, access });
        Ok(())
    }

    /// Adds the keys of a file: one a line, `read KEY` or `write KEY`; `#` begins a comment.
    pub fn add_file(&mut self, path: &std::path::Path) -> Result<()> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        for line in lines {
            match line.split_once(char::is_whitespace) {
                Some(("read", key)) => self.add(key, Access::Read)?,
                Some(("write", key)) => self.add(key, Access::Write)?,
                _ => {
                    let what = format!("{}: a line is neither `read KEY` nor `write KEY`", path.display());
                    return Err(Error::invalid(what, "write one key a line"));
                }
            }
        }
        Ok(())
    }

    /// Says whether clients come by TLS, so that sessions' cookies go no other way.
    pub fn travel_by_tls(&mut self, tls: bool) {
        self.behind_tls = tls;
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// What the bearer of `headers` may do.
    pub fn access(&self, headers: &HeaderMap) -> Result<Access, Status> {
        if self.is_empty() {
            return Ok(Access::Write);
        }
        let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
        let bearer = header("authorization").and_then(|v| v.split_once(' '));
        let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, key)| key);
        match (bearer.or_else(|| header("x-api-key")), cookie(headers)) {
            (Some(key), _) => self.find(|known| known.key, key).ok_or_else(|| {
                Status::unauthenticated("this API key is not one of the server's: ask its operator")
            }),
            (None, Some(token)) => self.find(|known| known.token, token).ok_or_else(|| {
                Status::unauthenticated("this session is over: POST /v1/session opens another with a key")
            }),
            (None, None) => Err(Status::unauthenticated(
                "this server wants an API key: send `authorization: Bearer KEY` or `x-api-key: KEY`",
            )),
        }
    }

    /// The token that stands for `key` in a cookie.
    pub fn session(&self, key: &str) -> Result<String, Status> {
        let known = self.is_empty() || self.find(|known| known.key, key).is_some();
        let unknown = || Status::unauthenticated("this API key is not one of the server's: ask its operator");
        known.then(|| token(key.trim())).ok_or_else(unknown)
    }

    /// Hashes are compared in constant time, and all of them, so that time tells nothing of any key.
    fn find(&self, of: impl Fn(&Known) -> blake3::Hash, secret: &str) -> Option<Access> {
        let hash = blake3::hash(secret.trim().as_bytes());
        self.all.iter().fold(None, |best, known| match of(known) == hash {
            true => best.max(Some(known.access)),
            false => best,
        })
    }
}

fn token(key: &str) -> String {
    blake3::Hash::from_bytes(blake3::derive_key(SESSIONS, key.as_bytes())).to_hex().to_string()
}

/// The session's token among the cookies.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
    let mut cookies = lines.flat_map(|line| line.split(';')).filter_map(|one| one.trim().split_once('='));
    cookies.find(|(name, _)| *name == COOKIE).map(|(_, token)| token).filter(|token| !token.is_empty())
}

/// Stands before each service and notes in the request what its caller may do.
#[derive(Clone)]
pub struct Guard(pub Arc<Keys>);

impl Interceptor for Guard {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let access = self.0.access(request.metadata().as_ref())?;
        request.extensions_mut().insert(access);
        Ok(request)
    }
}

impl Access {
    /// That whoever has this access, or none, may change things.
    pub fn may_write(access: Option<&Access>) -> Result<(), Status> {
        match access {
            Some(Access::Write) => Ok(()),
            _ => Err(Status::permission_denied("this API key may only read: use one that may write")),
        }
    }
}

/// That the caller may change things.
pub fn may_write<T>(request: &Request<T>) -> Result<(), Status> {
    Access::may_write(request.extensions().get())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tonic::Code;

    #[test]
    fn keys_open_what_they_should() {
        let mut keys = Keys::default();
        keys.add("reader-key", Access::Read).unwrap();
        keys.add("writer-key", Access::Write).unwrap();
        let check = |name: &'static str, value: &str, wanted: Result<Access, Code>| {
            let mut metadata = HeaderMap::new();
            metadata.insert(name, value.parse().unwrap());
            assert_eq!(keys.access(&metadata).map_err(|s| s.code()), wanted, "{name}: {value}");
        };
        check("authorization", "Bearer reader-key", Ok(Access::Read));
        check("authorization", "bearer writer-key", Ok(Access::Write));
        check("x-api-key", "writer-key", Ok(Access::Write));
        check("x-api-key", "writer-ke", Err(Code::Unauthenticated));
        check("x-api-key", "", Err(Code::Unauthenticated));
        check("authorization", "Basic writer-key", Err(Code::Unauthenticated));
        check("other", "writer-key", Err(Code::Unauthenticated));
        let token = keys.session("reader-key").unwrap();
        check("cookie", &format!("a=b; {COOKIE}={token}"), Ok(Access::Read));
        check("cookie", &format!("{COOKIE}=reader-key"), Err(Code::Unauthenticated));
        check("x-api-key", &token, Err(Code::Unauthenticated));
        assert!(keys.session("other-key").is_err());
        assert_eq!(Keys::default().access(&HeaderMap::new()).unwrap(), Access::Write);
        for weak in ["", "short", "with space in it", "schlüssel-schlüssel"] {
            assert!(keys.clone().add(weak, Access::Read).is_err(), "{weak}");
        }
    }
}

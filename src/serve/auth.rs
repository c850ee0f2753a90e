//! Who may call, and what: API keys, told by their hashes in constant time.

use crate::error::{Error, Result};
use std::sync::Arc;
use tonic::metadata::MetadataMap;
use tonic::service::Interceptor;
use tonic::{Request, Status};

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
    hashes: Vec<(blake3::Hash, Access)>,
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
        self.hashes.push((blake3::hash(key.as_bytes()), access));
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

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// What the bearer of `metadata` may do.
    fn access(&self, metadata: &MetadataMap) -> Result<Access, Status> {
        if self.is_empty() {
            return Ok(Access::Write);
        }
        let header = |name: &str| metadata.get(name).and_then(|v| v.to_str().ok());
        let bearer = header("authorization").and_then(|v| v.split_once(' '));
        let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, key)| key);
        let Some(key) = bearer.or_else(|| header("x-api-key")) else {
            return Err(Status::unauthenticated(
                "this server wants an API key: send metadata `authorization: Bearer KEY` or `x-api-key: KEY`",
            ));
        };
        // Hashes are compared in constant time, and all of them, so that time tells nothing of any key.
        let hash = blake3::hash(key.trim().as_bytes());
        let found = self
            .hashes
            .iter()
            .fold(None, |best, (known, access)| if *known == hash { best.max(Some(*access)) } else { best });
        found.ok_or_else(|| {
            Status::unauthenticated("this API key is not one of the server's: ask its operator")
        })
    }
}

/// Stands before each service and notes in the request what its caller may do.
#[derive(Clone)]
pub struct Guard(pub Arc<Keys>);

impl Interceptor for Guard {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let access = self.0.access(request.metadata())?;
        request.extensions_mut().insert(access);
        Ok(request)
    }
}

/// That the caller may change things.
pub fn may_write<T>(request: &Request<T>) -> Result<(), Status> {
    match request.extensions().get::<Access>() {
        Some(Access::Write) => Ok(()),
        _ => Err(Status::permission_denied("this API key may only read: use one that may write")),
    }
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
            let mut metadata = MetadataMap::new();
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
        assert_eq!(Keys::default().access(&MetadataMap::new()).unwrap(), Access::Write);
        for weak in ["", "short", "with space in it", "schlüssel-schlüssel"] {
            assert!(keys.clone().add(weak, Access::Read).is_err(), "{weak}");
        }
    }
}

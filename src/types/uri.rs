//! How a file's path becomes an item's key, and back: the only place that knows.
//!
//! A local file is `file:///absolute/path`, percent-encoded as RFC 3986 says: everything but the unreserved characters
//! (letters, digits, `-`, `.`, `_`, `~`) and the `/` between names. So any name, with newlines or bytes that are not
//! UTF-8, has exactly one key, and the key is printable ASCII.

use crate::error::{Error, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use std::borrow::Cow;
use std::path::{Path, PathBuf};

const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
const SCHEME: &str = "file://";

/// The URI of an absolute path. A relative one is taken from the current folder.
pub fn path_to_uri(path: &Path) -> Result<String> {
    let path = std::path::absolute(path).map_err(|e| Error::io(path, e))?;
    Ok(format!("{SCHEME}{}", percent_encode(&to_bytes(&path)?, ESCAPED)))
}

/// The path that a `file://` URI names; an error if it is another kind of URI.
pub fn uri_to_path(uri: &str) -> Result<PathBuf> {
    let bad =
        || Error::invalid(format!("{uri:?} is not a local file's URI"), "expected file:///absolute/path");
    let rest = uri.strip_prefix(SCHEME).ok_or_else(bad)?;
    let rest = rest.strip_prefix("localhost").unwrap_or(rest);
    if !rest.starts_with('/') {
        return Err(bad());
    }
    from_bytes(percent_decode_str(rest).collect()).ok_or_else(bad)
}

/// What a person reads: the path for a local file, else the URI. Bytes that are not UTF-8 show as U+FFFD.
pub fn display(uri: &str) -> Cow<'_, str> {
    match uri.strip_prefix(SCHEME) {
        Some(encoded) => percent_decode_str(encoded).decode_utf8_lossy(),
        None => Cow::Borrowed(uri),
    }
}

/// The last part of the name, as a person reads it.
pub fn file_name(uri: &str) -> String {
    let shown = display(uri);
    shown.rsplit('/').next().unwrap_or(&shown).to_owned()
}

#[cfg(unix)]
fn to_bytes(path: &Path) -> Result<Vec<u8>> {
    use std::os::unix::ffi::OsStrExt;
    Ok(path.as_os_str().as_bytes().to_vec())
}

#[cfg(unix)]
fn from_bytes(bytes: Vec<u8>) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    Some(std::ffi::OsString::from_vec(bytes).into())
}

/// Elsewhere a path is Unicode, `\` parts its names, and a drive comes first: `file:///C%3A/photos/a.jpg`.
#[cfg(not(unix))]
fn to_bytes(path: &Path) -> Result<Vec<u8>> {
    let text =
        path.to_str().ok_or_else(|| Error::invalid(format!("{path:?}"), "expected a name in Unicode"))?;
    Ok(format!("/{}", text.replace('\\', "/")).into_bytes())
}

#[cfg(not(unix))]
fn from_bytes(bytes: Vec<u8>) -> Option<PathBuf> {
    let text = String::from_utf8(bytes).ok()?;
    Some(PathBuf::from(text.strip_prefix('/').unwrap_or(&text).replace('/', "\\")))
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    fn check(path: &[u8], uri: &str) {
        let path = Path::new(OsStr::from_bytes(path));
        assert_eq!(path_to_uri(path).unwrap(), uri);
        assert_eq!(uri_to_path(uri).unwrap(), path);
    }

    #[test]
    fn paths_and_uris_name_one_another() {
        check(b"/", "file:///");
        check(b"/a/b-c_d.e~f", "file:///a/b-c_d.e~f");
        check(b"/a b/%41#?&+", "file:///a%20b/%2541%23%3F%26%2B");
        check(b"/line\nbreak\t", "file:///line%0Abreak%09");
        check("/é/日".as_bytes(), "file:///%C3%A9/%E6%97%A5");
        check(b"/\xff\xfe.jpg", "file:///%FF%FE.jpg");
    }

    #[test]
    fn people_read_paths() {
        assert_eq!(display("file:///new%20york/%F0%9F%98%80.png"), "/new york/😀.png");
        assert_eq!(file_name("file:///new%20york/a%20b.png"), "a b.png");
        assert_eq!(file_name("s3://bucket/a.png"), "a.png");
    }

    #[test]
    fn other_uris_are_refused() {
        assert_eq!(uri_to_path("file://localhost/a%20b").unwrap(), Path::new("/a b"));
        for uri in ["", "/a", "a", "s3://bucket/a", "http://host/a", "file://host/a", "file:/a"] {
            assert!(matches!(uri_to_path(uri), Err(Error::Invalid { .. })), "{uri}");
        }
    }
}

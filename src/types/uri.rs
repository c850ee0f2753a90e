//! Paths of this machine as the URIs that are keys, and back (RFC 8089, RFC 3986).
//!
//! Every byte of a path but the unreserved ones and `/` is percent-encoded, so that names with newlines or with bytes that
//! are not UTF-8 come back as they were.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

const SCHEME: &str = "file://";
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The URI of an absolute path.
pub fn from_path(path: &Path) -> String {
    format!("{SCHEME}{}", percent_encode(path.as_os_str().as_bytes(), ENCODED))
}

/// The path that a `file://` URI names; None for other URIs.
pub fn to_path(uri: &str) -> Option<PathBuf> {
    let encoded = uri.strip_prefix(SCHEME)?;
    let bytes: Vec<u8> = percent_decode_str(encoded).collect();
    Some(PathBuf::from(std::ffi::OsString::from_vec(bytes)))
}

/// What a person reads: the path for a file of this machine, else the URI. Bytes that are not UTF-8 show as `U+FFFD`.
pub fn display(uri: &str) -> Cow<'_, str> {
    match uri.strip_prefix(SCHEME) {
        Some(encoded) => percent_decode_str(encoded).decode_utf8_lossy(),
        None => Cow::Borrowed(uri),
    }
}

/// The last part of the name, as a person reads it.
pub fn file_name(uri: &str) -> String {
    let shown = display(uri).into_owned();
    Path::new(OsStr::new(&shown)).file_name().map_or(shown.clone(), |n| n.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_comes_back() {
        for bytes in [
            &b"/a/b.jpg"[..],
            b"/with space/%41?#.png",
            b"/new\nline",
            b"/\xff\xfe.gif",
            "/é😀.webp".as_bytes(),
        ] {
            let path = Path::new(OsStr::from_bytes(bytes));
            let uri = from_path(path);
            assert!(uri.is_ascii() && !uri.contains([' ', '\n', '?', '#']), "{uri}");
            assert_eq!(to_path(&uri).as_deref(), Some(path), "{uri}");
        }
        assert_eq!(to_path("s3://bucket/a.jpg"), None);
        assert_eq!(display("file:///new%20york/%F0%9F%98%80.png"), "/new york/😀.png");
        assert_eq!(file_name("file:///new%20york/a%20b.png"), "a b.png");
    }
}

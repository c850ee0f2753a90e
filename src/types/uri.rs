//! How a file's path, or an object's name in a bucket, becomes an item's key, and back: the only place that knows.
//!
//! A local file is `file:///absolute/path`, percent-encoded as RFC 3986 says: everything but the unreserved characters
//! (letters, digits, `-`, `.`, `_`, `~`) and the `/` between names. So any name, with newlines or bytes that are not
//! UTF-8, has exactly one key, and the key is printable ASCII. An object of a bucket is `s3://bucket/name`, likewise encoded.

use crate::error::{Error, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use std::borrow::Cow;
use std::fmt;
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

/// What a person reads: the path for a local file, the plain name of an object, else the URI. Bytes that are not UTF-8 show as
/// U+FFFD.
pub fn display(uri: &str) -> Cow<'_, str> {
    match uri.strip_prefix(SCHEME) {
        Some(encoded) => percent_decode_str(encoded).decode_utf8_lossy(),
        None if uri.parse::<ObjectUri>().is_ok() => percent_decode_str(uri).decode_utf8_lossy(),
        None => Cow::Borrowed(uri),
    }
}

/// A kind of object store, by the scheme of its URIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `s3://`: Amazon S3 and what speaks its protocol.
    S3,
    /// `gs://`: Google Cloud Storage.
    Gs,
    /// `az://`: Azure Blob Storage.
    Az,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scheme::S3 => "s3",
            Scheme::Gs => "gs",
            Scheme::Az => "az",
        })
    }
}

/// An object of a bucket, or a prefix of such.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectUri {
    /// The kind of store.
    pub scheme: Scheme,
    /// The bucket, or container.
    pub bucket: String,
    /// The object's name, as the store spells it; may be empty for a prefix.
    pub key: String,
}

impl ObjectUri {
    /// `s3://bucket`.
    pub fn bucket_uri(&self) -> String {
        format!("{}://{}", self.scheme, self.bucket)
    }
}

impl std::str::FromStr for ObjectUri {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            Error::invalid(format!("{text:?} names no object"), "expected s3://, gs:// or az://BUCKET/NAME")
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(bad)?;
        let scheme = match scheme {
            "s3" | "s3a" => Scheme::S3,
            "gs" | "gcs" => Scheme::Gs,
            "az" | "azblob" => Scheme::Az,
            _ => return Err(bad()),
        };
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let key = percent_decode_str(key).decode_utf8().map_err(|_| bad())?.into_owned();
        if bucket.is_empty() { Err(bad()) } else { Ok(ObjectUri { scheme, bucket: bucket.to_owned(), key }) }
    }
}

/// The URI of an object.
pub fn object(scheme: Scheme, bucket: &str, key: &str) -> String {
    format!("{scheme}://{bucket}/{}", encode(key))
}

/// A name as it stands in a key.
pub fn encode(name: &str) -> String {
    percent_encode(name.as_bytes(), ESCAPED).to_string()
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
    fn objects_and_uris_name_one_another() {
        for key in ["a.png", "a//b.png", "dir/", "%41.png", "é/日 x.png", "", "a?b#c&d+e"] {
            let uri = object(Scheme::S3, "photos", key);
            assert!(uri.is_ascii(), "{uri}");
            let found: ObjectUri = uri.parse().unwrap();
            assert_eq!(
                (found.scheme, found.bucket.as_str(), found.key.as_str()),
                (Scheme::S3, "photos", key)
            );
        }
        assert_eq!(object(Scheme::Az, "c", "new york.png"), "az://c/new%20york.png");
        assert_eq!(display("gs://b/new%20york.png"), "gs://b/new york.png");
        assert_eq!("s3://only".parse::<ObjectUri>().unwrap().bucket_uri(), "s3://only");
        for text in ["s3://", "s3:///a", "ftp://b/a", "s3:b", "/a/b"] {
            assert!(text.parse::<ObjectUri>().is_err(), "{text}");
        }
    }

    #[test]
    fn other_uris_are_refused() {
        assert_eq!(uri_to_path("file://localhost/a%20b").unwrap(), Path::new("/a b"));
        for uri in ["", "/a", "a", "s3://bucket/a", "http://host/a", "file://host/a", "file:/a"] {
            assert!(matches!(uri_to_path(uri), Err(Error::Invalid { .. })), "{uri}");
        }
    }
}

//! Lines to standard output.

use crate::error::{Error, Result};
use crate::types::uri;
use serde::Serialize;
use std::io::Write;

/// Prints one line for people.
pub(super) fn text(line: impl AsRef<str>) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", line.as_ref()).map_err(|e| Error::io("standard output", e))
}

/// Prints one JSON line for scripts.
pub(super) fn json(value: &impl Serialize) -> Result<()> {
    let line = serde_json::to_string(value).map_err(|e| Error::io("standard output", e.into()))?;
    text(line)
}

/// Prints one path for scripts, byte for byte as the file system has it; a URI of another kind as it is.
pub(super) fn path(key: &str) -> Result<()> {
    let mut line = match uri::uri_to_path(key) {
        Ok(path) => path.into_os_string().into_encoded_bytes(),
        Err(_) => key.as_bytes().to_vec(),
    };
    line.push(b'\n');
    std::io::stdout().lock().write_all(&line).map_err(|e| Error::io("standard output", e))
}

/// A count of bytes as people read it.
pub(super) fn bytes(n: u64) -> String {
    indicatif::HumanBytes(n).to_string()
}

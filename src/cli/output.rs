//! Lines to standard output.

use crate::error::{Error, Result};
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

/// A count of bytes as people read it.
pub(super) fn bytes(n: u64) -> String {
    indicatif::HumanBytes(n).to_string()
}

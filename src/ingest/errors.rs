//! The error report: a JSON line for each image that could not be taken; and a later run that takes up only those.

use super::report::Refusal;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The steps that an image goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// A source tells that it is there.
    List,
    /// Its bytes are brought.
    Fetch,
    /// Its sidecars are read, its bytes hashed, its pixels decoded and resized.
    Decode,
    /// Its vectors are made.
    Encode,
    /// It is written, and can be found.
    Write,
}

impl Stage {
    /// All of them, in their order.
    pub const ALL: [Stage; 5] = [Stage::List, Stage::Fetch, Stage::Decode, Stage::Encode, Stage::Write];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Stage::List => "list",
            Stage::Fetch => "fetch",
            Stage::Decode => "decode",
            Stage::Encode => "encode",
            Stage::Write => "write",
        }
    }
}

/// One line of the report.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    key: String,
    stage: Stage,
    reason: String,
    /// How often it was tried.
    tries: u32,
}

/// A report that is being written: each line is there as soon as it is known.
#[derive(Debug)]
pub struct ErrorReport {
    path: PathBuf,
    file: Mutex<(File, Option<std::io::Error>)>,
}

impl ErrorReport {
    /// An empty one, in place of what the file held.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).map_err(|e| Error::io(path, e))?;
        Ok(ErrorReport { path: path.to_owned(), file: Mutex::new((file, None)) })
    }

    pub(super) fn add(&self, refusal: &Refusal, stage: Stage, tries: u32) {
        let Refusal { key, reason } = refusal.clone();
        let line = serde_json::to_string(&Line { key, stage, reason, tries }).unwrap_or_default();
        let (file, failed) = &mut *self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.is_none() {
            *failed = writeln!(file, "{line}").err();
        }
    }

    /// # Errors
    /// [`Error::Io`] where not every line could be written.
    pub fn finish(&self) -> Result<()> {
        let (_, failed) = &mut *self.file.lock().unwrap_or_else(PoisonError::into_inner);
        failed.take().map_or(Ok(()), |error| Err(Error::io(&self.path, error)))
    }
}

/// What an earlier run's report names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failed {
    keys: HashSet<String>,
    /// Places that could not be listed: nobody knows what they hold.
    places: Vec<String>,
}

impl Failed {
    /// Reads a report.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Invalid`] for a line that is none of a report's.
    pub fn read(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        let mut failed = Failed::default();
        for (at, line) in BufReader::new(file).lines().enumerate() {
            let line = line.map_err(|e| Error::io(path, e))?;
            let line: Line = serde_json::from_str(&line).map_err(|e| {
                let what = format!("{}, line {}: {e}", path.display(), at + 1);
                Error::invalid(what, "expected what --errors of an earlier run wrote")
            })?;
            if line.stage == Stage::List {
                failed.places.push(line.key.clone());
            }
            failed.keys.insert(line.key);
        }
        Ok(failed)
    }

    /// Whether the report names `key`, or a place above it.
    pub fn has(&self, key: &str) -> bool {
        self.keys.contains(key) || self.places.iter().any(|place| key.starts_with(place))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_what_to_take_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("errors.jsonl");
        let report = ErrorReport::create(&path).unwrap();
        let say = |key: &str, stage| {
            report.add(&Refusal { key: key.into(), reason: "why".into() }, stage, 6);
        };
        say("s3://b/a.png", Stage::Fetch);
        say("s3://b/rest/", Stage::List);
        report.finish().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let first = r#"{"key":"s3://b/a.png","stage":"fetch","reason":"why","tries":6}"#;
        assert_eq!(text.lines().next(), Some(first));
        let failed = Failed::read(&path).unwrap();
        let has = ["s3://b/a.png", "s3://b/a.png2", "s3://b/rest/x", "s3://b/c"].map(|key| failed.has(key));
        assert_eq!(has, [true, false, true, false]);
        std::fs::write(&path, "nonsense\n").unwrap();
        assert!(matches!(Failed::read(&path), Err(Error::Invalid { .. })));
    }
}

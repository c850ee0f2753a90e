//! One file from the hub into the cache: locked, resumed, verified, then moved into place.

use super::RepoId;
use super::cache::{RepoCache, make_parent};
use super::client::{Client, Metadata, fetch};
use crate::models::progress::Progress;
use crate::{Error, Result};
use ring::digest::{Context, SHA256};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use ureq::http::StatusCode;

/// How often in a row a transfer may be cut without a byte having come, before we give up.
const FRUITLESS: u32 = 4;

/// Brings `file` of `repo` (whose revision is a commit) into the cache; returns its path in the snapshot.
///
/// # Errors
/// [`Error::Fetch`] when the hub refuses, keeps breaking off, or what came is not what it announced.
pub(super) fn file(
    client: &Client,
    repo: &RepoId,
    file: &str,
    cache: &RepoCache,
    progress: &dyn Progress,
) -> Result<PathBuf> {
    let metadata = client.metadata(repo, file)?;
    let blob = cache.blob(&metadata.etag);
    let lock = cache.lock(&metadata.etag);
    make_parent(&blob)?;
    make_parent(&lock)?;
    // Another process may be fetching the same file: wait for it, then find it done.
    let lock_file = File::create(&lock).map_err(|e| Error::io(&lock, e))?;
    lock_file.lock().map_err(|e| Error::io(&lock, e))?;
    if !blob.is_file() {
        let part = cache.blob(&format!("{}.incomplete", metadata.etag));
        let transfer = Transfer { client, repo, file, metadata: &metadata, part: &part, progress };
        transfer.run()?;
        fs::rename(&part, &blob).map_err(|e| Error::io(&blob, e))?;
    }
    cache.link(&repo.revision, file, &metadata.etag)
}

struct Transfer<'a> {
    client: &'a Client,
    repo: &'a RepoId,
    file: &'a str,
    metadata: &'a Metadata,
    part: &'a Path,
    progress: &'a dyn Progress,
}

impl Transfer<'_> {
    /// Fetches until the part file is whole, going on where a cut transfer, of this run or an earlier one, stopped.
    fn run(&self) -> Result<()> {
        self.progress.start(self.file, self.metadata.size);
        let mut have = self.length();
        self.progress.advance(have);
        let mut fruitless = 0;
        loop {
            let cut = match self.go_on(have) {
                Ok(()) => break,
                Err(Cut::Final(error)) => return Err(error),
                Err(Cut::Resumable(reason)) => reason,
            };
            let now = self.length();
            fruitless = if now > have { 0 } else { fruitless + 1 };
            if fruitless > FRUITLESS {
                return Err(self.error(format!(
                    "the transfer keeps breaking off at byte {now} ({cut}); run again to go on"
                )));
            }
            if fruitless > 1 {
                std::thread::sleep(Duration::from_millis(250 << fruitless));
            }
            have = now;
        }
        self.progress.finish();
        self.verify()
    }

    /// One request, from byte `from` to the end.
    fn go_on(&self, from: u64) -> std::result::Result<(), Cut> {
        if self.metadata.size == Some(from) {
            return Ok(());
        }
        let response = self.client.get(self.repo, self.file, from).map_err(Cut::Final)?;
        let resumed = response.status() == StatusCode::PARTIAL_CONTENT;
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            // What is there is longer than the file: it is of no use.
            fs::remove_file(self.part).map_err(|e| Cut::Final(Error::io(self.part, e)))?;
            return Err(Cut::Resumable("the server can't go on there".to_owned()));
        }
        let mut part = OpenOptions::new()
            .create(true)
            .append(resumed)
            .write(true)
            .truncate(!resumed)
            .open(self.part)
            .map_err(|e| Cut::Final(Error::io(self.part, e)))?;
        let mut body = response.into_body().into_with_config().limit(u64::MAX).reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = body.read(&mut buffer).map_err(|e| Cut::Resumable(e.to_string()))?;
            if count == 0 {
                break;
            }
            part.write_all(&buffer[..count]).map_err(|e| Cut::Final(Error::io(self.part, e)))?;
            self.progress.advance(count as u64);
        }
        part.sync_all().map_err(|e| Cut::Final(Error::io(self.part, e)))?;
        match self.metadata.size {
            Some(size) if self.length() < size => Err(Cut::Resumable("it ended early".to_owned())),
            _ => Ok(()),
        }
    }

    /// Compares what came with what was announced; a file that differs is removed, so that the next try starts afresh.
    fn verify(&self) -> Result<()> {
        let (length, etag) = (self.length(), &self.metadata.etag);
        let mut wrong = match self.metadata.size {
            Some(size) if size != length => Some(format!("{length} bytes came, {size} were announced")),
            _ => None,
        };
        // A large file's ETag is its SHA-256; git's hash of a small one is 40 digits.
        if wrong.is_none() && etag.len() == 64 && etag.bytes().all(|b| b.is_ascii_hexdigit()) {
            let sha256 = sha256(self.part)?;
            if !sha256.eq_ignore_ascii_case(etag) {
                wrong = Some(format!("its SHA-256 is {sha256}, the hub announced {etag}"));
            }
        }
        let Some(wrong) = wrong else {
            return Ok(());
        };
        fs::remove_file(self.part).map_err(|e| Error::io(self.part, e))?;
        Err(self.error(format!("what came is damaged: {wrong}; it was removed, try again")))
    }

    fn length(&self) -> u64 {
        fs::metadata(self.part).map_or(0, |m| m.len())
    }

    fn error(&self, reason: String) -> Error {
        fetch(&self.client.url(self.repo, self.file), reason)
    }
}

/// Why a request ended before the file did.
enum Cut {
    Resumable(String),
    Final(Error),
}

fn sha256(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(|e| Error::io(path, e))?;
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(|e| Error::io(path, e))? {
            0 => break,
            count => context.update(&buffer[..count]),
        }
    }
    Ok(context.finish().as_ref().iter().map(|b| format!("{b:02x}")).collect())
}

//! The cache on disk, in the layout that Python's `huggingface_hub` shares.
//!
//! `models--ORG--NAME/refs/REVISION` holds a commit; `snapshots/COMMIT/FILE` links to `blobs/ETAG`.

use super::HubOptions;
use crate::models::files::{ModelFiles, WEIGHTS};
use crate::models::kind::Kind;
use crate::{Error, Result};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

/// One repository's part of the cache.
pub(super) struct RepoCache {
    root: PathBuf,
    locks: PathBuf,
}

impl RepoCache {
    pub(super) fn new(cache: &Path, repo: &str) -> Self {
        let folder = format!("models--{}", repo.replace('/', "--"));
        RepoCache { root: cache.join(&folder), locks: cache.join(".locks").join(folder) }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.root.join("blobs").join(etag)
    }

    pub(super) fn lock(&self, etag: &str) -> PathBuf {
        self.locks.join(format!("{etag}.lock"))
    }

    /// The folder of the commit that `revision` stands for, as far as the cache knows.
    pub(super) fn snapshot(&self, revision: &str) -> Option<PathBuf> {
        let commit = fs::read_to_string(self.root.join("refs").join(revision));
        let commit = commit.map_or_else(|_| revision.to_owned(), |commit| commit.trim().to_owned());
        let dir = self.root.join("snapshots").join(commit);
        dir.is_dir().then_some(dir)
    }

    pub(super) fn set_commit(&self, revision: &str, commit: &str) -> Result<()> {
        // A commit stands for itself.
        if revision == commit {
            return Ok(());
        }
        let path = self.root.join("refs").join(revision);
        make_parent(&path)?;
        fs::write(&path, commit).map_err(|e| Error::io(&path, e))
    }

    /// Makes `file` of `commit` the blob `etag`; returns where it now is.
    pub(super) fn link(&self, commit: &str, file: &str, etag: &str) -> Result<PathBuf> {
        let path = self.root.join("snapshots").join(commit).join(file);
        make_parent(&path)?;
        if path.symlink_metadata().is_ok() {
            fs::remove_file(&path).map_err(|e| Error::io(&path, e))?;
        }
        symlink(&self.blob(etag), etag, &path).map_err(|e| Error::io(&path, e))?;
        Ok(path)
    }
}

#[cfg(unix)]
fn symlink(_blob: &Path, etag: &str, path: &Path) -> std::io::Result<()> {
    // Relative, so that the cache can be moved. Files are flat in a model's snapshot.
    std::os::unix::fs::symlink(Path::new("../../blobs").join(etag), path)
}

#[cfg(not(unix))]
fn symlink(blob: &Path, _etag: &str, path: &Path) -> std::io::Result<()> {
    fs::hard_link(blob, path).or_else(|_| fs::copy(blob, path).map(drop))
}

pub(super) fn make_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) => fs::create_dir_all(parent).map_err(|e| Error::io(parent, e)),
        None => Ok(()),
    }
}

/// A model that the cache holds.
#[derive(Clone, Debug, Serialize)]
pub struct CachedModel {
    /// `org/name`.
    pub id: String,
    /// The commit that `main` stands for.
    pub commit: String,
    /// What it is.
    pub kind: Kind,
    /// The length of its weights in bytes.
    pub bytes: u64,
    /// Where its files are.
    pub path: PathBuf,
}

/// The models in the cache that have a config and weights, by name. An unreadable one is left out.
pub fn cached(options: &HubOptions) -> Vec<CachedModel> {
    let Ok(entries) = fs::read_dir(&options.cache) else {
        return Vec::new();
    };
    let mut models: Vec<_> = entries.flatten().filter_map(|entry| describe(&options.cache, entry)).collect();
    models.sort_by(|a, b| a.id.cmp(&b.id));
    models
}

fn describe(cache: &Path, entry: fs::DirEntry) -> Option<CachedModel> {
    let id = entry.file_name().to_str()?.strip_prefix("models--")?.replacen("--", "/", 1);
    let path = RepoCache::new(cache, &id).snapshot("main")?;
    let files = ModelFiles::from_dir(&id, &path).ok()?;
    let kind = files.kind().ok()?;
    WEIGHTS.iter().any(|file| files.has(file)).then_some(())?;
    let bytes = files.weight_bytes().ok()?;
    Some(CachedModel { commit: path.file_name()?.to_str()?.to_owned(), id, kind, bytes, path })
}

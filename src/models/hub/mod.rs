//! The Hugging Face hub: which files a model needs, and how they come into the cache.
//!
//! 1. `cache` knows the cache's layout, which Python's `huggingface_hub` shares: `models--ORG--NAME/{refs,blobs,snapshots}`.
//! 2. Here a repository is looked up: in the cache first; only when something is missing, or on request, at the hub.
//! 3. `openclip` turns OpenCLIP's names into repositories.
//! 4. `download` fetches one file: resumed, verified, then moved into place.

mod cache;
mod client;
mod download;
mod openclip;

pub use cache::{CachedModel, cached};
pub(crate) use openclip::{names as openclip_names, twin as openclip_twin};

use super::files::{ModelFiles, SETTINGS, WEIGHTS, shards};
use super::options::ModelOptions;
use super::progress::Progress;
use crate::{Error, Result};
use cache::RepoCache;
use client::Client;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where the hub and its cache are, and who asks.
#[derive(Clone)]
pub struct HubOptions {
    /// The hub's address, without a slash at its end.
    pub endpoint: String,
    /// The cache's folder, the one that holds `models--*`.
    pub cache: PathBuf,
    /// The access token for private and gated repositories.
    pub token: Option<String>,
    /// `HF_HUB_OFFLINE` is set: never ask the network.
    pub offline: bool,
}

impl HubOptions {
    /// What the variables say that Python's `huggingface_hub` reads: `HF_ENDPOINT`; `HF_HUB_CACHE`,
    /// `HUGGINGFACE_HUB_CACHE`, `HF_HOME`, `XDG_CACHE_HOME`; `HF_TOKEN`, `HUGGING_FACE_HUB_TOKEN`, `HF_TOKEN_PATH`;
    /// `HF_HUB_OFFLINE`. `var` looks one up.
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> Self {
        let var = |name: &str| var(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
        let home =
            || PathBuf::from(var("HOME").or_else(|| var("USERPROFILE")).unwrap_or_else(|| ".".to_owned()));
        let hf_home = match (var("HF_HOME"), var("XDG_CACHE_HOME")) {
            (Some(hf), _) => PathBuf::from(hf),
            (None, Some(xdg)) => PathBuf::from(xdg).join("huggingface"),
            (None, None) => home().join(".cache/huggingface"),
        };
        let cache = var("HF_HUB_CACHE").or_else(|| var("HUGGINGFACE_HUB_CACHE")).map(PathBuf::from);
        let token_file = var("HF_TOKEN_PATH").map_or_else(|| hf_home.join("token"), PathBuf::from);
        let saved = || {
            std::fs::read_to_string(token_file).ok().map(|t| t.trim().to_owned()).filter(|t| !t.is_empty())
        };
        let endpoint = var("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        let offline =
            var("HF_HUB_OFFLINE").is_some_and(|v| ["1", "on", "yes", "true"].contains(&&*v.to_lowercase()));
        HubOptions {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            cache: cache.unwrap_or_else(|| hf_home.join("hub")),
            token: var("HF_TOKEN").or_else(|| var("HUGGING_FACE_HUB_TOKEN")).or_else(saved),
            offline,
        }
    }
}

impl Default for HubOptions {
    /// What this process's environment says.
    fn default() -> Self {
        HubOptions::from_vars(|name| std::env::var(name).ok())
    }
}

impl fmt::Debug for HubOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubOptions")
            .field("endpoint", &self.endpoint)
            .field("cache", &self.cache)
            .field("token", &self.token.as_ref().map(|_| "(hidden)"))
            .field("offline", &self.offline)
            .finish()
    }
}

/// A repository at one of its revisions, written `org/name` or `org/name@revision`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RepoId {
    pub name: String,
    pub revision: String,
}

impl FromStr for RepoId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bare = text.strip_prefix("hf-hub:").unwrap_or(text);
        let (name, revision) = bare.split_once('@').unwrap_or((bare, "main"));
        let plain = |part: &str| {
            !part.is_empty()
                && !part.starts_with(['.', '-'])
                && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        let fits = match name.split('/').collect::<Vec<_>>().as_slice() {
            [org, repo] => plain(org) && plain(repo),
            _ => false,
        };
        if !fits || revision.is_empty() || !revision.split('/').all(plain) {
            return Err(Error::NotFound { kind: "model", name: text.to_owned(), fix: super::forms() });
        }
        Ok(RepoId { name: name.to_owned(), revision: revision.to_owned() })
    }
}

/// The files of `repo`, called `spec` by the user: from the cache where they are whole, else from the hub.
///
/// # Errors
/// [`Error::Fetch`] when the hub can't be reached, refuses, or sends something broken; [`Error::Model`] when the
/// repository lacks what a model needs, or offline when the cache does.
pub(crate) fn find(
    spec: &str,
    repo: &RepoId,
    options: &ModelOptions,
    progress: &dyn Progress,
) -> Result<ModelFiles> {
    let cache = RepoCache::new(&options.hub.cache, &repo.name);
    let known = cached_files(spec, repo, &cache);
    if let (Ok(files), false) = (&known, options.refresh) {
        return Ok(files.clone());
    }
    if !options.online() {
        return known.map_err(|e| match e {
            Error::Model { model, reason } => Error::Model {
                model,
                reason: format!("{reason}; it isn't whole in the cache, and the network is off limits"),
            },
            other => other,
        });
    }
    let client = Client::new(&options.hub);
    let commit = pull(&client, repo, &cache, progress)?;
    cache.set_commit(&repo.revision, &commit)?;
    cached_files(spec, repo, &cache)
}

/// The files of a repository whose snapshot holds all that a model needs.
fn cached_files(spec: &str, repo: &RepoId, cache: &RepoCache) -> Result<ModelFiles> {
    let Some(dir) = cache.snapshot(&repo.revision).filter(|dir| dir.is_dir()) else {
        return Err(Error::model(
            spec,
            format!("{} has no snapshot of {}", cache.root().display(), repo.revision),
        ));
    };
    let files = ModelFiles::from_dir(spec, &dir)?;
    files.blob(super::files::CONFIG)?;
    if files.tower_name().is_none() {
        files.preprocessor()?;
    }
    files.tokenizer()?;
    files.weights()?;
    Ok(files)
}

/// Downloads what a model needs of `repo`; returns the commit that it is of.
fn pull(client: &Client, repo: &RepoId, cache: &RepoCache, progress: &dyn Progress) -> Result<String> {
    let listing = client.listing(repo)?;
    let has = |file: &str| listing.files.iter().any(|f| f == file);
    let pinned = RepoId { name: repo.name.clone(), revision: listing.commit.clone() };
    let get = |file: &str| download::file(client, &pinned, file, cache, progress);
    for file in SETTINGS.into_iter().filter(|file| has(file)) {
        get(file)?;
    }
    let Some(first) = WEIGHTS.into_iter().find(|file| has(file)) else {
        let reason = format!("the repository {} holds none of {}", repo.name, WEIGHTS.join(", "));
        return Err(Error::model(&repo.name, reason));
    };
    let path = get(first)?;
    if first.ends_with(".index.json") {
        let bytes = std::fs::read(&path).map_err(|e| Error::io(&path, e))?;
        let shards = serde_json::from_slice(&bytes).ok().as_ref().and_then(shards);
        let shards = shards.ok_or_else(|| Error::model(&repo.name, format!("{first} has no weight_map")))?;
        // A shard's name becomes a path: nothing may lead out of the snapshot.
        if let Some(odd) = shards.iter().find(|shard| shard.contains(['/', '\\']) || shard.starts_with('.')) {
            return Err(Error::model(&repo.name, format!("{first} names a shard {odd:?}")));
        }
        shards.iter().try_for_each(|shard| get(shard).map(drop))?;
    }
    Ok(listing.commit)
}

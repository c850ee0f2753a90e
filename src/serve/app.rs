//! What all services share.

use super::convert::collection_name;
use super::http::Thumbnails;
use super::settings::Settings;
use super::sources::Sources;
use super::work::Work;
use crate::engine::{Collection, Engine, Info};
use crate::error::Result;
use crate::ingest::Meter;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// A cheap handle on it.
#[derive(Clone)]
pub struct App(Arc<Shared>);

/// The engine and the server's settings, as requests need them.
pub struct Shared {
    pub engine: Engine,
    pub work: Work,
    pub sources: Sources,
    /// Hears what all runs of ingestion do.
    pub meter: Arc<Meter>,
    /// The model of new collections, where the server was told one.
    pub model: Option<String>,
    pub probe: Duration,
    /// How long a JSON request may take; those of gRPC say so themselves.
    pub timeout: Duration,
    pub thumbnails: Thumbnails,
    /// Whether the bytes of pictures that came as bytes are kept.
    pub keep_uploads: bool,
    pub stopping: watch::Receiver<bool>,
}

impl App {
    pub fn new(engine: Engine, settings: &Settings, stopping: watch::Receiver<bool>) -> Result<Self> {
        Ok(App(Arc::new(Shared {
            engine,
            work: Work::new(settings.concurrency)?,
            sources: Sources::new(&settings.roots, settings.urls)?,
            meter: Arc::default(),
            model: settings.model.clone(),
            probe: settings.probe,
            timeout: settings.timeout,
            keep_uploads: settings.keep_uploads,
            thumbnails: Thumbnails::new(settings.thumbnail_bytes),
            stopping,
        })))
    }

    /// The collection of that name, or the default one.
    pub fn collection(&self, name: &str) -> Result<Arc<Collection>> {
        self.engine.collection(collection_name(name))
    }

    /// The same where it is open already: no thread has to wait.
    pub fn at_hand(&self, name: &str) -> Option<Arc<Collection>> {
        self.engine.at_hand(collection_name(name))
    }

    /// Switches the collection of that name, or the default one, to its shadow's model.
    pub fn flip(&self, name: &str, remove_missing: bool) -> Result<Info> {
        self.engine.flip(collection_name(name), remove_missing)?.info()
    }

    /// Removes the collection of that name, and what is remembered of it.
    pub fn drop_collection(&self, name: &str) -> Result<()> {
        self.engine.drop_collection(name)?;
        self.sources.forget(name);
        Ok(())
    }

    /// When a JSON request that comes now has taken too long.
    pub fn patience(&self) -> Option<Instant> {
        Instant::now().checked_add(self.timeout)
    }

    /// The model that a request names, or the server's.
    pub fn model<'a>(&'a self, named: &'a str) -> Option<&'a str> {
        if named.is_empty() { self.model.as_deref() } else { Some(named) }
    }
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// Sleeps until the server is asked to stop.
pub async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error means that the server is gone: stopped, too.
    _ = stopping.wait_for(|stop| *stop).await;
}

//! `Images.Index`: a run of `ingest` on folders of this machine, told as it goes on.

use super::app::{App, stopped};
use super::convert;
use super::proto::v1 as pb;
use crate::engine::Collection;
use crate::error::{Error, Result};
use crate::ingest::{self, Cancel, Captions, Event, IndexOptions, Items, Reporter, Source, Summary};
use crate::types::uri;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tracing::Instrument;

/// How often a client hears of a run.
const EVERY: Duration = Duration::from_millis(250);

/// What has happened, as the next message tells it.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<pb::IndexProgress>>);

impl Reporter for Heard {
    fn event(&self, event: Event<'_>) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Listed { images, complete } => {
                (heard.listed, heard.listing_complete) = (images, complete);
            }
            Event::Indexed(n) => heard.indexed += n,
            Event::Unchanged(_) => heard.unchanged += 1,
            Event::Removed(n) => heard.removed += n,
            Event::Due(_) | Event::Gone(_) => {}
            Event::Refused(refusal) => {
                let pb = pb::Refusal { key: refusal.key.clone(), reason: refusal.reason.clone() };
                heard.refused.push(pb);
            }
        }
    }
}

impl Heard {
    /// The state so far, and the refusals since the last time.
    fn progress(&self) -> pb::IndexProgress {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = std::mem::take(&mut heard.refused);
        pb::IndexProgress { refused, ..heard.clone() }
    }
}

/// Begins a run. It ends when it is done, when the client leaves or the `deadline` passes, or when the server stops.
///
/// # Errors
/// What is wrong with the request, before anything is told.
pub async fn start(
    app: App,
    request: pb::IndexRequest,
    deadline: Option<Instant>,
) -> Result<ReceiverStream<Result<pb::IndexProgress, Status>>, Status> {
    let there = app.clone();
    let run = app.work.run(deadline, move |_| Run::of(&there, request)).await?;
    let (progress, stream) = mpsc::channel(16);
    let task = async move {
        let last = tell(&app, run, deadline, &progress).await;
        _ = progress.send(last).await;
    };
    tokio::spawn(task.in_current_span());
    Ok(ReceiverStream::new(stream))
}

/// A run that may be made.
struct Run {
    collection: Arc<Collection>,
    sources: Vec<Box<dyn Source>>,
    options: IndexOptions,
}

impl Run {
    fn of(app: &App, request: pb::IndexRequest) -> Result<Self> {
        if request.sources.is_empty() && !request.shadow {
            return Err(Error::invalid("no sources", "name at least one folder"));
        }
        if request.from_thumbnails && !(request.shadow && request.sources.is_empty()) {
            let fix = "leave the sources out, and set shadow";
            return Err(Error::invalid("from_thumbnails with sources, or without shadow", fix));
        }
        let name = convert::collection_name(&request.collection);
        let model = Some(request.model.as_str()).filter(|model| !model.is_empty());
        let collection = match request.shadow {
            true => app.engine.collection(name)?,
            false => Self::collection(app, name, &request)?,
        };
        let within = |source: &String| app.sources.within(&path(source)?, &collection);
        let folders: Vec<PathBuf> = request.sources.iter().map(within).collect::<Result<_>>()?;
        let sources: Vec<Box<dyn Source>> = match folders.is_empty() {
            true if request.from_thumbnails => vec![Box::new(Items::small(collection.clone()))],
            true => vec![Box::new(Items::of(collection.clone()))],
            false => ingest::open_folders(&folders)?,
        };
        let shadow = request.shadow.then(|| app.engine.shadow(name, model)).transpose()?;
        let captions = if request.without_captions { Captions::None } else { Captions::Sidecar };
        let meter = Some(app.meter.clone());
        let thumbnails = (request.thumbnails > 0).then_some(request.thumbnails);
        let prune = request.prune;
        let options = IndexOptions { captions, shadow, prune, thumbnails, meter, ..IndexOptions::default() };
        Ok(Run { collection, sources, options })
    }

    /// The collection, made where there is none.
    fn collection(app: &App, name: &str, request: &pb::IndexRequest) -> Result<Arc<Collection>> {
        let collection = match app.engine.collection(name) {
            Ok(collection) => collection,
            // Nothing was indexed there yet, so that only the operator's folders can be: no collection is made for others.
            Err(Error::NotFound { .. }) => {
                app.sources.check_opened(&request.sources)?;
                app.engine.collection_or_new(name, app.model(&request.model))?
            }
            Err(error) => return Err(error),
        };
        match request.model.is_empty() {
            true => Ok(collection),
            false => app.engine.collection_or_new(name, Some(request.model.as_str())),
        }
    }
}

/// Runs, telling how it goes; what comes back is the last that the client hears.
async fn tell(
    app: &App,
    run: Run,
    deadline: Option<Instant>,
    progress: &mpsc::Sender<Result<pb::IndexProgress, Status>>,
) -> Result<pb::IndexProgress, Status> {
    let (heard, cancel) = (Heard::default(), Cancel::default());
    let (there, heard_there, cancel_there) = (app.clone(), heard.clone(), cancel.clone());
    let work = app.work.run(None, move |_| {
        let summary = ingest::sync(&run.collection, &run.sources, &run.options, &heard_there, &cancel_there);
        there.sources.forget(run.collection.name());
        summary
    });
    tokio::pin!(work);
    let mut ticks = tokio::time::interval(EVERY);
    let late = async {
        match deadline {
            Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
            None => std::future::pending().await,
        }
    };
    let left = async {
        tokio::select! {
            () = progress.closed() => {}
            () = stopped(app.stopping.clone()) => {}
            () = late => {}
        }
    };
    tokio::pin!(left);
    let summary = loop {
        tokio::select! {
            ended = &mut work => break ended?,
            () = &mut left, if !cancel.is_set() => cancel.set(),
            _ = ticks.tick() => {
                // A client too slow to read this message hears the next one; refusals are told at the end.
                if let Ok(place) = progress.try_reserve() {
                    place.send(Ok(heard.progress()));
                }
            }
        }
    };
    match cancel.is_set() {
        true => Err(Status::unavailable("the run was stopped: what was indexed stays, call again to go on")),
        false => Ok(pb::IndexProgress { summary: Some(told(&summary)), ..heard.progress() }),
    }
}

/// The path that a source names.
pub(super) fn path(source: &str) -> Result<PathBuf> {
    match source.contains("://") {
        true => uri::uri_to_path(source),
        false => Ok(PathBuf::from(source)),
    }
}

fn told(summary: &Summary) -> pb::IndexSummary {
    pb::IndexSummary {
        indexed: summary.indexed,
        unchanged: summary.unchanged,
        removed: summary.removed,
        duplicates: summary.duplicates,
        refused: summary.refused.len() as u64,
        seconds: summary.seconds,
    }
}

//! `POST /v1/collections/{collection}/index`: a run over folders of the server's machine, told as it goes on.

use super::extract::{Body, MayWrite, Path};
use super::failure::{Failure, Failures};
use super::sse::{StreamEvent, json};
use crate::ingest::Refusal;
use crate::serve::app::App;
use crate::serve::index;
use crate::serve::proto::v1 as pb;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use tokio_stream::{Stream, StreamExt};
use tonic::Status;
use utoipa::ToSchema;

/// What to index.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IndexBody {
    /// Folders and files of the server's machine: paths or `file://` URIs, within those indexed before or the server's
    /// `--allow-root`. With `shadow`, none for all items from where they lie.
    #[serde(default)]
    #[schema(value_type = Vec<Folder>)]
    sources: Vec<String>,
    /// The model of a new collection, or of a new shadow; of one that is there, it must be the same.
    model: Option<String>,
    /// Leave captions beside the images aside.
    #[serde(default)]
    without_captions: bool,
    /// Remove items whose image is gone.
    #[serde(default)]
    prune: bool,
    /// Re-embed the collection's items with another model, beside the vectors that go on serving, until it is flipped.
    #[serde(default)]
    shadow: bool,
    /// Keep a small picture of each image, its shorter side so many pixels; 336 suits most models. Images that have none yet are
    /// taken once more.
    #[schema(minimum = 32, maximum = 2048)]
    thumbnails: Option<u32>,
    /// With `shadow` and no sources: embed the small pictures that were kept, rather than read every image again.
    #[serde(default)]
    from_thumbnails: bool,
}

/// A path or `file://` URI of the server's machine.
#[derive(ToSchema)]
#[schema(format = "folder")]
#[allow(dead_code, reason = "it is read by the description alone")]
pub struct Folder(String);

/// How far a run is: the data of events called `progress`.
#[derive(Serialize, ToSchema)]
pub struct Progress {
    /// Images found so far.
    listed: u64,
    /// Whether no more will be found.
    listing_complete: bool,
    /// Written so far; queries find them.
    indexed: u64,
    /// Needed no work.
    unchanged: u64,
    /// Taken away, because their image is gone.
    removed: u64,
    /// What was refused since the event before.
    #[schema(value_type = Vec<Object>)]
    refused: Vec<Refusal>,
}

/// What a run did: the data of the event called `done`, which is the last line of `eyeshot index --json`.
#[derive(Serialize, ToSchema)]
pub struct Done {
    indexed: u64,
    unchanged: u64,
    removed: u64,
    /// How many of the indexed had bytes that were known.
    duplicates: u64,
    #[schema(value_type = Vec<Object>)]
    refused: Vec<Refusal>,
    seconds: f64,
}

/// Brings the collection in step with folders: events `progress`, then one `done` or `error`. Leaving stops the run between two
/// images; what was indexed stays, and the next run goes on from there.
#[utoipa::path(post, path = "/v1/collections/{collection}/index", tag = "items", params(("collection" = String, Path)),
    request_body = IndexBody,
    responses((status = 200, description = "Events", content_type = "text/event-stream", body = StreamEvent), Failures))]
pub async fn post(
    State(app): State<App>,
    Path(collection): Path<String>,
    _: MayWrite,
    Body(body): Body<IndexBody>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    let request = pb::IndexRequest {
        collection,
        sources: body.sources,
        model: body.model.unwrap_or_default(),
        without_captions: body.without_captions,
        prune: body.prune,
        shadow: body.shadow,
        thumbnails: body.thumbnails.unwrap_or(0),
        from_thumbnails: body.from_thumbnails,
    };
    let mut refused = vec![];
    let events = index::start(app, request, None).await?.map(move |told| Ok(event(told, &mut refused)));
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

fn event(told: Result<pb::IndexProgress, Status>, all: &mut Vec<Refusal>) -> Event {
    let progress = match told {
        Ok(progress) => progress,
        Err(status) => return json("error", &Failure::from(status).body()),
    };
    let refusal = |refusal: pb::Refusal| Refusal { key: refusal.key, reason: refusal.reason };
    let refused: Vec<Refusal> = progress.refused.into_iter().map(refusal).collect();
    all.extend(refused.iter().cloned());
    match progress.summary {
        Some(done) => {
            all.sort();
            let (indexed, unchanged, removed) = (done.indexed, done.unchanged, done.removed);
            let (duplicates, refused, seconds) = (done.duplicates, std::mem::take(all), done.seconds);
            json("done", &Done { indexed, unchanged, removed, duplicates, refused, seconds })
        }
        None => {
            let (listed, listing_complete) = (progress.listed, progress.listing_complete);
            let (indexed, unchanged, removed) = (progress.indexed, progress.unchanged, progress.removed);
            json("progress", &Progress { listed, listing_complete, indexed, unchanged, removed, refused })
        }
    }
}

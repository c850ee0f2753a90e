//! `Images.Upsert`: a stream of pictures in, an answer for each once it is durable.
//!
//! 1. What has arrived is taken together, up to a batch; nobody waits for more.
//! 2. Each picture is fetched, hashed and decoded, or refused.
//! 3. The batch is written; where that fails for a picture's sake, each picture is written by itself.
//! 4. Answers go back in the order of the stream.

use super::app::{App, stopped};
use super::convert;
use super::proto::v1 as pb;
use super::proto::v1::upsert_request::Image;
use super::proto::v1::upsert_response::Outcome;
use super::room::Held;
use crate::engine::{Caller, Collection, NewItem};
use crate::error::{Error, Result};
use crate::types::ContentHash;
use prost::Message;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tracing::Instrument;

/// The most pictures, and bytes of them, that are written at once.
const BATCH: usize = 32;
const BATCH_BYTES: usize = 64 << 20;
/// As for captions in files beside images.
const MAX_CAPTIONS: usize = 100;
const MAX_CAPTION_BYTES: usize = 4096;
const MAX_KEY_BYTES: usize = 4096;
/// What stands before each message of a stream, in bytes.
const HEAD: usize = 5;
/// What the manifest says of items that did not come from a folder.
const SOURCE: &str = "upload:";

type Sender = mpsc::Sender<Result<pb::UpsertResponse, Status>>;

/// Takes `requests` until they end, the client leaves, or the server stops. What they take of the `room` for bodies is given back
/// when they are written.
pub fn start(
    app: App,
    requests: Streaming<pb::UpsertRequest>,
    room: Held,
) -> ReceiverStream<Result<pb::UpsertResponse, Status>> {
    let (answers, stream) = mpsc::channel(BATCH);
    let task = async move {
        if let Err(status) = run(app, requests, &answers, &room).await {
            _ = answers.send(Err(status)).await;
        }
    };
    tokio::spawn(task.in_current_span());
    ReceiverStream::new(stream)
}

async fn run(
    app: App,
    mut requests: Streaming<pb::UpsertRequest>,
    answers: &Sender,
    room: &Held,
) -> Result<(), Status> {
    let (mut index, mut collection) = (0, convert::DEFAULT_COLLECTION.to_owned());
    loop {
        let first = tokio::select! {
            message = requests.message() => message?,
            () = stopped(app.stopping.clone()) => {
                return Err(Status::unavailable("the server is stopping: what has no answer yet was not taken"));
            }
        };
        let Some(first) = first else { return Ok(()) };
        let mut bytes = size(&first);
        let mut batch = vec![first];
        // A broken stream is reported after what came before it has been written.
        let mut end = Ok(());
        while batch.len() < BATCH && bytes < BATCH_BYTES {
            let more = tokio::select! {
                biased;
                message = requests.message() => message,
                () = std::future::ready(()) => break,
            };
            match more {
                Ok(Some(message)) => {
                    bytes += size(&message);
                    batch.push(message);
                }
                Ok(None) => break,
                Err(status) => {
                    end = Err(status);
                    break;
                }
            }
        }
        let sent: usize = batch.iter().map(|request| request.encoded_len() + HEAD).sum();
        for part in by_collection(batch, &mut collection) {
            let (app, count) = (app.clone(), part.1.len() as u64);
            let outcomes = app.clone().work.run(None, move |_| write(&app, part)).await?;
            for (at, (key, outcome)) in (index..).zip(outcomes) {
                let answer = pb::UpsertResponse { index: at, key, outcome: Some(outcome) };
                if answers.send(Ok(answer)).await.is_err() {
                    return Ok(());
                }
            }
            index += count;
        }
        room.release(sent as u64);
        end?;
    }
}

/// Writes all of `requests`, a batch at a time: the key and the outcome of each, in order.
pub fn write_all(
    app: &App,
    collection: &str,
    requests: Vec<pb::UpsertRequest>,
    caller: &Caller,
) -> Result<Vec<(String, Outcome)>> {
    let mut outcomes = Vec::with_capacity(requests.len());
    let mut left = requests.into_iter().peekable();
    while left.peek().is_some() {
        // What is written stays, whoever leaves.
        caller.check()?;
        outcomes.extend(write(app, (collection.to_owned(), left.by_ref().take(BATCH).collect()))?);
    }
    Ok(outcomes)
}

fn size(request: &pb::UpsertRequest) -> usize {
    match &request.image {
        Some(Image::Bytes(bytes)) => bytes.len(),
        Some(Image::Uri(uri)) => uri.len(),
        None => 0,
    }
}

/// Runs of requests for one collection, each with its name; an empty name is that of the request before.
fn by_collection(
    batch: Vec<pb::UpsertRequest>,
    current: &mut String,
) -> Vec<(String, Vec<pb::UpsertRequest>)> {
    let mut parts: Vec<(String, Vec<pb::UpsertRequest>)> = vec![];
    for request in batch {
        if !request.collection.is_empty() {
            current.clone_from(&request.collection);
        }
        match parts.last_mut() {
            Some((name, part)) if name == current => part.push(request),
            _ => parts.push((current.clone(), vec![request])),
        }
    }
    parts
}

/// Writes requests of one collection: the key and the outcome of each. An error is one of all: no collection, no disk.
fn write(app: &App, (name, part): (String, Vec<pb::UpsertRequest>)) -> Result<Vec<(String, Outcome)>> {
    let collection = app.collection(&name)?;
    let mut outcomes: Vec<(String, Outcome)> = Vec::with_capacity(part.len());
    let mut ready: Vec<(usize, NewItem)> = vec![];
    for (at, request) in part.into_iter().enumerate() {
        let mut key = request.key.clone();
        match prepare(app, &collection, request, &mut key) {
            Ok(item) => {
                outcomes.push((key, accepted(0, item.pixels.is_none())));
                ready.push((at, item));
            }
            Err(error) if is_of_one(&error) => outcomes.push((key, refused(error))),
            Err(error) => return Err(error),
        }
    }
    let mut put = |at: usize, made| {
        if let Some((_, outcome)) = outcomes.get_mut(at) {
            *outcome = made;
        }
    };
    let places: Vec<(usize, bool)> = ready.iter().map(|(at, item)| (*at, item.pixels.is_none())).collect();
    let items: Vec<NewItem> = ready.into_iter().map(|(_, item)| item).collect();
    let copies: Vec<NewItem> = items.iter().map(again).collect();
    match collection.upsert(items) {
        Ok(ids) => {
            for ((at, duplicate), id) in places.into_iter().zip(ids) {
                put(at, accepted(id.0, duplicate));
            }
        }
        Err(error) if is_of_one(&error) => {
            for ((at, duplicate), item) in places.into_iter().zip(copies) {
                match collection.upsert(vec![item]) {
                    Ok(ids) => put(at, accepted(ids.first().map_or(0, |id| id.0), duplicate)),
                    Err(error) if is_of_one(&error) => put(at, refused(error)),
                    Err(error) => return Err(error),
                }
            }
        }
        Err(error) => return Err(error),
    }
    Ok(outcomes)
}

/// One picture as the engine takes it. `key` is set as soon as it is known.
fn prepare(
    app: &App,
    collection: &Collection,
    request: pb::UpsertRequest,
    key: &mut String,
) -> Result<NewItem> {
    let (bytes, homeless) = match request.image {
        Some(Image::Bytes(bytes)) => (bytes, true),
        Some(Image::Uri(uri)) => {
            let inside = uri.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"));
            if key.is_empty() && !inside {
                key.clone_from(&uri);
            }
            (app.sources.bytes(&uri, collection)?, inside || *key != uri)
        }
        None => return Err(Error::invalid("no image", "set bytes or uri")),
    };
    let hash = ContentHash::of(&bytes);
    if key.is_empty() {
        *key = format!("blake3:{hash}");
    }
    check(key, &request.captions)?;
    let mut item = NewItem {
        key: key.clone(),
        hash,
        size: bytes.len() as u64,
        width: 0,
        height: 0,
        format: String::new(),
        taken: None,
        exif: Default::default(),
        captions: request.captions,
        payload: request.payload.map(convert::payload).transpose()?.unwrap_or_default(),
        pixels: None,
        bytes: (homeless && app.keep_uploads).then(|| Arc::from(bytes.as_slice())),
        thumbnail: None,
        source: SOURCE.to_owned(),
        stamp: hash.to_string(),
    };
    if let Some(known) = collection.known(&hash)? {
        (item.width, item.height, item.format) = (known.width, known.height, known.format);
        (item.taken, item.exif) = (known.taken, known.exif);
        return Ok(item);
    }
    let decoded = app.engine.memory().decode(&bytes)?;
    item.pixels = Some(collection.prepare(&decoded.image)?);
    (item.width, item.height, item.format) = (decoded.width, decoded.height, decoded.format.to_owned());
    (item.taken, item.exif) = (decoded.taken, decoded.exif);
    Ok(item)
}

fn check(key: &str, captions: &[String]) -> Result<()> {
    if key.len() > MAX_KEY_BYTES {
        let what = format!("a key of {} bytes", key.len());
        return Err(Error::invalid(what, format!("keys have at most {MAX_KEY_BYTES}")));
    }
    if captions.len() > MAX_CAPTIONS || captions.iter().any(|c| c.len() > MAX_CAPTION_BYTES) {
        let fix = format!("an image has at most {MAX_CAPTIONS}, of at most {MAX_CAPTION_BYTES} bytes each");
        return Err(Error::invalid("too many captions, or too long a one", fix));
    }
    match captions.iter().any(|caption| caption.trim().is_empty()) {
        true => Err(Error::invalid("an empty caption", "leave it out")),
        false => Ok(()),
    }
}

/// The same item once more, for a second try.
fn again(item: &NewItem) -> NewItem {
    NewItem {
        key: item.key.clone(),
        hash: item.hash,
        size: item.size,
        width: item.width,
        height: item.height,
        format: item.format.clone(),
        taken: item.taken,
        exif: item.exif.clone(),
        captions: item.captions.clone(),
        payload: item.payload.clone(),
        pixels: item.pixels.clone(),
        bytes: item.bytes.clone(),
        thumbnail: item.thumbnail.clone(),
        source: item.source.clone(),
        stamp: item.stamp.clone(),
    }
}

fn accepted(id: u64, duplicate: bool) -> Outcome {
    Outcome::Accepted(pb::Accepted { id, duplicate })
}

fn refused(error: Error) -> Outcome {
    let status = convert::status(error);
    Outcome::Refused(pb::Refused { reason: status.message().to_owned(), code: status.code().into() })
}

/// Whether it is one picture's fault, so that the others can go on.
fn is_of_one(error: &Error) -> bool {
    matches!(
        error,
        Error::Image { .. }
            | Error::Vector { .. }
            | Error::Invalid { .. }
            | Error::Compute { .. }
            | Error::Forbidden { .. }
            | Error::Fetch { .. }
            | Error::GaveUp { .. }
            | Error::Io { .. }
    )
}

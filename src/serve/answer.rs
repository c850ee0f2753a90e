//! The service `Answer`: a question in, the answer's pieces out as they are written.
//!
//! 1. The request becomes a question; what is wrong with it is the call's own status, before any piece.
//! 2. The engine answers on a thread that may block; a client who leaves is noticed at once, and the engine told.
//! 3. Pieces go through a short channel: a slow client slows its own stream, and no other.

use super::app::App;
use super::convert;
use super::proto::v1 as pb;
use super::proto::v1::answer_server::Answer;
use super::proto::v1::ask_response::Part;
use super::work::deadline;
use crate::engine::{Caller, Collection};
use crate::error::Result;
use crate::types::{self, Ask, Ended, Told, Writing};
use std::pin::Pin;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};
use tracing::Instrument;

/// How many pieces wait for a client.
const WAITING: usize = 64;

/// The parts of an answer.
pub type Parts = Pin<Box<dyn Stream<Item = Result<pb::AskResponse, Status>> + Send>>;

type Sender = mpsc::Sender<Result<pb::AskResponse, Status>>;

#[tonic::async_trait]
impl Answer for App {
    type AskStream = Parts;

    async fn ask(&self, request: Request<pb::AskRequest>) -> Result<Response<Parts>, Status> {
        let deadline = deadline(request.metadata());
        Ok(Response::new(start(self.clone(), request.into_inner(), deadline).await?))
    }
}

/// Begins an answer.
///
/// # Errors
/// What goes wrong before its first part.
pub async fn start(app: App, request: pb::AskRequest, deadline: Option<Instant>) -> Result<Parts, Status> {
    let (parts, mut heard) = mpsc::channel(WAITING);
    let writing = async move {
        let (there, told) = (app.clone(), parts.clone());
        let work = app.work.run(deadline, move |caller| answer(&there, request, caller, &told));
        tokio::select! {
            // Dropping the work tells the engine that nobody waits.
            () = parts.closed() => {}
            done = work => {
                let last = done.map(|conclusion| part(Part::Conclusion(conclusion)));
                _ = parts.send(last).await;
            }
        }
    };
    // Its spans belong to the request, which may end before it.
    tokio::spawn(writing.in_current_span());
    match heard.recv().await {
        Some(Err(status)) => Err(status),
        first => Ok(Box::pin(tokio_stream::iter(first).chain(ReceiverStream::new(heard)))),
    }
}

fn answer(app: &App, request: pb::AskRequest, caller: &Caller, parts: &Sender) -> Result<pb::Conclusion> {
    let collection = app.collection(&request.collection)?;
    let ask = question(request, app, &collection)?;
    let mut tell = |told: Told| {
        let told = match told {
            Told::Text(text) => Part::Text(text),
            Told::Looking(images) => {
                Part::LookedAt(pb::LookedAt { images: images.into_iter().map(shown).collect() })
            }
        };
        if parts.blocking_send(Ok(part(told))).is_err() {
            caller.leave();
        }
    };
    collection.ask(&ask, caller, &mut tell).map(conclusion)
}

fn part(part: Part) -> pb::AskResponse {
    pb::AskResponse { part: Some(part) }
}

/// A question, with its URIs fetched: may take long.
fn question(request: pb::AskRequest, app: &App, collection: &Collection) -> Result<Ask> {
    let about = request.about.into_iter().enumerate();
    let about = about.map(|(at, term)| Ok(convert::term(at, term, app, collection)?.kind));
    let usual = Ask::new(request.question);
    Ok(Ask {
        about: Some(about.collect::<Result<Vec<_>>>()?).filter(|about| !about.is_empty()),
        limit: request.limit.map_or(usual.limit, |limit| limit as usize),
        filter: request.filter.map(convert::filter).transpose()?,
        min_match: request.match_threshold.unwrap_or(usual.min_match),
        unchecked: request.unchecked,
        writing: writing(request.writing.unwrap_or_default()),
        question: usual.question,
    })
}

fn writing(writing: pb::Writing) -> Writing {
    let usual = Writing::default();
    Writing {
        system: Some(writing.system).filter(|system| !system.trim().is_empty()),
        max_tokens: writing.max_tokens.map_or(usual.max_tokens, |most| most as usize),
        time: writing.time_limit_ms.map_or(usual.time, |ms| Duration::from_millis(ms.into())),
        temperature: writing.temperature.unwrap_or(usual.temperature),
        top_p: writing.top_p.unwrap_or(usual.top_p),
        seed: writing.seed,
        stop: writing.stop,
    }
}

fn number(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn shown(shown: types::Shown) -> pb::Shown {
    let (number, id) = (number(shown.number), shown.id.map(|id| id.0));
    pb::Shown { number, id, key: shown.key, score: shown.score, r#match: shown.matched }
}

fn conclusion(answer: types::Answer) -> pb::Conclusion {
    let finish = match answer.finish {
        Ended::Stop => pb::Finish::Stop,
        Ended::Length => pb::Finish::Length,
        Ended::Time => pb::Finish::Time,
        Ended::Unasked => pb::Finish::Unasked,
    };
    let cite = |cited: types::Citation| pb::Citation {
        id: cited.id.map(|id| id.0),
        key: cited.key,
        number: number(cited.number),
    };
    pb::Conclusion {
        citations: answer.citations.into_iter().map(cite).collect(),
        abstained: answer.abstained,
        answer: answer.text,
        token_ids: answer.token_ids,
        claim: answer.claim.map(|claim| pb::Claim { text: claim.text, r#match: claim.matched }),
        finish: finish.into(),
    }
}

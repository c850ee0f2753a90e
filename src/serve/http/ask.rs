//! `POST /v1/collections/{collection}/ask`: a question about the images, its answer told as it is written.

use super::extract::{Body, Path};
use super::failure::{Failure, Failures};
use super::filter::Filter;
use super::search::Term;
use super::sse::{StreamEvent, json};
use crate::error::Result;
use crate::serve::answer;
use crate::serve::app::App;
use crate::serve::proto::v1 as pb;
use crate::serve::proto::v1::ask_response::Part;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use tokio_stream::{Stream, StreamExt};
use tonic::Status;
use utoipa::ToSchema;

/// A question about the images.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Question {
    #[schema(pattern = r"\S")]
    question: String,
    /// How many images are looked at, at most: 1 to 64, 4 where absent.
    #[schema(minimum = 1, maximum = 64)]
    limit: Option<u32>,
    filter: Option<Filter>,
    /// Look at these images (in base64, by URI or by id; not words), in this order, and search for none.
    #[schema(max_items = 64)]
    #[serde(default)]
    about: Vec<Term>,
    /// Only images that match what the question is about with at least this probability, where there is a matcher; 0.5 where absent.
    #[schema(minimum = 0, maximum = 1)]
    match_threshold: Option<f32>,
    /// Tell the first answer as it comes, without holding what it claims against the images that it cites.
    #[serde(default)]
    unchecked: bool,
    /// The most tokens: 1 to 4096, 256 where absent.
    #[schema(minimum = 1, maximum = 4096)]
    max_tokens: Option<u32>,
    /// 0, or absent, takes the likeliest token each time; above, tokens are drawn.
    #[schema(minimum = 0, maximum = 10)]
    temperature: Option<f32>,
    /// With a temperature: tokens are drawn from the likeliest that have this probability together.
    #[schema(exclusive_minimum = 0, maximum = 1)]
    top_p: Option<f32>,
    /// With a temperature: what the draws follow from.
    #[serde(default)]
    seed: u64,
    /// What the model is told about its task.
    #[serde(default)]
    system: String,
    /// Strings that end the answer and are no part of it.
    #[serde(default)]
    stop: Vec<String>,
}

/// The images that are looked at: the data of the first event, called `looking`. Its list is empty where none fits the question.
#[derive(Serialize, ToSchema)]
pub struct Looking {
    looking: Vec<Shown>,
}

/// An image that is looked at.
#[derive(Serialize, ToSchema)]
pub struct Shown {
    /// Its number in the answer's `[1]`.
    number: u32,
    /// Null for an image that came with the question.
    id: Option<u64>,
    key: String,
    /// Cosine between the image and what the question is about; null where nothing was searched.
    score: Option<f32>,
    /// Probability that what the question is about fits the image; null where no matcher looked.
    r#match: Option<f32>,
}

/// A piece of the answer: the data of events called `text`.
#[derive(Serialize, ToSchema)]
pub struct Piece {
    piece: String,
}

/// The whole answer: the data of the last event, called `done`.
#[derive(Serialize, ToSchema)]
pub struct Answered {
    /// All pieces together.
    answer: String,
    citations: Vec<Cited>,
    /// Whether the images do not tell.
    abstained: bool,
    /// The tokens that the model wrote.
    token_ids: Vec<u32>,
    /// `stop`, `length`, `time`, or `unasked` where nothing fits the question.
    finish: &'static str,
    /// What a short answer claims of the images that it rests on; null where no matcher looked, and for answers that no caption would
    /// say.
    claim: Option<Claim>,
}

/// What an answer claims of the images that it rests on.
#[derive(Serialize, ToSchema)]
pub struct Claim {
    /// The answer, worded as a caption.
    text: String,
    /// The highest probability with which it fits one of them.
    r#match: f32,
}

/// An image that the answer rests on.
#[derive(Serialize, ToSchema)]
pub struct Cited {
    /// Null for an image that came with the question.
    id: Option<u64>,
    key: String,
    /// Its number in the answer's `[1]`.
    number: u32,
}

/// Answers a question from what the images show: events `looking`, then `text`, then one `done` or `error`. Leaving ends the
/// writing within one token.
#[utoipa::path(post, path = "/v1/collections/{collection}/ask", tag = "search",
    params(("collection" = String, Path)), request_body = Question,
    responses((status = 200, description = "Events", content_type = "text/event-stream", body = StreamEvent), Failures))]
pub async fn post(
    State(app): State<App>,
    Path(collection): Path<String>,
    Body(question): Body<Question>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    let time = app.timeout;
    let request = question.message(collection, u32::try_from(time.as_millis()).unwrap_or(u32::MAX))?;
    // Writing has its own limit of time: what is there by then is the answer.
    let parts = answer::start(app, request, None).await?;
    Ok(Sse::new(parts.filter_map(|part| event(part).map(Ok))).keep_alive(KeepAlive::default()))
}

impl Question {
    /// The same as a message.
    fn message(self, collection: String, time_limit_ms: u32) -> Result<pb::AskRequest> {
        let about = self.about.into_iter().enumerate().map(|(at, term)| term.message(at));
        Ok(pb::AskRequest {
            collection,
            question: self.question,
            limit: self.limit,
            filter: self.filter.map(Filter::message).transpose()?,
            about: about.collect::<Result<_>>()?,
            match_threshold: self.match_threshold,
            unchecked: self.unchecked,
            writing: Some(pb::Writing {
                max_tokens: self.max_tokens,
                time_limit_ms: Some(time_limit_ms),
                temperature: self.temperature,
                top_p: self.top_p,
                seed: self.seed,
                system: self.system,
                stop: self.stop,
            }),
        })
    }
}

fn event(part: Result<pb::AskResponse, Status>) -> Option<Event> {
    Some(match part.map(|response| response.part) {
        Err(status) => json("error", &Failure::from(status).body()),
        Ok(Some(Part::LookedAt(looked))) => {
            json("looking", &Looking { looking: looked.images.into_iter().map(Shown::from).collect() })
        }
        Ok(Some(Part::Text(piece))) => json("text", &Piece { piece }),
        Ok(Some(Part::Conclusion(conclusion))) => json("done", &Answered::from(conclusion)),
        Ok(None) => return None,
    })
}

impl From<pb::Shown> for Shown {
    fn from(shown: pb::Shown) -> Self {
        let pb::Shown { number, id, key, score, r#match } = shown;
        Shown { number, id, key, score, r#match }
    }
}

impl From<pb::Conclusion> for Answered {
    fn from(conclusion: pb::Conclusion) -> Self {
        let finish = match conclusion.finish() {
            pb::Finish::Unspecified | pb::Finish::Stop => "stop",
            pb::Finish::Length => "length",
            pb::Finish::Time => "time",
            pb::Finish::Unasked => "unasked",
        };
        let cite = |cited: pb::Citation| Cited { id: cited.id, key: cited.key, number: cited.number };
        Answered {
            answer: conclusion.answer,
            citations: conclusion.citations.into_iter().map(cite).collect(),
            abstained: conclusion.abstained,
            token_ids: conclusion.token_ids,
            finish,
            claim: conclusion.claim.map(|claim| Claim { text: claim.text, r#match: claim.r#match }),
        }
    }
}

//! `POST /v1/collections/{collection}/ask`.

use super::extract::{Body, Path};
use super::failure::{Failure, Failures};
use crate::serve::app::App;
use crate::serve::proto::v1 as pb;
use crate::serve::proto::v1::answer_server::Answer;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use tonic::Request;
use utoipa::ToSchema;

/// A question about the images.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Question {
    question: String,
    /// How many images may be looked at.
    limit: Option<u32>,
}

/// Answers a question about the images, where the server has a model that can.
#[utoipa::path(post, path = "/v1/collections/{collection}/ask", tag = "search",
    params(("collection" = String, Path)), request_body = Question, responses(Failures))]
pub async fn post(
    State(app): State<App>,
    Path(collection): Path<String>,
    Body(Question { question, limit }): Body<Question>,
) -> Result<StatusCode, Failure> {
    let asked = pb::AskRequest { collection, question, limit, ..pb::AskRequest::default() };
    app.ask(Request::new(asked)).await?;
    Ok(StatusCode::NO_CONTENT)
}

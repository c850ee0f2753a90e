//! How everything that goes wrong looks: a status, a code, and a message that says what to change.

use crate::error::Error;
use crate::serve::convert;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::time::Duration;
use tonic::Status;
use utoipa::{IntoResponses, ToSchema};

/// An answer that is no success.
#[derive(Debug)]
pub struct Failure {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry: Option<Duration>,
}

/// What every failure says.
#[derive(Serialize, ToSchema)]
pub struct ErrorBody {
    error: ErrorDetail,
}

/// Its code, for programs, and what to change, for people.
#[derive(Serialize, ToSchema)]
pub struct ErrorDetail {
    /// The gRPC code in lower case: `invalid_argument`, `not_found`, ...
    code: &'static str,
    /// What is wrong, and what would do.
    message: String,
}

/// What any call may come to.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "it is read by the description alone")]
pub enum Failures {
    /// The request is malformed, or an image cannot be decoded.
    #[response(status = 400)]
    Invalid(ErrorBody),
    /// No key, or an unknown one.
    #[response(status = 401)]
    Unauthenticated(ErrorBody),
    /// A key that may only read, a place that the server may not look into, or a page of another site.
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// No such collection or item.
    #[response(status = 404)]
    Missing(ErrorBody),
    /// The body took too long to come.
    #[response(status = 408)]
    Slow(ErrorBody),
    /// It is there already, or holds another model's vectors.
    #[response(status = 409)]
    Conflict(ErrorBody),
    /// The body is too long.
    #[response(status = 413)]
    Long(ErrorBody),
    /// The body is not of a type that is read.
    #[response(status = 415)]
    Type(ErrorBody),
    /// Too many requests wait; `Retry-After` says when to come back.
    #[response(status = 429)]
    Overloaded(ErrorBody),
    /// The store or the model failed: the operator must look.
    #[response(status = 500)]
    Broken(ErrorBody),
    /// A part of the API that this server does not have.
    #[response(status = 501)]
    Unsupported(ErrorBody),
    /// The server is stopping.
    #[response(status = 503)]
    Stopping(ErrorBody),
    /// It took longer than the server allows.
    #[response(status = 504)]
    Late(ErrorBody),
}

impl Failure {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Failure { status, code, message: message.into(), retry: None }
    }

    /// A request that cannot be read.
    pub fn malformed(status: StatusCode, what: impl Into<String>) -> Self {
        Failure::new(status, "invalid_argument", what)
    }

    /// A bug.
    pub fn broke() -> Self {
        let what = "this request broke the program: please report it";
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", what)
    }

    /// What it says.
    pub fn body(self) -> ErrorBody {
        ErrorBody { error: ErrorDetail { code: self.code, message: self.message } }
    }

    /// The same failure under another status.
    pub fn with_status(self, status: StatusCode) -> Self {
        Failure { status, ..self }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let (http, code) = convert::http_code(status.code());
        let retry = convert::retry_after(&status);
        Failure { status: http, code, message: status.message().to_owned(), retry }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        convert::status(error).into()
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, retry) = (self.status, self.retry);
        let mut response = (status, Json(self.body())).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(retry) = retry {
            // Whole seconds are all that the header knows.
            headers.insert(header::RETRY_AFTER, HeaderValue::from(retry.as_secs().max(1)));
        }
        response
    }
}

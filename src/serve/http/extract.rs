//! What requests bring: JSON bodies, query strings and parts of the path. What cannot be read is a [`Failure`] as all are.

use super::failure::Failure;
use crate::serve::auth::Access;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use tonic::Status;

/// A JSON body.
pub struct Body<T>(pub T);

/// The query string.
pub struct Query<T>(pub T);

/// The parts of the path.
pub struct Path<T>(pub T);

/// That the caller may change things; asked for before the body is read.
pub struct MayWrite;

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        match axum::Json::from_request(request, state).await {
            Ok(axum::Json(body)) => Ok(Body(body)),
            Err(JsonRejection::MissingJsonContentType(_)) => Err(Failure::malformed(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the body is read as JSON: send the header `content-type: application/json`",
            )),
            Err(JsonRejection::JsonDataError(e)) => {
                Err(Failure::malformed(StatusCode::BAD_REQUEST, e.body_text()))
            }
            Err(e) => Err(Failure::malformed(e.status(), e.body_text())),
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let read = axum::extract::Query::from_request_parts(parts, state).await;
        let failed = |e: QueryRejection| Failure::malformed(StatusCode::BAD_REQUEST, e.body_text());
        read.map(|axum::extract::Query(query)| Query(query)).map_err(failed)
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let read = axum::extract::Path::from_request_parts(parts, state).await;
        let failed = |e: PathRejection| Failure::malformed(StatusCode::BAD_REQUEST, e.body_text());
        read.map(|axum::extract::Path(path)| Path(path)).map_err(failed)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for MayWrite {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Failure> {
        Access::may_write(parts.extensions.get()).map(|()| MayWrite).map_err(|status: Status| status.into())
    }
}

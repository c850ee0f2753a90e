//! `/health` and `/metrics`: for those who watch the server.

use super::failure::{Failure, Failures};
use crate::serve::app::App;
use crate::serve::health::Health;
use crate::serve::metrics::{CONTENT_TYPE, Metrics};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// Whether the server does its work.
#[derive(Serialize, ToSchema)]
pub struct HealthBody {
    /// `serving` or `not_serving`.
    status: &'static str,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The program's version.
    version: &'static str,
}

/// Has each loaded model embed a word, and says whether that worked.
#[utoipa::path(get, path = "/health", tag = "watch",
    responses((status = 200, body = HealthBody), (status = 503, description = "It does not work", body = HealthBody)))]
pub async fn health(State(app): State<App>, Extension(health): Extension<Health>) -> Response {
    let version = env!("CARGO_PKG_VERSION");
    match health.check(&app).await {
        Ok(()) => Json(HealthBody { status: "serving", reason: None, version }).into_response(),
        Err(reason) => {
            let body = HealthBody { status: "not_serving", reason: Some(reason), version };
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}

/// What the server has done, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "watch",
    responses((status = 200, description = "OpenMetrics", content_type = "application/openmetrics-text", body = String), Failures))]
pub async fn metrics(Extension(metrics): Extension<Arc<Metrics>>) -> Result<Response, Failure> {
    // Not one of the places for work: whoever watches has to see most when there is most to do.
    let text = tokio::task::spawn_blocking(move || metrics.text()).await.map_err(|_| Failure::broke())?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

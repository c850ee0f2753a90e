//! The engine's verbs as JSON, pictures and a page, for browsers and curl.
//!
//! A request's journey:
//! 1. `listen`  takes connections, plain or TLS, bounds how many and how slow they are, and ends them when the server stops.
//! 2. `gate`    knows the caller by a key or a session's cookie, and turns away pages of other sites.
//! 3. `extract` reads bodies, queries and paths; `failure` is how everything that goes wrong looks.
//! 4. `collections`, `search`, `items`, `pictures` and `fields` are the resources, a file each. They make the messages of
//!    the gRPC services of what they read and go on as those do (`serve::convert`, `serve::work`), so that no rule stands twice.
//! 5. `page`    serves the files of `page/`, which are in the program.
//!
//! Not here: rules of queries, statuses of errors (`serve::convert`), how a picture is found (`serve::sources`).

mod collections;
mod extract;
mod failure;
mod fields;
mod filter;
mod gate;
mod items;
mod json;
pub(super) mod listen;
mod page;
mod pictures;
mod search;
mod thumbnails;

pub(super) use thumbnails::Thumbnails;

use super::app::App;
use super::auth::Keys;
use super::health::Health;
use super::settings::Settings;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, middleware};
use failure::Failure;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::RequestBodyTimeoutLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// How long a body may pause on its way.
const PAUSE: Duration = Duration::from_secs(30);

/// What pages of this server may do: nothing that did not come from it.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'self'; \
     frame-ancestors 'none'",
);

#[derive(OpenApi)]
#[openapi(
    info(title = "Eyeshot", description = "Find images by what they show."),
    components(schemas(failure::ErrorBody))
)]
struct Api;

/// Everything that is served.
pub(super) fn router(app: App, health: Health, settings: &Settings) -> Router {
    let keys = Arc::new(settings.keys.clone());
    let (guarded, mut api) = OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(collections::list, collections::create))
        .routes(routes!(collections::show, collections::delete))
        .routes(routes!(search::post, search::get))
        .routes(routes!(items::list))
        .routes(routes!(items::show, items::delete))
        .routes(routes!(pictures::image))
        .routes(routes!(pictures::thumbnail))
        .routes(routes!(fields::list))
        .split_for_parts();
    let (open, more) =
        OpenApiRouter::new().routes(routes!(gate::open_session, gate::close_session)).split_for_parts();
    api.merge(more);
    let described = Arc::new(serde_json::to_value(&api).unwrap_or_default());
    let guarded = guarded.route_layer(middleware::from_fn_with_state(keys.clone(), gate::admit));
    let fixed = |name, value| SetResponseHeaderLayer::if_not_present(name, value);
    let plain = |text| HeaderValue::from_static(text);
    guarded
        .merge(open.layer(axum::Extension(keys)))
        .route(
            "/v1/openapi.json",
            axum::routing::get(move || async move { Json(described.as_ref().clone()) }),
        )
        .with_state(app.clone())
        .route("/health", axum::routing::get(healthy).with_state((app, health)))
        .merge(page::router())
        .fallback(nowhere)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(settings.message_bytes))
        .layer(RequestBodyTimeoutLayer::new(PAUSE))
        .layer(middleware::from_fn_with_state(gate::Hosts::of(settings), gate::same_site))
        .layer(fixed(header::X_CONTENT_TYPE_OPTIONS, plain("nosniff")))
        .layer(fixed(header::CONTENT_SECURITY_POLICY, POLICY))
        .layer(fixed(header::REFERRER_POLICY, plain("no-referrer")))
        .layer(fixed(header::HeaderName::from_static("cross-origin-resource-policy"), plain("same-origin")))
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| Failure::broke().into_response()))
}

/// Whether the models answer: what an orchestrator asks.
async fn healthy(State((app, health)): State<(App, Health)>) -> Response {
    let version = env!("CARGO_PKG_VERSION");
    match health.check(&app).await {
        Ok(()) => Json(json!({ "status": "serving", "version": version })).into_response(),
        Err(error) => {
            let body = json!({ "status": "not_serving", "reason": error.to_string(), "version": version });
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}

async fn nowhere() -> Failure {
    Failure::new(StatusCode::NOT_FOUND, "not_found", "nothing is here: /v1/openapi.json lists what is")
}

async fn wrong_method() -> Failure {
    let what = "this cannot be done here: /v1/openapi.json lists the methods of each path";
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_argument", what)
}

/// That those who hold no key of the server's are turned away.
type SharedKeys = Arc<Keys>;

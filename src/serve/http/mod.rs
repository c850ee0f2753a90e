//! The engine's verbs as JSON, pictures and a page, for browsers and curl.
//!
//! A request's journey:
//! 1. `gate`    knows the caller by a key or a session's cookie, and turns away pages of other sites, but for those of `cors`.
//! 2. `extract` reads bodies, queries and paths; `failure` is how everything that goes wrong looks.
//! 3. `collections`, `search`, `ask`, `items`, `pictures`, `fields`, `upload`, `index` and `duplicates` are the resources, a file
//!    each. They make the messages of the gRPC services of what they read and go on as those do (`serve::convert`,
//!    `serve::work`), so that no rule stands twice. `watch` is for those who watch the server.
//! 4. `page`    serves the files of `page/`, which are in the program.
//!
//! Not here: rules of queries, statuses of errors (`serve::convert`), how a picture is found (`serve::sources`).

mod ask;
mod collections;
mod cors;
mod duplicates;
mod extract;
mod failure;
mod fields;
mod filter;
mod gate;
mod index;
mod items;
mod json;
mod page;
mod pictures;
mod search;
mod sse;
mod thumbnails;
mod upload;
mod watch;

pub(super) use failure::Failure;
pub(super) use thumbnails::Thumbnails;

use super::app::App;
use super::auth::Keys;
use super::health::Health;
use super::measure::{Meter, measure};
use super::pace;
use super::room::{self, Room};
use super::settings::Settings;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router, middleware};
use std::sync::Arc;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// What pages of this server may do: nothing that did not come from it.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'self'; \
     frame-ancestors 'none'",
);

#[derive(OpenApi)]
#[openapi(
    info(title = "Eyeshot", description = "Find images by what they show."),
    components(schemas(
        failure::ErrorBody,
        filter::Condition,
        filter::Scalar,
        filter::Range,
        filter::DatetimeRange,
        filter::GeoRadius
    )),
    modifiers(&Secrets),
    security((), ("bearer" = []), ("key" = []), ("session" = []))
)]
struct Api;

/// How callers show who they are, where the server asks.
struct Secrets;

impl Modify for Secrets {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let Some(components) = api.components.as_mut() else { return };
        let header = ApiKey::Header(ApiKeyValue::new("x-api-key"));
        let cookie = ApiKey::Cookie(ApiKeyValue::new(super::auth::COOKIE));
        components.add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        components.add_security_scheme("key", SecurityScheme::ApiKey(header));
        components.add_security_scheme("session", SecurityScheme::ApiKey(cookie));
    }
}

/// Everything that is served; `services` are those of gRPC, for browsers.
pub(super) fn router(
    app: App,
    health: Health,
    settings: &Settings,
    meter: Meter,
    services: Router,
    room: Room,
) -> Router {
    let keys = Arc::new(settings.keys.clone());
    let (guarded, mut api) = OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(collections::list, collections::create))
        .routes(routes!(collections::show, collections::delete))
        .routes(routes!(collections::flip))
        .routes(routes!(collections::drop_shadow))
        .routes(routes!(search::post, search::get))
        .routes(routes!(items::list, upload::post))
        .routes(routes!(items::show, items::delete))
        .routes(routes!(pictures::image))
        .routes(routes!(pictures::thumbnail))
        .routes(routes!(fields::list))
        .routes(routes!(duplicates::list))
        .routes(routes!(index::post))
        .routes(routes!(ask::post))
        .routes(routes!(watch::metrics))
        .split_for_parts();
    let (open, more) = OpenApiRouter::new()
        .routes(routes!(gate::open_session, gate::close_session))
        .routes(routes!(watch::health))
        .split_for_parts();
    api.merge(more);
    let described = Arc::new(serde_json::to_value(&api).unwrap_or_default());
    let guarded = guarded.route_layer(middleware::from_fn_with_state(keys.clone(), gate::admit));
    let fixed = |name, value| SetResponseHeaderLayer::if_not_present(name, value);
    let plain = |text| HeaderValue::from_static(text);
    let origins = cors::Origins::of(settings);
    let cors = tower::util::option_layer(origins.layer());
    let door = gate::Door { hosts: gate::Hosts::of(settings), origins };
    guarded
        .merge(open.layer(axum::Extension(keys)))
        .layer(axum::Extension(health))
        .layer(axum::Extension(meter.metrics.clone()))
        .route("/v1/openapi.json", get(move || async move { Json(described.as_ref().clone()) }))
        .with_state(app)
        .merge(page::router())
        .fallback(nowhere)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(meter, measure))
        .merge(services.reset_fallback().layer(tonic_web::GrpcWebLayer::new()))
        .layer(DefaultBodyLimit::max(settings.message_bytes))
        .layer(middleware::from_fn_with_state(settings.patience, pace::keep))
        // Outside the one before it, which no longer tells how long a body is.
        .layer(middleware::from_fn_with_state(room, room::enough))
        .layer(middleware::from_fn_with_state(door, gate::same_site))
        .layer(cors)
        .layer(fixed(header::X_CONTENT_TYPE_OPTIONS, plain("nosniff")))
        .layer(fixed(header::CONTENT_SECURITY_POLICY, POLICY))
        .layer(fixed(header::REFERRER_POLICY, plain("no-referrer")))
        .layer(fixed(header::HeaderName::from_static("cross-origin-resource-policy"), plain("same-origin")))
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| Failure::broke().into_response()))
}

async fn nowhere() -> Failure {
    Failure::new(StatusCode::NOT_FOUND, "not_found", "nothing is here: /v1/openapi.json lists what is")
}

async fn wrong_method() -> Failure {
    let what = "this cannot be done here: /v1/openapi.json lists the methods of each path";
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_argument", what)
}

/// The keys, as many requests read them.
type SharedKeys = Arc<Keys>;

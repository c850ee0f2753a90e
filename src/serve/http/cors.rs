//! Pages of other origins that the operator lets in: what browsers ask first (CORS), and whose requests are heard.
//!
//! They show a key, as any caller: a session's cookie stays with this server's own page.

use crate::serve::settings::Settings;
use axum::http::{HeaderName, HeaderValue, Method, header};
use std::sync::Arc;
use std::time::Duration;
use tower_http::cors::{AllowOrigin, CorsLayer};

/// How long a browser remembers what it was told.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// What callers send beside what any page may: keys, gRPC-web's headers, and the trace that they are part of.
const SENT: [&str; 8] = [
    "authorization",
    "content-type",
    "grpc-timeout",
    "traceparent",
    "tracestate",
    "x-api-key",
    "x-grpc-web",
    "x-user-agent",
];
/// What answers tell beside what any page sees.
const TOLD: [&str; 4] = ["grpc-message", "grpc-status", "grpc-status-details-bin", "retry-after"];

/// The origins that are let in.
#[derive(Clone, Default)]
pub struct Origins(Arc<[String]>);

impl Origins {
    pub fn of(settings: &Settings) -> Self {
        Origins(settings.cors.iter().map(|origin| origin.to_ascii_lowercase()).collect())
    }

    /// Whether pages of this origin may call.
    pub fn has(&self, origin: &str) -> bool {
        self.0.iter().any(|one| one == "*" || one.eq_ignore_ascii_case(origin))
    }

    /// What answers browsers; None where no other origin is let in.
    pub fn layer(&self) -> Option<CorsLayer> {
        let there = self.clone();
        let allowed =
            move |origin: &HeaderValue, _: &_| origin.to_str().is_ok_and(|origin| there.has(origin));
        let names = |names: &[&'static str]| -> Vec<HeaderName> {
            names.iter().map(|name| HeaderName::from_static(name)).collect()
        };
        let layer = CorsLayer::new()
            .allow_origin(AllowOrigin::predicate(allowed))
            .allow_methods([Method::GET, Method::POST, Method::DELETE])
            .allow_headers(names(&SENT))
            .expose_headers(names(&TOLD))
            .vary([header::ORIGIN])
            .max_age(REMEMBERED);
        (!self.0.is_empty()).then_some(layer)
    }
}

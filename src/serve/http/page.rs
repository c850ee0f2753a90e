//! The web page: the files of `page/`, which `build.rs` puts into the program.

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// What is shown at `/`.
const INDEX: &str = "index.html";

/// A route for each file, and one for the page.
pub fn router() -> Router {
    let mut router = Router::new();
    for (name, bytes) in FILES {
        let tag = format!("\"{}\"", blake3::hash(bytes).to_hex());
        let serve = get(move |headers: HeaderMap| async move { file(name, bytes, &tag, &headers) });
        if *name == INDEX {
            router = router.route("/", serve.clone());
        }
        router = router.route(&format!("/{name}"), serve);
    }
    router
}

fn file(name: &str, bytes: &'static [u8], tag: &str, headers: &HeaderMap) -> Response {
    // Asked for again each time, and sent only where it changed: a new version of the program is seen at once.
    let kept = [
        (header::ETAG, HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("\"\""))),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    match headers.get(header::IF_NONE_MATCH).is_some_and(|known| known == tag) {
        true => (StatusCode::NOT_MODIFIED, kept).into_response(),
        false => (kept, [(header::CONTENT_TYPE, kind(name))], bytes).into_response(),
    }
}

fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("json" | "map") => "application/json",
        Some("webmanifest") => "application/manifest+json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("webp") => "image/webp",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

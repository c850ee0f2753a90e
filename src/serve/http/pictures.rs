//! The pictures themselves: `.../items/{id}/image` and `.../thumbnail`.

use super::extract::{Path, Query};
use super::failure::{Failure, Failures};
use super::items::item;
use crate::engine::decode;
use crate::error::{Error, Result};
use crate::serve::app::App;
use crate::types::uri;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use utoipa::IntoParams;

/// A thumbnail's longer side where nobody says, and its bounds.
const SIZE: u32 = 320;
const SIZES: std::ops::RangeInclusive<u32> = 16..=2048;
/// Pictures are the caller's own, and change when their hash does.
const CACHED: HeaderValue = HeaderValue::from_static("private, max-age=3600");
/// Nothing in a picture may run.
const INERT: HeaderValue = HeaderValue::from_static("default-src 'none'; sandbox");

/// How large a thumbnail.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Size {
    /// The longer side in pixels, 16 to 2048; 320 where absent. Pictures are never enlarged.
    #[param(minimum = 16, maximum = 2048)]
    size: Option<u32>,
}

/// The file that was indexed, as it is.
#[utoipa::path(get, path = "/v1/collections/{collection}/items/{id}/image", tag = "items",
    params(("collection" = String, Path), ("id" = u64, Path)),
    responses((status = 200, description = "The file's bytes", content_type = "image/*", body = Vec<u8>),
        (status = 304, description = "As it was"),
        (status = 410, description = "It is gone, or has changed", body = super::failure::ErrorBody), Failures))]
pub async fn image(
    State(app): State<App>,
    Path((collection, id)): Path<(String, u64)>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let there = app.clone();
    let found = app.work.run(app.patience(), move |caller| {
        let collection = there.collection(&collection)?;
        let item = item(&collection, id)?;
        let tag = format!("\"{}\"", item.hash);
        if is_known(&headers, &tag) {
            return Ok(Ok((tag, item, None)));
        }
        let bytes = match there.sources.picture(&item, &collection, caller) {
            Ok(bytes) => bytes,
            Err(error) => return Ok(Err(missing(error))),
        };
        // What the file holds now is told from its bytes: it may have changed since it was indexed.
        let format = decode::open(&bytes, there.engine.memory().limits())?.facts.format;
        Ok(Ok((tag, item, Some((bytes, format)))))
    });
    let (tag, item, picture) = found.await??;
    let Some((bytes, format)) = picture else { return Ok(unchanged(tag)) };
    let name = utf8_percent_encode(&uri::file_name(&item.key), NON_ALPHANUMERIC).to_string();
    let shown = format!("inline; filename*=UTF-8''{name}");
    let headers = [(header::CONTENT_TYPE, format!("image/{format}")), (header::CONTENT_DISPOSITION, shown)];
    Ok((headers, kept(tag), Bytes::from(bytes)).into_response())
}

/// The picture made small, as JPEG.
#[utoipa::path(get, path = "/v1/collections/{collection}/items/{id}/thumbnail", tag = "items",
    params(("collection" = String, Path), ("id" = u64, Path), Size),
    responses((status = 200, description = "The small picture", content_type = "image/jpeg", body = Vec<u8>),
        (status = 304, description = "As it was"),
        (status = 410, description = "It is gone, or has changed", body = super::failure::ErrorBody), Failures))]
pub async fn thumbnail(
    State(app): State<App>,
    Path((collection, id)): Path<(String, u64)>,
    Query(Size { size }): Query<Size>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let there = app.clone();
    let found = app.work.run(app.patience(), move |caller| {
        let size = size.unwrap_or(SIZE);
        if !SIZES.contains(&size) {
            let fix = format!("it is from {} to {} pixels", SIZES.start(), SIZES.end());
            return Err(Error::invalid(format!("size {size}"), fix));
        }
        let collection = there.collection(&collection)?;
        let item = item(&collection, id)?;
        let tag = format!("\"{}-{size}\"", item.hash);
        if is_known(&headers, &tag) {
            return Ok(Ok((tag, None)));
        }
        let read = || there.sources.small(&item, &collection, size, caller);
        match there.thumbnails.get(item.hash, size, there.engine.memory(), read) {
            Ok(bytes) => Ok(Ok((tag, Some(bytes)))),
            Err(error) => Ok(Err(missing(error))),
        }
    });
    let (tag, bytes) = found.await??;
    let Some(bytes) = bytes else { return Ok(unchanged(tag)) };
    Ok(([(header::CONTENT_TYPE, "image/jpeg")], kept(tag), bytes).into_response())
}

/// What could be had once is gone, rather than not found; what this server may not read was never to be had here.
fn missing(error: Error) -> Failure {
    match &error {
        Error::Gone { .. } => {
            let what = format!("{error}: bring it back, or index its source again with prune");
            Failure::new(StatusCode::GONE, "not_found", what)
        }
        Error::Forbidden { .. } => Failure::from(error).with_status(StatusCode::NOT_FOUND),
        _ => error.into(),
    }
}

fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok()).unwrap_or_default();
    known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag)
}

fn kept(tag: String) -> [(header::HeaderName, HeaderValue); 3] {
    let tag = HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("\"\""));
    [(header::ETAG, tag), (header::CACHE_CONTROL, CACHED), (header::CONTENT_SECURITY_POLICY, INERT)]
}

fn unchanged(tag: String) -> Response {
    (StatusCode::NOT_MODIFIED, kept(tag)).into_response()
}

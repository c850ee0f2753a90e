//! Hears what a store says of waiting, which the library that asks it drops.

use super::super::patience::Pause;
use http::header::RETRY_AFTER;
use http::{Request, Response, StatusCode};
use opendal::{Buffer, HttpBody, HttpTransport, HttpTransporter};
use opendal_http_transport_reqwest::ReqwestTransport;
use std::sync::Arc;

/// The way that all requests go; `pause` is told of every `Retry-After`.
pub(super) fn transport(pause: Arc<Pause>) -> HttpTransporter {
    HttpTransporter::new(Heeding { inner: ReqwestTransport::default(), pause })
}

struct Heeding {
    inner: ReqwestTransport,
    pause: Arc<Pause>,
}

impl HttpTransport for Heeding {
    async fn fetch(&self, request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        let response = self.inner.fetch(request).await?;
        let busy = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
        if busy.contains(&response.status())
            && let Some(after) = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok())
        {
            self.pause.heed(after);
        }
        Ok(response)
    }
}

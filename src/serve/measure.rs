//! What stands around every request: it is counted, timed and, where asked, traced and logged when its answer has ended; and answers
//! that would never end do so when the server stops.

use super::app::stopped;
use super::convert;
use super::metrics::Metrics;
use super::trace;
use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::sync::watch;
use tonic::Code;
use tracing::{Instrument, Span};

/// The header and trailer that tells how a call ended.
const STATUS: &str = "grpc-status";

/// What is noted of requests, and of which.
#[derive(Clone)]
pub struct Meter {
    pub metrics: Arc<Metrics>,
    /// `http` or `grpc`.
    pub protocol: &'static str,
    /// Whether each request is a line on standard error.
    pub log: bool,
}

impl Meter {
    fn is_grpc(&self) -> bool {
        self.protocol == "grpc"
    }
}

/// Notes a request when its answer has ended.
pub async fn measure(State(meter): State<Meter>, request: Request, next: Next) -> Response {
    meter.metrics.began(meter.protocol);
    let path = request.uri().path().to_owned();
    let route = match request.extensions().get::<MatchedPath>() {
        Some(_) if meter.is_grpc() => path.trim_start_matches('/').to_owned(),
        Some(matched) => matched.as_str().to_owned(),
        None => "other".to_owned(),
    };
    let method = request.method().to_string();
    let known = request.extensions().get::<MatchedPath>().is_some().then_some(route.as_str());
    let span = match meter.is_grpc() {
        true => trace::of_grpc(&route, request.headers()),
        false => trace::of_http(&method, known, &path, request.headers()),
    };
    let inside = span.clone();
    let mut note = Note { meter, began: Instant::now(), method, path, route, status: None, span };
    let response = next.run(request).instrument(inside).await;
    note.status = match note.meter.is_grpc() {
        true => code(response.headers()),
        false => Some(response.status().as_u16().to_string()),
    };
    response.map(|body| Body::new(Noted { body, note }))
}

/// How a call ended, where headers or trailers say so.
fn code(headers: &HeaderMap) -> Option<String> {
    let code = headers.get(STATUS)?.as_bytes();
    Some(convert::http_code(Code::from_bytes(code)).1.to_owned())
}

/// What is known of a request; noted when dropped.
struct Note {
    meter: Meter,
    began: Instant,
    method: String,
    path: String,
    route: String,
    status: Option<String>,
    span: Span,
}

impl Drop for Note {
    fn drop(&mut self) {
        // Without a status, the client left before there was one.
        let status = self.status.as_deref().unwrap_or("cancelled");
        // Methods that are not there have as many names as callers think of.
        let route = if status == "unimplemented" { "other" } else { &self.route };
        let (protocol, took) = (self.meter.protocol, self.began.elapsed());
        self.meter.metrics.ended(protocol, route, status, took);
        trace::ended(&self.span, status, self.meter.is_grpc());
        if self.meter.log {
            let now = jiff::Timestamp::now();
            let line = serde_json::json!({
                "time": now.to_string(), "protocol": protocol, "method": self.method, "path": self.path,
                "status": status, "ms": (took.as_secs_f64() * 1e5).round() / 100.0,
            });
            eprintln!("{line}");
        }
    }
}

/// A body that knows how its call ended.
struct Noted {
    body: Body,
    note: Note,
}

impl HttpBody for Noted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        if let (true, Poll::Ready(Some(Ok(frame)))) = (this.note.meter.is_grpc(), &polled) {
            this.note.status = frame.trailers_ref().and_then(code).or(this.note.status.take());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Ends a call that would go on for ever when the server stops, so that the stop need not wait for it.
pub async fn until_stop(
    State(stopping): State<watch::Receiver<bool>>,
    request: Request,
    next: Next,
) -> Response {
    // Both ways: whoever reads the request goes on for as long as the client does.
    let until =
        |body, last| Body::new(Endless { body, stopped: Some(Box::pin(stopped(stopping.clone()))), last });
    let request = request.map(|body| until(body, None));
    let mut trailers = HeaderMap::new();
    trailers.insert(STATUS, HeaderValue::from(Code::Unavailable as i32));
    trailers.insert("grpc-message", HeaderValue::from_static("the server is stopping"));
    next.run(request).await.map(|body| until(body, Some(trailers)))
}

/// A stream that ends when the server stops.
struct Endless {
    body: Body,
    /// None once it has ended so.
    stopped: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// How an answer ends then.
    last: Option<HeaderMap>,
}

impl HttpBody for Endless {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let Some(stopped) = &mut this.stopped else { return Poll::Ready(None) };
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Pending if stopped.as_mut().poll(cx).is_ready() => {
                this.stopped = None;
                Poll::Ready(this.last.take().map(|last| Ok(Frame::trailers(last))))
            }
            polled => polled,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

//! A bound on the memory of bodies on their way in: each alone, and all together.

use super::failure::Failure;
use crate::serve::convert::overloaded;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_stream::StreamExt;

/// How long who sends too much may go on before being told.
const HEAR_OUT: Duration = Duration::from_secs(5);
/// Bodies up to this are free: connections are bounded, and so are they.
const SMALL: u64 = 64 << 10;
/// How many of the longest bodies there is room for.
const LONGEST: u64 = 8;
/// What is counted.
const PAGE: u64 = 1 << 10;

/// The memory for bodies.
#[derive(Clone)]
pub struct Room {
    longest: u64,
    pages: Arc<Semaphore>,
}

impl Room {
    /// Room for bodies of which none is longer than `longest`.
    pub fn for_bodies(longest: usize) -> Self {
        let longest = longest as u64;
        let pages = (longest.saturating_mul(LONGEST) / PAGE).clamp(1024, Semaphore::MAX_PERMITS as u64 / 2);
        Room { longest, pages: Arc::new(Semaphore::new(usize::try_from(pages).unwrap_or(usize::MAX))) }
    }
}

/// Turns away bodies that say they are too long, and those for which there is no room now.
pub async fn enough(State(room): State<Room>, request: Request, next: Next) -> Response {
    // One that does not say how long it is may be as long as any.
    let length = request.body().size_hint().exact().unwrap_or(room.longest);
    if length > room.longest {
        hear_out(request.into_body()).await;
        let what = format!(
            "a body of {length} bytes is over the length limit of {}: send less, or raise --max-message",
            room.longest
        );
        return Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "out_of_range", what).into_response();
    }
    if length <= SMALL {
        return next.run(request).await;
    }
    let pages = u32::try_from(length / PAGE).unwrap_or(u32::MAX);
    let Ok(_held) = room.pages.try_acquire_many(pages) else {
        hear_out(request.into_body()).await;
        let status = overloaded("too many long bodies at once", Duration::from_secs(1));
        return Failure::from(status).into_response();
    };
    next.run(request).await
}

/// Reads and drops what comes, for a while: a client that is still sending when the connection closes sees a broken pipe, and not
/// why.
async fn hear_out(body: Body) {
    let mut body = body.into_data_stream();
    let read = async { while body.next().await.is_some_and(|part| part.is_ok()) {} };
    _ = tokio::time::timeout(HEAR_OUT, read).await;
}

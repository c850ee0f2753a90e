//! A bound on the memory of bodies on their way in: each alone, and all together, over both protocols.
//!
//! 1. An HTTP body says how long it is: room for all of it is taken first, or it is turned away (`enough`).
//! 2. A gRPC call does not: it takes room as its bytes come (`count`), waits a while where there is none, and is given up then.
//! 3. Room is given back when the call has ended, or, in a stream of many messages, when one of them is done with ([`Held`]).

use super::convert::overloaded;
use super::http::Failure;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::error::Elapsed;
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
    /// How long a call waits for more of it.
    patience: Duration,
}

impl Room {
    /// Room for bodies of which none is longer than `longest`.
    pub fn for_bodies(longest: usize, patience: Duration) -> Self {
        let longest = longest as u64;
        let pages = (longest.saturating_mul(LONGEST) / PAGE).clamp(1024, Semaphore::MAX_PERMITS as u64 / 2);
        let pages = Arc::new(Semaphore::new(usize::try_from(pages).unwrap_or(usize::MAX)));
        Room { longest, pages, patience }
    }
}

/// Turns away bodies that say they are too long, and those for which there is no room now.
pub async fn enough(State(room): State<Room>, request: Request, next: Next) -> Response {
    let kind = request.headers().get(header::CONTENT_TYPE).map(|kind| kind.as_bytes());
    if kind.is_some_and(|kind| kind.starts_with(b"application/grpc")) {
        // Counted as it comes.
        return next.run(request).await;
    }
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
        return Failure::from(full()).into_response();
    };
    next.run(request).await
}

fn full() -> tonic::Status {
    overloaded("too many long bodies at once", Duration::from_secs(1))
}

/// Reads and drops what comes, for a while: a client that is still sending when the connection closes sees a broken pipe, and not
/// why.
async fn hear_out(body: Body) {
    let mut body = body.into_data_stream();
    let read = async { while body.next().await.is_some_and(|part| part.is_ok()) {} };
    _ = tokio::time::timeout(HEAR_OUT, read).await;
}

/// Has a call take room as its bytes come, until it has ended.
pub async fn count(State(room): State<Room>, mut request: Request, next: Next) -> Response {
    let held = Held::default();
    request.extensions_mut().insert(held.clone());
    let counted = |body| Body::new(Counted { body, room, held: held.clone(), wanted: None });
    let response = next.run(request.map(counted)).await;
    // What was sent may be at work while the answer is told.
    match held.lock().permit.is_some() {
        true => response.map(|body| Body::new(Answered { body, _held: held.clone() })),
        false => response,
    }
}

/// The room that one call has taken.
#[derive(Clone, Default)]
pub struct Held(Arc<Mutex<Taken>>);

#[derive(Default)]
struct Taken {
    bytes: u64,
    permit: Option<OwnedSemaphorePermit>,
}

impl Held {
    /// Says that so many of the bytes that came are done with.
    pub fn release(&self, bytes: u64) {
        let mut taken = self.lock();
        taken.bytes = taken.bytes.saturating_sub(bytes);
        let (wanted, has) = (pages(taken.bytes), taken.pages());
        if let Some(permit) = taken.permit.as_mut().filter(|_| wanted < has) {
            drop(permit.split(has - wanted));
        }
    }

    /// Notes bytes that came; how many pages they want beyond those that are there.
    fn came(&self, bytes: u64) -> usize {
        let mut taken = self.lock();
        taken.bytes += bytes;
        pages(taken.bytes).saturating_sub(taken.pages())
    }

    fn take(&self, more: OwnedSemaphorePermit) {
        let mut taken = self.lock();
        match &mut taken.permit {
            Some(permit) => permit.merge(more),
            none => *none = Some(more),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn pages(&self) -> usize {
        self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }
}

/// How many pages so many bytes want.
fn pages(bytes: u64) -> usize {
    usize::try_from(bytes.saturating_sub(SMALL).div_ceil(PAGE)).unwrap_or(usize::MAX)
}

type Wanted =
    Pin<Box<dyn Future<Output = Result<Result<OwnedSemaphorePermit, AcquireError>, Elapsed>> + Send>>;

/// A body that takes room for what came before it reads on.
struct Counted {
    body: Body,
    room: Room,
    held: Held,
    /// The room that it waits for.
    wanted: Option<Wanted>,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        if let Some(wanted) = &mut this.wanted {
            let Poll::Ready(came) = wanted.as_mut().poll(cx) else { return Poll::Pending };
            this.wanted = None;
            match came {
                Ok(Ok(permit)) => this.held.take(permit),
                Ok(Err(_)) | Err(_) => return Poll::Ready(Some(Err(axum::Error::new(full())))),
            }
        }
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        let Poll::Ready(Some(Ok(frame))) = &polled else { return polled };
        let more = this.held.came(frame.data_ref().map_or(0, |data| data.len() as u64));
        let pages = this.room.pages.clone();
        match u32::try_from(more) {
            Ok(0) => {}
            Ok(more) => match pages.clone().try_acquire_many_owned(more) {
                Ok(permit) => this.held.take(permit),
                // What came is passed on: it is there already. The next piece waits.
                Err(_) => {
                    let wanted = tokio::time::timeout(this.room.patience, pages.acquire_many_owned(more));
                    this.wanted = Some(Box::pin(wanted));
                }
            },
            Err(_) => return Poll::Ready(Some(Err(axum::Error::new(full())))),
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

/// An answer to a call whose room is given back after it.
struct Answered {
    body: Body,
    _held: Held,
}

impl HttpBody for Answered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn room(kib: usize) -> Room {
        let pages = Arc::new(Semaphore::new(kib));
        Room { longest: u64::MAX, pages, patience: Duration::from_millis(50) }
    }

    fn counted(room: &Room, pieces: usize) -> (Held, impl tokio_stream::Stream<Item = bool> + Unpin) {
        let held = Held::default();
        let pieces = vec![Ok::<Bytes, std::convert::Infallible>(vec![0; 64 << 10].into()); pieces];
        let body = Body::from_stream(tokio_stream::iter(pieces));
        let body = Counted { body, room: room.clone(), held: held.clone(), wanted: None };
        (held, Body::new(body).into_data_stream().map(|piece| piece.is_ok()))
    }

    #[tokio::test]
    async fn calls_share_the_room_and_give_it_back() {
        let room = room(256);
        let (first, mut body) = counted(&room, 4);
        while let Some(fine) = body.next().await {
            assert!(fine);
        }
        // A body holds what its call has taken, too.
        drop(body);
        assert_eq!(room.pages.available_permits(), 256 - 192, "all but what is free");
        let (second, mut body) = counted(&room, 3);
        assert!(body.next().await.unwrap() && body.next().await.unwrap(), "64 KiB were left");
        assert_eq!(room.pages.available_permits(), 0);
        assert!(body.next().await.unwrap(), "it is there already");
        let (_third, mut late) = counted(&room, 3);
        assert!(late.next().await.unwrap() && late.next().await.unwrap());
        assert!(!late.next().await.unwrap(), "nobody gave any back in time");
        first.release(128 << 10);
        assert_eq!(first.lock().pages(), 64);
        drop((first, second, body, late));
        assert_eq!(room.pages.available_permits(), 256);
    }
}

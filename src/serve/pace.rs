//! Bodies on their way in: whoever dawdles is given up, so that nobody holds a place for long by sending a byte now and then.

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// How much must come in a second, in the long run, in bytes: less than any line that pictures are sent over.
const RATE: u64 = 1 << 10;

/// Has the bodies of requests come at a pace: no pause is longer than `patience`, and what is slower than a trickle in the long
/// run ends as well.
pub async fn keep(State(patience): State<Duration>, request: Request, next: Next) -> Response {
    next.run(request.map(|body| Body::new(Paced::new(body, patience)))).await
}

/// The same for each message of a gRPC stream; between two of them there may be a pause of any length.
pub async fn keep_messages(State(patience): State<Duration>, request: Request, next: Next) -> Response {
    let paced = |body| Body::new(Paced { messages: Some(Messages::default()), ..Paced::new(body, patience) });
    next.run(request.map(paced)).await
}

/// A body that fails where it dawdles.
struct Paced {
    body: Body,
    patience: Duration,
    began: Instant,
    received: u64,
    due: Pin<Box<Sleep>>,
    /// Where in its messages it is, where there may be pauses between them.
    messages: Option<Messages>,
}

/// Where in a stream of messages, each behind a flag and its length in four bytes, what came so far ends.
#[derive(Default)]
struct Messages {
    head: Vec<u8>,
    left: u64,
}

impl Messages {
    /// The length of the head.
    const HEAD: usize = 5;

    fn came(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            if self.left == 0 {
                let (head, rest) = data.split_at((Self::HEAD - self.head.len()).min(data.len()));
                self.head.extend(head);
                data = rest;
                if let [_, length @ ..] = self.head.as_slice()
                    && let Ok(length) = <[u8; 4]>::try_from(length)
                {
                    self.left = u32::from_be_bytes(length).into();
                    self.head.clear();
                }
            } else {
                let here = self.left.min(data.len() as u64);
                self.left -= here;
                data = data.get(here as usize..).unwrap_or_default();
            }
        }
    }

    fn is_between(&self) -> bool {
        self.left == 0 && self.head.is_empty()
    }
}

impl Paced {
    fn new(body: Body, patience: Duration) -> Self {
        let began = Instant::now();
        let due = Box::pin(tokio::time::sleep_until(began + patience));
        Paced { body, patience, began, received: 0, due, messages: None }
    }

    fn came(&mut self, data: &[u8]) {
        if let Some(messages) = &mut self.messages {
            // Each message is timed by itself.
            if messages.is_between() {
                (self.began, self.received) = (Instant::now(), 0);
            }
            messages.came(data);
        }
        self.received += data.len() as u64;
        let due = self.next_due();
        self.due.as_mut().reset(due);
    }

    /// When the next piece has to be there.
    fn next_due(&self) -> Instant {
        let earned = Duration::from_millis(self.received.saturating_mul(1000) / RATE);
        (self.began + self.patience + earned).min(Instant::now() + self.patience)
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                if let Some(Ok(data)) = frame.as_ref().map(|frame| frame.as_ref().map(Frame::data_ref)) {
                    this.came(data.map_or(&[], |data| data));
                }
                Poll::Ready(frame)
            }
            Poll::Pending if this.messages.as_ref().is_some_and(Messages::is_between) => Poll::Pending,
            Poll::Pending => this.due.as_mut().poll(cx).map(|()| {
                Some(Err(axum::Error::new("the body came too slowly: send it faster, or in smaller pieces")))
            }),
        }
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
    use std::convert::Infallible;
    use tokio_stream::StreamExt;
    use tokio_stream::wrappers::ReceiverStream;

    /// Sends pieces of that many bytes, with that many milliseconds before each; true where all of them got through.
    async fn through(patience: u64, pieces: &[(u64, usize)]) -> bool {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let body = Body::from_stream(ReceiverStream::new(receiver).map(Ok::<Bytes, Infallible>));
        let pieces = pieces.to_vec();
        tokio::spawn(async move {
            for (pause, length) in pieces {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                _ = sender.send(vec![0; length].into()).await;
            }
        });
        let mut paced = Body::new(Paced::new(body, Duration::from_millis(patience))).into_data_stream();
        while let Some(piece) = paced.next().await {
            if piece.is_err() {
                return false;
            }
        }
        true
    }

    #[tokio::test]
    async fn who_dawdles_is_given_up() {
        let slow_line = [(100, 1000); 20];
        let trickle = [(100, 1); 20];
        let pauses = [(0, 100_000), (700, 5), (700, 5)];
        let stops = [(0, 100_000), (1500, 5)];
        let (line, earned, nothing, stopped, trickled) = tokio::join!(
            through(1000, &slow_line),
            through(1000, &pauses),
            through(1000, &[(1500, 5)]),
            through(1000, &stops),
            through(1000, &trickle),
        );
        assert!(line && earned, "two seconds of it, and two pauses that were earned");
        assert!(!nothing && !stopped, "nothing comes for longer than patience lasts");
        assert!(!trickled, "a byte now and then");
    }
}

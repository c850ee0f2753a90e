//! Events of a stream, as `text/event-stream` has them.

use axum::response::sse::Event;
use serde::Serialize;

/// The event `name`, whose data are JSON.
pub fn json(name: &str, data: &impl Serialize) -> Event {
    // Our own structs are always JSON.
    Event::default().event(name).json_data(data).unwrap_or_default()
}

//! Events of a stream, as `text/event-stream` has them.

use axum::response::sse::Event;
use serde::Serialize;
use utoipa::ToSchema;

/// The event `name`, whose data are JSON.
pub fn json(name: &str, data: &impl Serialize) -> Event {
    // Our own structs are always JSON.
    Event::default().event(name).json_data(data).unwrap_or_default()
}

/// One event of the stream, as the OpenAPI file has it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it only says what axum writes")]
pub struct StreamEvent {
    /// What kind of event it is, which says what its data are.
    event: String,
    /// JSON.
    data: String,
}

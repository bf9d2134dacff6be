//! What is recorded from now on, as server-sent events.

use std::convert::Infallible;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, StreamExt as _};
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

use super::Shared;

/// One event for each notice: its id is `release/number`, its data the notice as JSON. Who reads too slowly gets `missed`
/// with the count, and reads the release again.
pub(super) async fn events(
    State(shared): State<Shared>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let notices = BroadcastStream::new(shared.handle.notices());
    let events = notices.map(|notice| {
        Ok(match notice {
            Ok(notice) => {
                let id = format!("{}/{}", notice.release, notice.event.number);
                let data = serde_json::to_string(&notice).unwrap_or_default();
                Event::default().id(id).event("recorded").data(data)
            }
            Err(BroadcastStreamRecvError::Lagged(count)) => {
                Event::default().event("missed").data(count.to_string())
            }
        })
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

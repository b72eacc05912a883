//! What changes, as it changes: server-sent events.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    response::{
        Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_core::Stream;
use tokio::sync::watch;

use super::Shared;
use crate::Store;

/// How often the store is asked whether something changed, perhaps by another process.
const PERIOD: Duration = Duration::from_millis(250);

/// How many traces one event tells of.
const AT_ONCE: i64 = 200;

/// Tells whoever listens that something changed.
#[derive(Clone)]
pub(crate) struct Changes {
    last: watch::Sender<i64>,
}

impl Default for Changes {
    fn default() -> Self {
        Self { last: watch::Sender::new(0) }
    }
}

impl Changes {
    /// Watches the store until the runtime ends.
    pub(super) fn watch(&self, store: Store) {
        let last = self.last.clone();
        tokio::spawn(async move {
            loop {
                // Without listeners, nothing is asked.
                if last.receiver_count() > 0 {
                    let store = store.clone();
                    let now = tokio::task::spawn_blocking(move || store.last_change()).await;
                    if let Ok(Ok(now)) = now {
                        last.send_if_modified(|last| std::mem::replace(last, now) != now);
                    }
                }
                tokio::time::sleep(PERIOD).await;
            }
        });
    }
}

/// A stream of the traces that change, each event a list of them as lists show them.
pub(super) async fn stream(
    State(shared): State<Shared>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let seen = shared.store.last_change().unwrap_or(0);
    let events = Events { last: shared.changes.last.subscribe(), store: shared.store, seen };
    let stream = futures_util::stream::unfold(events, |mut events| async {
        loop {
            if let Some(event) = events.next().await {
                return Some((Ok(event), events));
            }
            events.last.changed().await.ok()?;
        }
    });
    Sse::new(stream).keep_alive(KeepAlive::default())
}

struct Events {
    last: watch::Receiver<i64>,
    store: Store,
    seen: i64,
}

impl Events {
    /// What changed since the last event.
    async fn next(&mut self) -> Option<Event> {
        let (store, seen) = (self.store.clone(), self.seen);
        let read = tokio::task::spawn_blocking(move || store.changed_since(seen, AT_ONCE)).await;
        let (traces, until) = read.ok()?.ok()?;
        self.seen = until;
        if traces.is_empty() {
            return None;
        }
        Event::default().event("traces").json_data(traces).ok()
    }
}

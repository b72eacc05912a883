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

use super::{Shared, blocking, query::Project};
use crate::{Store, store::Seen};

/// How often the store is asked whether something changed, perhaps by another process.
const PERIOD: Duration = Duration::from_millis(250);

/// How many traces one event tells of.
const AT_ONCE: i64 = 200;

/// Tells whoever listens that something changed.
#[derive(Clone)]
pub(crate) struct Changes {
    last: watch::Sender<Seen>,
}

impl Default for Changes {
    fn default() -> Self {
        Self { last: watch::Sender::new(Seen::default()) }
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
                    if let Ok(now) = blocking(move || store.last_change()).await {
                        last.send_if_modified(|last| std::mem::replace(last, now) != now);
                    }
                }
                tokio::time::sleep(PERIOD).await;
            }
        });
    }
}

/// A stream of the traces that change, of those that the client may know, each event a list of them as lists show them.
pub(super) async fn stream(
    State(shared): State<Shared>,
    project: Project,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let last = shared.changes.last.subscribe();
    let store = shared.store.clone();
    let seen = blocking(move || store.last_change()).await.unwrap_or_default();
    let events = Events { last, store: shared.store, project, seen };
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
    last: watch::Receiver<Seen>,
    store: Store,
    project: Project,
    seen: Seen,
}

impl Events {
    /// What changed since the last event. That traces were removed is told by an event without one.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let (store, seen) = (self.store.clone(), self.seen);
            let (mut traces, until) = blocking(move || store.changed_since(seen, AT_ONCE)).await.ok()?;
            if until == std::mem::replace(&mut self.seen, until) {
                return None;
            }
            traces.retain(|trace| self.project.has(&trace.project));
            if !traces.is_empty() || until.has_removals_since(seen) {
                return Event::default().event("traces").json_data(traces).ok();
            }
        }
    }
}

//! The intake: events on their way to the assembler.

use std::{
    sync::PoisonError,
    time::{Duration, Instant},
};

use super::record::Event;
use crate::sync::{Condvar, Mutex, MutexGuard, lock};

/// A queue whose reader is woken as rarely as will do: waking a thread costs its waker more than all else that
/// recording does. The first event wakes the reader, who then naps, and takes at once what has come by then.
#[derive(Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    events: Vec<Event>,
    /// Somebody waits for what the reader does.
    urgent: bool,
    napping: bool,
    closed: bool,
}

/// How long the reader lets events gather.
const NAP: Duration = Duration::from_millis(5);
/// How many events end a nap.
const MANY: usize = 1_024;

impl Inbox {
    /// `false` when nobody reads any more.
    pub(super) fn send(&self, event: Event) -> bool {
        let mut state = lock(&self.state);
        if state.closed {
            return false;
        }
        state.urgent |= matches!(event, Event::Flush(..) | Event::Stop(_));
        state.events.push(event);
        let enough = if state.napping { MANY } else { 1 };
        let wake = state.urgent || state.events.len() == enough;
        drop(state);
        if wake {
            self.wake.notify_one();
        }
        true
    }

    /// Waits for events, at most until `until`, and takes them all.
    pub(super) fn receive(&self, until: Option<Instant>) -> Vec<Event> {
        let mut state = self.sleep(lock(&self.state), until);
        if !state.events.is_empty() && !state.urgent {
            state.napping = true;
            let drowsy = |state: &mut State| !state.urgent && state.events.len() < MANY;
            let napped = self.wake.wait_timeout_while(state, NAP, drowsy);
            state = napped.unwrap_or_else(PoisonError::into_inner).0;
            state.napping = false;
        }
        state.urgent = false;
        std::mem::take(&mut state.events)
    }

    fn sleep<'a>(&self, mut state: MutexGuard<'a, State>, until: Option<Instant>) -> MutexGuard<'a, State> {
        while state.events.is_empty() {
            let Some(until) = until else {
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state
    }

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }

    /// Refuses whatever comes later, and gives back what nobody took.
    pub(super) fn close(&self) -> Vec<Event> {
        let mut state = lock(&self.state);
        state.closed = true;
        std::mem::take(&mut state.events)
    }
}

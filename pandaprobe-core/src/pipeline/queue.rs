//! Finished items that wait for delivery.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use backon::ExponentialBackoff;
use tokio::sync::Notify;

use super::budget::Charge;
use crate::{
    export::{Envelope, retry::backoff},
    model::TraceId,
    report::{DropReason, Reporter},
    sync::{Mutex, MutexGuard, lock},
};

/// Called once when what was waited for has come.
pub(crate) type Waiter = Box<dyn FnOnce() + Send>;

/// An item and what delivery has come to so far.
pub(super) struct Item {
    pub(super) envelope: Envelope,
    pub(super) first_attempt: Option<Instant>,
    pub(super) waits: ExponentialBackoff,
    number: u64,
    _charge: Charge,
}

/// The send queue. Items of one trace leave in order, one at a time; others overtake them while they wait.
pub(crate) struct Queue {
    most: usize,
    state: Mutex<State>,
    changed: Notify,
    reporter: Arc<Reporter>,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Item>,
    /// Items that failed, with the time of their next attempt.
    delayed: BTreeMap<u64, (Instant, Item)>,
    /// The same in order of time.
    due: BTreeSet<(Instant, u64)>,
    /// Bytes of what is ready or delayed.
    bytes: usize,
    /// Traces of which an item is under way or waits for its next attempt.
    busy: HashSet<TraceId>,
    /// Numbers of all items that were neither delivered nor dropped.
    outstanding: BTreeSet<u64>,
    waiting: Vec<(u64, Waiter)>,
    pause: Option<Pause>,
    next: u64,
    closed: bool,
}

/// Nothing leaves.
#[derive(Clone, Copy)]
struct Pause {
    since: Instant,
    until: Instant,
}

impl State {
    fn delay(&mut self, at: Instant, item: Item) {
        self.bytes += item.envelope.body().len();
        self.due.insert((at, item.number));
        self.delayed.insert(item.number, (at, item));
    }

    fn take_delayed(&mut self, number: u64) -> Option<Item> {
        let (at, item) = self.delayed.remove(&number)?;
        self.due.remove(&(at, number));
        self.bytes -= item.envelope.body().len();
        Some(item)
    }

    fn take_ready(&mut self, at: usize) -> Option<Item> {
        let item = self.ready.remove(at)?;
        self.bytes -= item.envelope.body().len();
        Some(item)
    }
}

impl Queue {
    pub(super) fn new(most: usize, reporter: Arc<Reporter>) -> Self {
        Self { most, state: Mutex::default(), changed: Notify::new(), reporter }
    }

    pub(super) fn push(&self, envelope: Envelope, charge: Charge) {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            return self.reporter.dropped(DropReason::Shutdown, 1, "an item was finished after the shutdown");
        }
        let number = state.next;
        state.next += 1;
        state.outstanding.insert(number);
        state.bytes += envelope.body().len();
        state.ready.push_back(Item {
            envelope,
            first_attempt: None,
            waits: backoff(),
            number,
            _charge: charge,
        });
        let full = state.ready.len() + state.delayed.len() > self.most;
        let paused = state.pause.is_some();
        drop(state);
        if full {
            self.drop_oldest();
        }
        // A sender that waits for better times need not hear of each item.
        if !paused {
            self.changed.notify_one();
        }
    }

    /// The next item that may leave now.
    pub(super) fn take(&self, now: Instant) -> Option<Item> {
        let mut state = self.lock();
        if state.pause.is_some_and(|pause| pause.until > now) {
            return None;
        }
        state.pause = None;
        if let Some((at, number)) = state.due.first().copied()
            && at <= now
        {
            return state.take_delayed(number);
        }
        let busy = &state.busy;
        let at = state.ready.iter().position(|item| !busy.contains(&item.envelope.trace_id()))?;
        let item = state.take_ready(at)?;
        state.busy.insert(item.envelope.trace_id());
        Some(item)
    }

    /// When to look again, if nothing changes before.
    pub(super) fn next_look(&self) -> Option<Instant> {
        let state = self.lock();
        // While everything waits, nothing that is due sooner matters.
        let pause = state.pause.map(|pause| pause.until);
        pause.or_else(|| state.due.first().map(|(at, _)| *at))
    }

    /// How many bytes can be had by dropping what waits.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Lets nothing leave for `wait`.
    pub(super) fn pause(&self, wait: Duration) {
        let since = Instant::now();
        let mut state = self.lock();
        let until = state.pause.map_or(since + wait, |pause| pause.until.max(since + wait));
        state.pause = Some(Pause { since, until });
    }

    /// Puts an item back that failed, to be tried again after `wait`.
    pub(super) fn delay(&self, item: Item, wait: Duration) {
        let at = Instant::now() + wait;
        let mut state = self.lock();
        if state.closed {
            drop(state);
            self.reporter.dropped(DropReason::Shutdown, 1, "an item was not delivered before the shutdown");
            return self.settle(item);
        }
        state.delay(at, item);
        drop(state);
        self.changed.notify_one();
    }

    /// The exporter answered an attempt that began at `begun`. A pause that began later stays.
    pub(super) fn answered(&self, begun: Instant) {
        let mut state = self.lock();
        if state.pause.is_some_and(|pause| pause.since <= begun) {
            state.pause = None;
        }
    }

    /// An item is delivered or given up.
    pub(super) fn finish(&self, item: Item) {
        self.settle(item);
        self.changed.notify_one();
    }

    fn settle(&self, item: Item) {
        let (id, number) = (item.envelope.trace_id(), item.number);
        // What it held is given back before anybody hears that it is settled.
        drop(item);
        let mut state = self.lock();
        state.busy.remove(&id);
        state.outstanding.remove(&number);
        wake(state);
    }

    /// Drops the oldest item that is not under way; `false` if there is none.
    pub(super) fn drop_oldest(&self) -> bool {
        let mut state = self.lock();
        let ready = state.ready.front().map_or(u64::MAX, |item| item.number);
        let delayed = state.delayed.keys().next().copied().unwrap_or(u64::MAX);
        let item = if delayed < ready {
            let item = state.take_delayed(delayed);
            item.inspect(|item| {
                state.busy.remove(&item.envelope.trace_id());
            })
        } else {
            state.take_ready(0)
        };
        let Some(item) = item else {
            return false;
        };
        let number = item.number;
        drop(state);
        drop(item);
        self.reporter.dropped(DropReason::QueueFull, 1, "the oldest waiting item made room for a newer one");
        let mut state = self.lock();
        state.outstanding.remove(&number);
        wake(state);
        true
    }

    /// Calls `waiter` once everything that is in the queue now is delivered or dropped.
    pub(super) fn when_settled(&self, waiter: Waiter) {
        let mut state = self.lock();
        let upto = state.next;
        state.waiting.push((upto, waiter));
        wake(state);
    }

    /// Refuses whatever comes later and drops what waits. How many items that are.
    pub(super) fn close(&self) -> u64 {
        let mut state = self.lock();
        state.closed = true;
        let state_ref = &mut *state;
        let delayed = std::mem::take(&mut state_ref.delayed).into_values().map(|(_, item)| item);
        let dropped: Vec<Item> = state_ref.ready.drain(..).chain(delayed).collect();
        state_ref.due.clear();
        state_ref.bytes = 0;
        let numbers: Vec<u64> = dropped.iter().map(|item| item.number).collect();
        let left = state.outstanding.len() as u64;
        drop(state);
        drop(dropped);
        if !numbers.is_empty() {
            let message = format!("{} items were not delivered before the shutdown", numbers.len());
            self.reporter.dropped(DropReason::Shutdown, numbers.len() as u64, message);
        }
        let mut state = self.lock();
        for number in numbers {
            state.outstanding.remove(&number);
        }
        wake(state);
        self.changed.notify_one();
        left
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(super) fn notify(&self) {
        self.changed.notify_one();
    }

    pub(super) fn len(&self) -> u64 {
        self.lock().outstanding.len() as u64
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Calls the waiters whose items are all settled, with the lock released.
fn wake(mut state: MutexGuard<'_, State>) {
    let oldest = state.outstanding.first().copied().unwrap_or(u64::MAX);
    let (due, rest): (Vec<_>, Vec<_>) =
        std::mem::take(&mut state.waiting).into_iter().partition(|(upto, _)| *upto <= oldest);
    state.waiting = rest;
    drop(state);
    for (_, waiter) in due {
        waiter();
    }
}

//! Finished items that wait for delivery.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

mod item;

pub(super) use item::Item;
use tokio::sync::Notify;

use super::{budget::Charge, recent::Recent};
use crate::{
    config::Overflow,
    export::{Envelope, Payload},
    model::TraceId,
    report::{DropReason, Reporter},
    spool::{Place, Spool},
    sync::{Mutex, MutexGuard, later, lock},
};

/// Called once when what was waited for has come; with `false` when there is no use in waiting.
pub(crate) type Waiter = Box<dyn FnOnce(bool) + Send>;

/// The send queue. Items of one trace leave in order, one at a time; others overtake them while they wait.
pub(crate) struct Queue {
    most: usize,
    overflow: Overflow,
    state: Mutex<State>,
    changed: Notify,
    end: Notify,
    spool: Option<Arc<Spool>>,
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
    /// How much of it is not on disk.
    in_memory: usize,
    /// Traces of which an item is under way or waits for its next attempt, and its number.
    busy: HashMap<TraceId, u64>,
    /// Numbers of all items that were neither delivered nor dropped.
    outstanding: BTreeSet<u64>,
    /// How many of them each trace has.
    of_trace: HashMap<TraceId, usize>,
    /// Traces that were dropped, and why: what depends on them has nowhere to go.
    lost: Recent<DropReason>,
    waiting: Vec<(Until, Waiter)>,
    pause: Option<Pause>,
    denied: Option<Denied>,
    next: u64,
    closed: bool,
}

/// What a waiter waits for.
#[derive(Clone, Copy)]
enum Until {
    /// All items of lower numbers are settled.
    Number(u64),
    /// All items of a trace are.
    Trace(TraceId),
}

/// Nothing leaves.
#[derive(Clone, Copy)]
struct Pause {
    since: Instant,
    until: Instant,
}

/// Whoever asks is refused. One item is under way at a time, to see whether that is still so.
#[derive(Clone, Copy)]
struct Denied {
    probe: Option<u64>,
}

impl State {
    /// One item is under way to see whether others may follow.
    fn is_probed(&self) -> bool {
        self.denied.is_some_and(|denied| denied.probe.is_some())
    }

    fn add(&mut self, item: &Item) {
        self.bytes += item.len();
        self.in_memory += usize::from(!item.is_spooled());
    }

    fn remove(&mut self, item: Item) -> Item {
        self.bytes -= item.len();
        self.in_memory -= usize::from(!item.is_spooled());
        item
    }

    fn delay(&mut self, at: Instant, item: Item) {
        self.add(&item);
        self.due.insert((at, item.number()));
        self.delayed.insert(item.number(), (at, item));
    }

    fn take_delayed(&mut self, number: u64) -> Option<Item> {
        let (at, item) = self.delayed.remove(&number)?;
        self.due.remove(&(at, number));
        Some(self.remove(item))
    }

    fn take_ready(&mut self, at: usize) -> Option<Item> {
        let item = self.ready.remove(at)?;
        Some(self.remove(item))
    }

    fn take_next(&mut self, now: Instant) -> Option<Item> {
        if let Some((at, number)) = self.due.first().copied()
            && at <= now
        {
            return self.take_delayed(number);
        }
        let busy = &self.busy;
        let at = self.ready.iter().position(|item| !busy.contains_key(&item.envelope.trace_id()))?;
        let item = self.take_ready(at)?;
        self.busy.insert(item.envelope.trace_id(), item.number());
        Some(item)
    }

    /// Takes the oldest item of a kind that is not under way.
    fn take_oldest(&mut self, of: impl Fn(&Item) -> bool) -> Option<Item> {
        let ready = self.ready.iter().position(&of);
        let delayed = self.delayed.values().map(|(_, item)| item).find(|item| of(item));
        let number = |at: usize| self.ready.get(at).map_or(u64::MAX, Item::number);
        match (ready, delayed.map(Item::number)) {
            (at, Some(delayed)) if at.is_none_or(|at| delayed < number(at)) => self.take_delayed(delayed),
            (at, _) => self.take_ready(at?),
        }
    }

    /// Takes what waits of a trace that is lost.
    fn take_all_of(&mut self, id: TraceId) -> Vec<Item> {
        let delayed = self.delayed.values().filter(|(_, item)| item.envelope.trace_id() == id);
        let delayed: Vec<u64> = delayed.map(|(_, item)| item.number()).collect();
        let mut all: Vec<Item> = delayed.into_iter().filter_map(|number| self.take_delayed(number)).collect();
        let (lost, ready): (VecDeque<Item>, VecDeque<Item>) =
            std::mem::take(&mut self.ready).into_iter().partition(|item| item.envelope.trace_id() == id);
        self.ready = ready;
        all.extend(lost.into_iter().map(|item| self.remove(item)));
        all
    }
}

impl Queue {
    pub(super) fn new(
        most: usize,
        overflow: Overflow,
        spool: Option<Arc<Spool>>,
        reporter: Arc<Reporter>,
    ) -> Self {
        Self {
            most,
            overflow,
            state: Mutex::default(),
            changed: Notify::new(),
            end: Notify::new(),
            spool,
            reporter,
        }
    }

    pub(super) fn spool(&self) -> Option<&Spool> {
        self.spool.as_deref()
    }

    pub(super) fn overflow(&self) -> Overflow {
        self.overflow
    }

    /// Takes an item in: to the disk, if there is a spool, else at the charge of what it holds.
    pub(super) fn push(&self, envelope: Envelope, mut charge: Charge) {
        if let Some(place) = self.spool().and_then(|spool| spool.append(&envelope)) {
            // It is the disk's now.
            drop(charge);
            return self.push_spooled(envelope.without_body(), place);
        }
        if charge.grow(envelope.body().len()) {
            self.push_at(envelope, None, charge);
        } else {
            let message = "a finished item did not fit into max_buffered_bytes";
            self.refuse(&envelope, DropReason::BufferFull, message);
        }
    }

    /// Takes in an item that is on disk.
    pub(super) fn push_spooled(&self, envelope: Envelope, place: Place) {
        self.push_at(envelope, Some(place), Charge::default());
        while self.spool().is_some_and(Spool::is_full)
            && self.drop_oldest_of(DropReason::SpoolFull, Item::is_spooled)
        {}
    }

    pub(super) fn push_at(&self, envelope: Envelope, place: Option<Place>, charge: Charge) {
        let mut state = self.lock();
        let id = envelope.trace_id();
        let full = place.is_none() && state.in_memory >= self.most;
        let refused = match state.lost.get(id) {
            _ if state.closed => Some((DropReason::Shutdown, "an item was finished after the shutdown")),
            Some(reason) => Some((reason, "what belongs to a trace that was dropped")),
            None if full && self.overflow == Overflow::DropNewest => {
                Some((DropReason::QueueFull, "there was no room for a finished item"))
            }
            None => None,
        };
        if let Some((reason, message)) = refused {
            let is_closed = state.closed;
            drop(state);
            return match (place, self.spool()) {
                // The next client that uses the spool delivers it.
                (Some(_), _) if is_closed => {}
                (Some(place), Some(spool)) => {
                    spool.done(place);
                    self.refuse(&envelope, reason, message);
                }
                _ => self.refuse(&envelope, reason, message),
            };
        }
        let number = state.next;
        state.next += 1;
        state.outstanding.insert(number);
        *state.of_trace.entry(id).or_default() += 1;
        let item = Item::new(number, envelope, place, charge);
        state.add(&item);
        state.ready.push_back(item);
        let paused = state.pause.is_some();
        drop(state);
        if full && self.overflow == Overflow::DropOldest {
            self.drop_oldest_of(DropReason::QueueFull, |item| !item.is_spooled());
        }
        // A sender that waits for better times need not hear of each item.
        if !paused {
            self.changed.notify_one();
        }
    }

    /// Counts an item that never came in, and what depends on it.
    pub(super) fn refuse(&self, envelope: &Envelope, reason: DropReason, message: impl Into<String>) {
        let dependents = match envelope.payload() {
            Payload::Trace => self.lose(envelope.trace_id(), reason),
            _ => Vec::new(),
        };
        self.dropped(dependents, 1, reason, message);
    }

    /// The next item that may leave now.
    pub(super) fn take(&self, now: Instant) -> Option<Item> {
        let mut state = self.lock();
        if state.is_probed() || state.pause.is_some_and(|pause| pause.until > now) {
            return None;
        }
        state.pause = None;
        let item = state.take_next(now)?;
        // There may be something for others to do.
        if !state.ready.is_empty() || !state.due.is_empty() {
            self.changed.notify_one();
        }
        if let Some(denied) = &mut state.denied {
            denied.probe = Some(item.number());
        }
        Some(item)
    }

    /// When to look again, if nothing changes before.
    pub(super) fn next_look(&self) -> Option<Instant> {
        let state = self.lock();
        if state.is_probed() {
            return None;
        }
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
        let until = state.pause.map_or(later(wait), |pause| pause.until.max(later(wait)));
        state.pause = Some(Pause { since, until });
    }

    /// Lets one item at a time leave, after `wait`: until one gets through there is no use in waiting.
    pub(super) fn deny(&self, wait: Duration) {
        self.pause(wait);
        let mut state = self.lock();
        state.denied.get_or_insert(Denied { probe: None });
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(|(_, waiter)| waiter(false));
    }

    /// Puts an item back that failed, to be tried again after `wait`.
    pub(super) fn delay(&self, mut item: Item, wait: Duration) {
        item.unload();
        let at = later(wait);
        let mut state = self.lock();
        if state.closed {
            drop(state);
            return self.give_up(item, DropReason::Shutdown, "an item was not delivered before the shutdown");
        }
        end_probe(&mut state, item.number());
        state.delay(at, item);
        drop(state);
        self.changed.notify_one();
    }

    /// The exporter took an attempt that began at `begun`. A pause that began later stays.
    pub(super) fn answered(&self, begun: Instant) {
        let mut state = self.lock();
        if state.pause.is_none_or(|pause| pause.since <= begun) {
            state.pause = None;
            state.denied = None;
        }
    }

    /// An item is delivered.
    pub(super) fn finish(&self, item: Item) {
        self.settle(vec![item], false);
        self.changed.notify_one();
    }

    /// An item that was under way is dropped, and what depends on it.
    pub(super) fn give_up(&self, item: Item, reason: DropReason, message: impl Into<String>) {
        let mut dropped = match item.envelope.payload() {
            Payload::Trace => self.lose(item.envelope.trace_id(), reason),
            _ => Vec::new(),
        };
        dropped.push(item);
        self.dropped(dropped, 0, reason, message);
        self.changed.notify_one();
    }

    /// Takes what waits of a trace that is lost, and lets nothing of it in from now on.
    fn lose(&self, id: TraceId, reason: DropReason) -> Vec<Item> {
        let mut state = self.lock();
        state.lost.insert(id, reason);
        // The trace itself is one that is not settled yet.
        if state.of_trace.get(&id).is_some_and(|items| *items > 1) {
            state.take_all_of(id)
        } else {
            Vec::new()
        }
    }

    /// Items are no longer the queue's, nor the spool's unless they `stay` there.
    fn settle(&self, items: Vec<Item>, stay: bool) {
        if let (Some(spool), false) = (self.spool(), stay) {
            items.iter().filter_map(Item::place).for_each(|place| spool.done(place));
        }
        let settled: Vec<_> = items.iter().map(|item| (item.envelope.trace_id(), item.number())).collect();
        // What they held is given back before anybody hears that they are settled.
        drop(items);
        let mut state = self.lock();
        for (id, number) in settled {
            if state.busy.get(&id) == Some(&number) {
                state.busy.remove(&id);
            }
            state.outstanding.remove(&number);
            end_probe(&mut state, number);
            if let Some(left) = state.of_trace.get_mut(&id) {
                *left -= 1;
                if *left == 0 {
                    state.of_trace.remove(&id);
                }
            }
        }
        wake(state);
    }

    fn dropped(&self, items: Vec<Item>, more: u64, reason: DropReason, message: impl Into<String>) {
        // What is on disk when the process ends is not lost.
        let stays = |item: &Item| reason == DropReason::Shutdown && item.is_spooled();
        let (staying, dropped): (Vec<Item>, Vec<Item>) = items.into_iter().partition(stays);
        let count = dropped.len() as u64 + more;
        if count > 0 {
            self.reporter.dropped(reason, count, message);
        }
        self.settle(dropped, false);
        self.settle(staying, true);
    }

    /// Drops the oldest item of at least so many bytes that is not under way, with what depends on it; `false` if there is none.
    pub(super) fn drop_oldest(&self, bytes: usize) -> bool {
        self.drop_oldest_of(DropReason::QueueFull, |item| item.len() >= bytes.max(1))
    }

    fn drop_oldest_of(&self, reason: DropReason, of: impl Fn(&Item) -> bool) -> bool {
        let Some(item) = self.lock().take_oldest(of) else {
            return false;
        };
        self.give_up(item, reason, "the oldest waiting item made room for a newer one");
        true
    }

    /// Calls `waiter` once everything that is in the queue now is delivered or dropped.
    pub(super) fn when_settled(&self, waiter: Waiter) {
        let upto = Until::Number(self.lock().next);
        self.wait_until(upto, waiter);
    }

    /// Calls `waiter` once everything of a trace is delivered or dropped.
    pub(super) fn when_trace_settled(&self, id: TraceId, waiter: Waiter) {
        self.wait_until(Until::Trace(id), waiter);
    }

    fn wait_until(&self, until: Until, waiter: Waiter) {
        let mut state = self.lock();
        if state.denied.is_some() && !is_over(&state, until) {
            drop(state);
            return waiter(false);
        }
        state.waiting.push((until, waiter));
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
        (state_ref.bytes, state_ref.in_memory) = (0, 0);
        let left = state.outstanding.len() as u64;
        drop(state);
        if !dropped.is_empty() {
            let message = "items were not delivered before the shutdown";
            self.dropped(dropped, 0, DropReason::Shutdown, message);
        }
        self.changed.notify_one();
        self.end.notify_one();
        left
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Waits until it is closed.
    pub(super) async fn closed(&self) {
        while !self.is_closed() {
            self.end.notified().await;
        }
    }

    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(super) fn len(&self) -> u64 {
        self.lock().outstanding.len() as u64
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn end_probe(state: &mut State, number: u64) {
    if let Some(denied) = &mut state.denied
        && denied.probe == Some(number)
    {
        denied.probe = None;
    }
}

fn is_over(state: &State, until: Until) -> bool {
    match until {
        Until::Number(upto) => state.outstanding.first().is_none_or(|oldest| upto <= *oldest),
        Until::Trace(id) => !state.of_trace.contains_key(&id),
    }
}

/// Calls the waiters whose items are all settled, with the lock released.
fn wake(mut state: MutexGuard<'_, State>) {
    let waiting = std::mem::take(&mut state.waiting);
    let (due, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(until, _)| is_over(&state, *until));
    state.waiting = rest;
    drop(state);
    for (_, waiter) in due {
        waiter(true);
    }
}

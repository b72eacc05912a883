//! The thread that calls the exporter.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    Settings, own_thread,
    pack::Packer,
    queue::{Item, Queue},
};
use crate::{
    export::{
        ExportError, Exporter,
        retry::{Waits, waits},
    },
    report::{DropReason, ReportKind, Reporter},
    sync::{Mutex, later, lock},
};

pub(super) struct Sender {
    settings: Settings,
    packer: Packer,
    exporter: Arc<dyn Exporter>,
    queue: Arc<Queue>,
    reporter: Arc<Reporter>,
    under_way: AtomicUsize,
    failing: Mutex<Failing>,
}

impl Sender {
    pub(super) fn new(
        settings: Settings,
        exporter: Arc<dyn Exporter>,
        queue: Arc<Queue>,
        reporter: Arc<Reporter>,
    ) -> Self {
        let packer = Packer::new(&settings.gate, &reporter);
        Self {
            settings,
            packer,
            exporter,
            queue,
            reporter,
            under_way: AtomicUsize::default(),
            failing: Mutex::default(),
        }
    }

    pub(super) fn run(self) {
        own_thread();
        let this = Arc::new(self);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(this.work()),
            Err(error) => {
                let message = format!("the sender's runtime could not be made: {error}");
                this.reporter.report(ReportKind::Panicked, message);
                this.queue.close();
            }
        }
    }

    async fn work(self: &Arc<Self>) {
        while !self.queue.is_closed() {
            self.start_what_is_due();
            let idle = later(self.settings.flush_interval);
            // With all hands full, only the end of an attempt matters, and that is told.
            let look = if self.is_full() { None } else { self.queue.next_look() };
            let until = look.map_or(idle, |look| look.min(idle));
            let _ = tokio::time::timeout_at(until.into(), self.queue.changed()).await;
        }
    }

    fn start_what_is_due(self: &Arc<Self>) {
        for _ in 0..self.settings.batch_size {
            let Some(item) = self.next() else {
                return;
            };
            tokio::spawn(Attempt::new(self, item).run());
        }
        // There may be more.
        self.queue.notify();
    }

    /// An item that may leave now, if a hand is free.
    fn next(&self) -> Option<Item> {
        if self.is_full() {
            return None;
        }
        let item = self.queue.take(Instant::now())?;
        self.under_way.fetch_add(1, Ordering::Relaxed);
        Some(item)
    }

    fn is_full(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) >= self.settings.max_in_flight
    }

    fn conclude(&self, mut item: Item, attempt: Instant, result: Result<(), ExportError>) {
        match result {
            Ok(()) => {
                *lock(&self.failing) = Failing::default();
                self.queue.answered(attempt);
                if item.advance() {
                    return self.queue.delay(item, Duration::ZERO);
                }
                self.reporter.delivered.fetch_add(1, Ordering::Relaxed);
                self.queue.finish(item);
            }
            Err(ExportError::Rejected { message }) => {
                self.queue.give_up(item, DropReason::Rejected, message);
            }
            Err(ExportError::TooLong { message }) => {
                let parts = self.packer.halves(&item.envelope);
                if parts.is_empty() {
                    return self.queue.give_up(item, DropReason::Rejected, message);
                }
                item.replace(parts);
                self.queue.delay(item, Duration::ZERO);
                self.reporter.report(ReportKind::Retrying, message);
            }
            Err(ExportError::Denied { message }) => {
                // It is not the item's fault, and its time does not run.
                item.first_attempt = None;
                self.queue.deny(self.settings.probe_interval);
                self.queue.delay(item, Duration::ZERO);
                self.reporter.report(ReportKind::Denied, message);
            }
            Err(ExportError::Retry { message, after, everything }) => {
                let backoff = item.waits.next().unwrap_or(LONGEST_WAIT);
                let wait = after.unwrap_or(backoff).min(LONGEST_WAIT);
                if everything {
                    self.pause(after);
                }
                let begun = *item.first_attempt.get_or_insert(attempt);
                // What is on disk can wait for the backend, but not for what nothing will come of.
                let can_wait = everything && item.is_spooled();
                if begun.elapsed() + wait > self.settings.retry_deadline && !can_wait {
                    return self.queue.give_up(item, DropReason::RetriesExhausted, message);
                }
                self.queue.delay(item, wait);
                self.reporter.report(ReportKind::Retrying, message);
            }
        }
    }
}

impl Sender {
    /// Lets nothing leave for as long as the backend asks, or once nothing has got through for a while.
    fn pause(&self, asked: Option<Duration>) {
        let pause = asked.or_else(|| lock(&self.failing).again(self.settings.max_in_flight));
        if let Some(pause) = pause {
            self.queue.pause(pause.min(LONGEST_WAIT));
        }
    }
}

/// Failures that were not about an item, since something was delivered.
struct Failing {
    count: usize,
    waits: Waits,
}

impl Failing {
    /// One more: how long everything waits then. One that fails among others that are delivered holds up nothing but itself.
    fn again(&mut self, round: usize) -> Option<Duration> {
        self.count += 1;
        let all_of_a_round = self.count.is_multiple_of(round);
        if all_of_a_round { self.waits.next() } else { None }
    }
}

impl Default for Failing {
    fn default() -> Self {
        Self { count: 0, waits: waits() }
    }
}

/// However long an exporter asks to wait.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// One attempt to deliver. If the exporter panics, its drop puts the item back.
struct Attempt {
    sender: Arc<Sender>,
    begun: Instant,
    item: Option<Item>,
}

impl Attempt {
    fn new(sender: &Arc<Sender>, item: Item) -> Self {
        Self { sender: Arc::clone(sender), begun: Instant::now(), item: Some(item) }
    }

    /// Makes it, and those that follow.
    async fn run(mut self) {
        loop {
            let spool = self.sender.queue.spool();
            match self.item.as_mut().and_then(|item| item.load(spool)) {
                Some(envelope) => {
                    let result = self.sender.exporter.export(&envelope).await;
                    self.conclude(|sender, item, begun| sender.conclude(item, begun, result));
                }
                None => self.conclude(|sender, item, _| {
                    sender.queue.give_up(
                        item,
                        DropReason::SpoolDamaged,
                        "an item of the spool cannot be read",
                    );
                }),
            }
            // An exporter that is always ready must not keep others from their turn.
            tokio::task::consume_budget().await;
            let Some(next) = self.sender.next() else {
                return;
            };
            self = Self::new(&self.sender, next);
        }
    }

    fn conclude(&mut self, how: impl FnOnce(&Sender, Item, Instant)) {
        if let Some(item) = self.item.take() {
            self.sender.under_way.fetch_sub(1, Ordering::Relaxed);
            how(&self.sender, item, self.begun);
            self.sender.queue.notify();
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let message =
            if std::thread::panicking() { "the exporter panicked" } else { "delivery was interrupted" };
        let failed = ExportError::Retry { message: message.to_owned(), after: None, everything: false };
        self.conclude(|sender, item, begun| sender.conclude(item, begun, Err(failed)));
    }
}

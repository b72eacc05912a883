//! The thread that calls the exporter.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

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
    failing: Mutex<Failing>,
    /// When the last item got through.
    last_delivery: Mutex<Option<Instant>>,
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
            failing: Mutex::default(),
            last_delivery: Mutex::default(),
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

    /// Keeps as many hands busy as may be under way at once.
    async fn work(self: &Arc<Self>) {
        let mut hands = JoinSet::new();
        (0..self.settings.max_in_flight).for_each(|_| drop(hands.spawn(Arc::clone(self).hand())));
        let queue = Arc::clone(&self.queue);
        hands.spawn(async move { queue.closed().await });
        // Whatever ends saw the end of the queue; what is still under way is interrupted. One that panicked, with the exporter,
        // is replaced.
        while let Some(Err(_)) = hands.join_next().await {
            hands.spawn(Arc::clone(self).hand());
        }
    }

    /// Takes one item after another, at once before it is tried, so that what can be delivered at once leaves in order.
    async fn hand(self: Arc<Self>) {
        let mut taken = 0_usize;
        while !self.queue.is_closed() {
            let Some(item) = self.queue.take(Instant::now()) else {
                let idle = later(self.settings.flush_interval);
                let until = self.queue.next_look().map_or(idle, |look| look.min(idle));
                let _ = tokio::time::timeout_at(until.into(), self.queue.changed()).await;
                continue;
            };
            Attempt { sender: &self, begun: Instant::now(), item: Some(item) }.run().await;
            taken += 1;
            // An exporter that never waits must not keep others from their turn.
            if taken.is_multiple_of(self.settings.batch_size) {
                tokio::task::yield_now().await;
            }
        }
    }

    fn conclude(&self, mut item: Item, attempt: Instant, result: Result<(), ExportError>) {
        match result {
            Ok(()) => {
                *lock(&self.failing) = Failing::default();
                *lock(&self.last_delivery) = Some(Instant::now());
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
                item.forgive();
                self.queue.deny(self.settings.probe_interval);
                self.queue.delay(item, Duration::ZERO);
                self.reporter.report(ReportKind::Denied, message);
            }
            Err(ExportError::Retry { message, after, everything }) => {
                // To come back at once is no answer to how long one should wait.
                let after = after.filter(|after| !after.is_zero());
                if everything {
                    self.pause(after);
                }
                let is_spooled = item.is_spooled();
                let tries = item.failed(attempt);
                let wait = after.or_else(|| tries.waits.next()).unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT);
                // What is on disk can wait for the backend, but not for what does not come through where others do.
                let others_do = lock(&self.last_delivery).is_some_and(|delivery| delivery > tries.last);
                let can_wait = everything && is_spooled && !others_do;
                if can_wait {
                    tries.since = attempt;
                }
                tries.last = attempt;
                if tries.since.elapsed() + wait > self.settings.retry_deadline && !can_wait {
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
struct Attempt<'a> {
    sender: &'a Sender,
    begun: Instant,
    item: Option<Item>,
}

impl Attempt<'_> {
    async fn run(mut self) {
        let spool = self.sender.queue.spool();
        let Some(item) = &mut self.item else {
            return;
        };
        let result = match item.load(spool) {
            Ok(Some(envelope)) => self.sender.exporter.export(&envelope).await,
            Ok(None) => {
                return self.conclude(|sender, item, _| {
                    let message = "an item of the spool is not there any more, or damaged";
                    sender.queue.give_up(item, DropReason::SpoolDamaged, message);
                });
            }
            // It may be had later: too many files may be open.
            Err(error) => {
                let message = format!("the spool could not be read: {error}");
                Err(ExportError::Retry { message, after: None, everything: true })
            }
        };
        self.conclude(|sender, item, begun| sender.conclude(item, begun, result));
    }

    fn conclude(&mut self, how: impl FnOnce(&Sender, Item, Instant)) {
        if let Some(item) = self.item.take() {
            how(self.sender, item, self.begun);
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let message =
            if std::thread::panicking() { "the exporter panicked" } else { "delivery was interrupted" };
        let failed = ExportError::Retry { message: message.to_owned(), after: None, everything: false };
        self.conclude(|sender, item, begun| sender.conclude(item, begun, Err(failed)));
    }
}

//! From a recorded event to a delivered item.
//!
//! Events go through the intake to the assembler thread, which decodes, assembles, sends through the choke
//! point and serialises; finished items go through the queue to the sender thread, which calls the exporter.
//! No arrow runs back.

use std::{
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    capture::Limits,
    config::{Config, ConfigError},
    export::Exporter,
    model::ScoreData,
    report::{DropReason, Reporter, Stats},
    sync::lock,
};

mod assembler;
mod budget;
mod decode;
mod inbox;
mod queue;
mod record;
mod sender;

pub use decode::{Decode, Piece};
pub(crate) use record::{
    Event, Exit, Intake, Root, SpanRecord, TraceRecord, object_bytes, shallow, value_bytes,
};

use budget::Budget;
use inbox::Inbox;
use queue::{Queue, Waiter};

/// What of the configuration the pipeline goes by.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) linger: Duration,
    pub(crate) max_trace_age: Duration,
    pub(crate) live: bool,
    pub(crate) batch_size: usize,
    pub(crate) flush_interval: Duration,
    pub(crate) retry_deadline: Duration,
    pub(crate) limits: Limits,
    pub(crate) environment: Option<String>,
    pub(crate) release: Option<String>,
}

impl Settings {
    fn of(config: &Config) -> Self {
        Self {
            linger: config.linger,
            max_trace_age: config.max_trace_age,
            live: config.live,
            batch_size: config.batch_size,
            flush_interval: config.flush_interval,
            retry_deadline: config.retry_deadline,
            limits: Limits { max_text_bytes: config.max_text_bytes },
            environment: config.environment.clone(),
            release: config.release.clone(),
        }
    }
}

/// The two threads of a client and what leads to them.
pub(crate) struct Pipeline {
    intake: Intake,
    queue: Arc<Queue>,
    budget: Arc<Budget>,
    reporter: Arc<Reporter>,
    threads: std::sync::Mutex<Vec<JoinHandle<()>>>,
}

/// How many items were still waiting when the time was over.
pub(crate) type Left = u64;

impl Pipeline {
    pub(crate) fn start(
        config: &Config,
        exporter: Arc<dyn Exporter>,
        reporter: Arc<Reporter>,
    ) -> Result<Self, ConfigError> {
        let settings = Settings::of(config);
        let queue = Arc::new(Queue::new(config.max_queue_size, Arc::clone(&reporter)));
        let budget = Arc::new(Budget::new(config.max_buffered_bytes, Arc::clone(&queue)));
        let inbox = Arc::new(Inbox::default());
        let events = Arc::clone(&inbox);
        let assembler = assembler::Assembler::new(
            settings.clone(),
            Arc::clone(&queue),
            Arc::clone(&budget),
            Arc::clone(&reporter),
        );
        let sender = sender::Sender::new(settings, exporter, Arc::clone(&queue), Arc::clone(&reporter));
        let threads = vec![
            spawn("pandaprobe-assembler", move || assembler.run(&events))?,
            spawn("pandaprobe-sender", move || sender.run())?,
        ];
        let intake = Intake::new(inbox, Arc::clone(&budget), Arc::clone(&reporter));
        Ok(Self { intake, queue, budget, reporter, threads: std::sync::Mutex::new(threads) })
    }

    pub(crate) fn intake(&self) -> &Intake {
        &self.intake
    }

    pub(crate) fn score(&self, score: ScoreData) {
        if !self.intake.send(Event::Score(Box::new(score))) {
            self.reporter.dropped(DropReason::AfterShutdown, 1, "a score came after the shutdown");
        }
    }

    /// Calls `waiter` once everything that had ended by now is delivered or dropped.
    pub(crate) fn flush(&self, waiter: Waiter) {
        self.intake.send(Event::Flush(waiter));
    }

    /// Ends what is open, waits until `deadline` for delivery, then stops both threads.
    pub(crate) fn shutdown(&self, timeout: Duration) -> Left {
        let deadline = Instant::now() + timeout;
        let (done, wait) = mpsc::sync_channel(1);
        let first = self.intake.send(Event::Stop(Box::new(move || {
            let _ = done.send(());
        })));
        if first {
            let _ = wait.recv_timeout(timeout);
        }
        let left = self.queue.close();
        self.join(deadline);
        left
    }

    /// Threads that are busy, with a request that hangs for instance, end by themselves later.
    fn join(&self, deadline: Instant) {
        const GRACE: Duration = Duration::from_millis(200);
        for thread in lock(&self.threads).drain(..) {
            let patience = deadline.max(Instant::now()) + GRACE;
            while !thread.is_finished() && Instant::now() < patience {
                thread::sleep(Duration::from_millis(1));
            }
            if thread.is_finished() {
                let _ = thread.join();
            }
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            queued: self.queue.len(),
            buffered_bytes: u64::try_from(self.budget.held()).unwrap_or(u64::MAX),
            ..self.reporter.stats()
        }
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, ConfigError> {
    // Room for values nested as deeply as an application can make them.
    const STACK: usize = 16 << 20;
    let builder = thread::Builder::new().name(name.to_owned()).stack_size(STACK);
    builder.spawn(body).map_err(|error| ConfigError::Thread(error.to_string()))
}

//! From a recorded event to a delivered item.
//!
//! Events go through the intake to the assembler thread, which decodes, assembles, sends through the choke
//! point and serialises; finished items go through the queue to the sender thread, which calls the exporter.
//! No arrow runs back.

use std::{
    cell::Cell,
    sync::{Arc, PoisonError, atomic::Ordering},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    capture::Gate,
    config::{Config, ConfigError},
    export::Exporter,
    model::{ScoreData, TraceData, TraceId},
    report::{DropReason, Reporter, Stats},
    spool::Spool,
    sync::{Condvar, Mutex, later, lock, mpsc, thread_local},
};

mod assembler;
mod budget;
mod decode;
mod inbox;
#[cfg(all(test, pandaprobe_shuttle))]
pub(crate) mod interleavings;
mod loops;
mod pack;
mod queue;
mod recent;
mod record;
mod sender;
mod settle;
mod stamps;
mod values;

pub use decode::{Decode, Piece};
pub(crate) use loops::{LoopPart, LoopRole};
pub(crate) use record::make_safe;
pub(crate) use record::{Begun, Event, Exit, Intake, Root, SpanRecord, TraceRecord};
pub(crate) use stamps::Stamps;
pub(crate) use values::{object_bytes, shallow, shallow_object, value_bytes};

use budget::{Budget, Charge};
use inbox::Inbox;
use queue::{Queue, Waiter};

/// What of the configuration the pipeline goes by.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) linger: Duration,
    pub(crate) max_trace_age: Duration,
    pub(crate) tool_loop_patience: Duration,
    pub(crate) live: bool,
    pub(crate) stamps: Stamps,
    pub(crate) batch_size: usize,
    pub(crate) flush_interval: Duration,
    pub(crate) retry_deadline: Duration,
    pub(crate) probe_interval: Duration,
    pub(crate) max_in_flight: usize,
    pub(crate) gate: Gate,
    pub(crate) environment: Option<String>,
    pub(crate) release: Option<String>,
}

impl Settings {
    fn of(config: &Config) -> Self {
        Self {
            linger: config.linger,
            max_trace_age: config.max_trace_age,
            tool_loop_patience: config.tool_loop_patience,
            live: config.live,
            stamps: config.stamps.clone(),
            batch_size: config.batch_size,
            flush_interval: config.flush_interval,
            retry_deadline: config.retry_deadline,
            probe_interval: config.probe_interval,
            max_in_flight: config.max_in_flight,
            gate: Gate::of(config),
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
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Asks for a look at what others left in the spool.
    adopt: Mutex<Option<mpsc::Sender<()>>>,
    left: Mutex<Shutdown>,
    is_shut_down: Condvar,
}

/// How far the shutdown has come.
enum Shutdown {
    NotYet,
    UnderWay,
    Done(Left),
}

/// Longer than anybody waits, and short enough to be added to any time.
const LONG: Duration = Duration::from_secs(365 * 24 * 3600);

thread_local! {
    static OWN_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// Marks this thread as one of a pipeline's.
fn own_thread() {
    OWN_THREAD.with(|own| own.set(true));
}

fn is_own_thread() -> bool {
    OWN_THREAD.try_with(Cell::get).unwrap_or_default()
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
        let spool = Spool::open(config, &reporter)?.map(Arc::new);
        let queue = Arc::new(Queue::new(
            config.max_queue_size,
            config.overflow,
            spool.clone(),
            Arc::clone(&reporter),
        ));
        let budget = Arc::new(Budget::new(config.max_buffered_bytes, Arc::clone(&queue)));
        let inbox = Arc::new(Inbox::default());
        let events = Arc::clone(&inbox);
        let intake = Intake::new(inbox, Arc::clone(&budget), Arc::clone(&reporter), &settings);
        let assembler = assembler::Assembler::new(
            settings.clone(),
            Arc::clone(&queue),
            Arc::clone(&budget),
            Arc::clone(&reporter),
        );
        let sender = sender::Sender::new(settings, exporter, Arc::clone(&queue), Arc::clone(&reporter));
        let (look, looks) = mpsc::channel();
        let this = Self {
            intake,
            queue: Arc::clone(&queue),
            budget,
            reporter,
            threads: Mutex::default(),
            adopt: Mutex::new(Some(look)),
            left: Mutex::new(Shutdown::NotYet),
            is_shut_down: Condvar::new(),
        };
        let start = || {
            this.spawn("pandaprobe-assembler", move || assembler.run(&events))?;
            this.spawn("pandaprobe-sender", move || sender.run())?;
            let Some(spool) = spool else {
                return Ok(());
            };
            this.spawn("pandaprobe-spool", move || adopt(&spool, &queue, &looks))
        };
        let started = start();
        if started.is_err() {
            this.shutdown(Duration::ZERO);
        }
        started.map(|()| this)
    }

    fn spawn(&self, name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), ConfigError> {
        // Room for values nested as deeply as an application can make them.
        const STACK: usize = 16 << 20;
        let builder = thread::Builder::new().name(name.to_owned()).stack_size(STACK);
        let thread = builder.spawn(body).map_err(|error| ConfigError::Thread(error.to_string()))?;
        lock(&self.threads).push(thread);
        Ok(())
    }

    /// Looks now for what processes or clients that are gone have left in the spool.
    pub(crate) fn adopt(&self) {
        if let Some(look) = &*lock(&self.adopt) {
            let _ = look.send(());
        }
    }

    pub(crate) fn intake(&self) -> &Intake {
        &self.intake
    }

    pub(crate) fn score(&self, mut score: ScoreData) {
        score.metadata = shallow_object(std::mem::take(&mut score.metadata));
        let reason = score.reason.as_ref().map_or(0, String::len);
        let bytes = 512 + score.name.len() + score.value.len() + reason + object_bytes(&score.metadata);
        self.hand_over("a score", bytes, |charge| Event::Score { score: Box::new(score), charge });
    }

    pub(crate) fn log(&self, mut trace: TraceData) {
        let bytes = make_safe(&mut trace, &self.reporter);
        self.reporter.traces.fetch_add(1, Ordering::Relaxed);
        self.hand_over("a trace", bytes, |charge| Event::Logged { trace: Box::new(trace), charge });
    }

    fn hand_over(&self, what: &str, bytes: usize, event: impl FnOnce(Charge) -> Event) {
        let Some(charge) = self.intake.charge(bytes) else {
            let message = format!("{what} did not fit into max_buffered_bytes");
            return self.reporter.dropped(DropReason::BufferFull, 1, message);
        };
        if !self.intake.send(event(charge)) {
            self.reporter.dropped(DropReason::AfterShutdown, 1, format!("{what} came after the shutdown"));
        }
    }

    /// Waits until everything that had ended by now is delivered or dropped, of one trace if `of` names it. `false` if the time
    /// was over before, nobody can wait here, or there is no use in waiting.
    pub(crate) fn flush(&self, of: Option<TraceId>, timeout: Duration) -> bool {
        // What waits on a thread of ours waits for itself.
        if is_own_thread() {
            return false;
        }
        let (waiter, wait) = waiter();
        if !self.intake.send(Event::Flush(of, waiter)) {
            // Nothing more will come: all is well if all was well at the shutdown.
            return matches!(*lock(&self.left), Shutdown::Done(0));
        }
        wait.recv_timeout(timeout.min(LONG)).unwrap_or(false)
    }

    /// Ends what is open, waits for delivery, at most for `timeout`, then stops both threads. A second caller
    /// waits for the first.
    pub(crate) fn shutdown(&self, timeout: Duration) -> Left {
        let deadline = later(timeout);
        let mut left = lock(&self.left);
        while let Shutdown::UnderWay = *left {
            let patience = deadline.saturating_duration_since(Instant::now());
            if patience.is_zero() || is_own_thread() {
                return self.queue.len();
            }
            left = self.is_shut_down.wait_timeout(left, patience).unwrap_or_else(PoisonError::into_inner).0;
        }
        if let Shutdown::Done(left) = *left {
            return left;
        }
        *left = Shutdown::UnderWay;
        drop(left);
        let result = self.stop(timeout, deadline);
        *lock(&self.left) = Shutdown::Done(result);
        self.is_shut_down.notify_all();
        result
    }

    fn stop(&self, timeout: Duration, deadline: Instant) -> Left {
        let (waiter, wait) = waiter();
        let sent = self.intake.send(Event::Stop(waiter)) && !is_own_thread();
        // Told that there is no use in waiting, the assembler has finished all the same.
        let settled = sent && wait.recv_timeout(timeout.min(LONG)).is_ok();
        let open = if settled { 0 } else { self.reporter.open.load(Ordering::Relaxed) };
        let left = (self.queue.close() + open).max(u64::from(!settled));
        lock(&self.adopt).take();
        self.join(deadline);
        if let Some(spool) = self.queue.spool() {
            spool.release();
        }
        left
    }

    /// Threads that are busy, with a request that hangs for instance, end by themselves later.
    fn join(&self, deadline: Instant) {
        const GRACE: Duration = Duration::from_millis(200);
        let threads: Vec<JoinHandle<()>> = lock(&self.threads).drain(..).collect();
        if is_own_thread() {
            return;
        }
        let patience = deadline.min(later(LONG)).max(Instant::now()) + GRACE;
        for thread in threads {
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
            spooled: self.queue.spool().map_or(0, Spool::live),
            buffered_bytes: u64::try_from(self.budget.held()).unwrap_or(u64::MAX),
            ..self.reporter.stats()
        }
    }
}

fn waiter() -> (Waiter, mpsc::Receiver<bool>) {
    let (done, wait) = mpsc::sync_channel(1);
    let waiter = move |settled| {
        let _ = done.send(settled);
    };
    (Box::new(waiter), wait)
}

/// Takes over what others leave in the spool, until nobody can ask for it any more.
fn adopt(spool: &Spool, queue: &Queue, looks: &mpsc::Receiver<()>) {
    const EVERY: Duration = Duration::from_secs(30);
    own_thread();
    loop {
        spool.adopt(|envelope, place| queue.push_spooled(envelope, place));
        if looks.recv_timeout(EVERY) == Err(mpsc::RecvTimeoutError::Disconnected) {
            break;
        }
    }
}

//! Threads whose interleavings are chosen by a scheduler, and a time that passes when it likes.

use std::{
    cell::Cell,
    sync::{
        Arc, LockResult, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use shuttle::{
    Config, Runner,
    scheduler::{PctScheduler, RandomScheduler},
};
pub(crate) use shuttle::{
    sync::{Mutex, MutexGuard, atomic, mpsc},
    thread, thread_local,
};

/// Whether waits with a time-out ever time out.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Time {
    /// Each does, at any moment.
    Passes,
    /// None does, so that whoever waits has to be woken: if nobody does, the test fails.
    StandsStill,
}

std::thread_local! {
    /// One scheduler runs all threads of a test on one thread of the system.
    static TIME: Cell<Time> = const { Cell::new(Time::Passes) };
}

/// Runs `test` in many interleavings: `runs` that are random throughout, and as many that switch threads at few
/// and unlikely places.
pub(crate) fn explore(time: Time, runs: usize, test: impl Fn() + Clone + Send + Sync + 'static) {
    const SWITCHES: usize = 3;
    TIME.set(time);
    let mut config = Config::new();
    config.stack_size = 1 << 20;
    config.silence_warnings = true;
    Runner::new(RandomScheduler::new(runs), config.clone()).run(test.clone());
    Runner::new(PctScheduler::new(SWITCHES, runs), config).run(test);
}

/// Wakes who waits at some time, again and again until that has heard it.
#[derive(Default)]
struct Clock {
    has_run_out: Arc<AtomicBool>,
    was_heard: Arc<AtomicBool>,
}

impl Clock {
    fn start(waiting: &Arc<shuttle::sync::Condvar>) -> Self {
        let clock = Self::default();
        if TIME.get() == Time::Passes {
            let waiting = Arc::clone(waiting);
            let (has_run_out, was_heard) = (Arc::clone(&clock.has_run_out), Arc::clone(&clock.was_heard));
            thread::spawn(move || {
                while !was_heard.load(Ordering::Relaxed) {
                    has_run_out.store(true, Ordering::Relaxed);
                    waiting.notify_all();
                    thread::yield_now();
                }
            });
        }
        clock
    }

    fn has_run_out(&self) -> bool {
        self.has_run_out.load(Ordering::Relaxed)
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.was_heard.store(true, Ordering::Relaxed);
    }
}

/// A condition variable whose time-outs come when the scheduler likes.
#[derive(Default)]
pub(crate) struct Condvar(Arc<shuttle::sync::Condvar>);

impl Condvar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }

    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.0.wait(guard)
    }

    pub(crate) fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        wait: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, bool)> {
        let mut waited = false;
        self.wait_timeout_while(guard, wait, |_| !std::mem::replace(&mut waited, true))
    }

    /// Whether it timed out.
    pub(crate) fn wait_timeout_while<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        _wait: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<(MutexGuard<'a, T>, bool)> {
        let mut clock = None;
        while condition(&mut guard) && !clock.as_ref().is_some_and(Clock::has_run_out) {
            clock.get_or_insert_with(|| Clock::start(&self.0));
            guard = self.0.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        Ok((guard, clock.is_some_and(|clock| clock.has_run_out())))
    }
}

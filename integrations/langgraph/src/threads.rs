//! Runs that were interrupted, so that the run that resumes one can say which it was.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::Mutex,
};

use crate::lock;

/// How many interrupted threads are remembered. The oldest are forgotten.
const REMEMBERED: usize = 10_000;

/// A thread of a graph.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Thread {
    /// The framework's id of it.
    pub(crate) id: String,
    /// Tells apart what keeps threads of the same name: the address of what saves them, if the graph shows it.
    pub(crate) kept_by: usize,
}

/// The first runs of threads that wait to be resumed.
#[derive(Default)]
pub(crate) struct Threads(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    first: HashMap<Thread, (String, u64)>,
    /// In which order they began to wait. Those that wait no more are skipped when it is their turn.
    order: VecDeque<(Thread, u64)>,
    number: u64,
}

impl Threads {
    /// The trace of the first run of a thread that waits.
    pub(crate) fn first_run(&self, thread: &Thread) -> Option<String> {
        lock(&self.0).first.get(thread).map(|(first, _)| first.clone())
    }

    /// The thread waits. Its first run was that of the trace `first`.
    pub(crate) fn interrupted(&self, thread: Thread, first: String) {
        let waiting = &mut *lock(&self.0);
        if waiting.first.contains_key(&thread) {
            return;
        }
        waiting.number += 1;
        waiting.first.insert(thread.clone(), (first, waiting.number));
        waiting.order.push_back((thread, waiting.number));
        while (waiting.first.len() > REMEMBERED || waiting.order.len() > 2 * REMEMBERED)
            && let Some((oldest, number)) = waiting.order.pop_front()
        {
            if waiting.first.get(&oldest).is_some_and(|(_, waits)| *waits == number) {
                waiting.first.remove(&oldest);
            }
        }
    }

    /// The thread came to its end.
    pub(crate) fn finished(&self, thread: &Thread) {
        lock(&self.0).first.remove(thread);
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Threads")
    }
}

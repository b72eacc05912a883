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
    /// Tells graphs apart that have threads of the same name, where a runtime resumes whatever is there.
    pub(crate) graph: usize,
}

/// The first runs of threads that wait to be resumed.
#[derive(Default)]
pub(crate) struct Threads(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    first: HashMap<Thread, String>,
    order: VecDeque<Thread>,
}

impl Threads {
    /// The trace of the first run of a thread that waits.
    pub(crate) fn first_run(&self, thread: &Thread) -> Option<String> {
        lock(&self.0).first.get(thread).cloned()
    }

    /// The thread waits. Its first run was that of the trace `first`.
    pub(crate) fn interrupted(&self, thread: Thread, first: String) {
        let waiting = &mut *lock(&self.0);
        if waiting.first.contains_key(&thread) {
            return;
        }
        waiting.first.insert(thread.clone(), first);
        waiting.order.push_back(thread);
        while waiting.first.len() > REMEMBERED
            && let Some(oldest) = waiting.order.pop_front()
        {
            waiting.first.remove(&oldest);
        }
    }

    /// The thread came to its end.
    pub(crate) fn finished(&self, thread: &Thread) {
        let waiting = &mut *lock(&self.0);
        if waiting.first.remove(thread).is_some() {
            waiting.order.retain(|other| other != thread);
        }
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Threads")
    }
}

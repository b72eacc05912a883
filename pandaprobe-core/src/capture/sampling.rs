//! Which traces are sent.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::model::TraceData;

/// Which share of the traces is sent; all of them unless set.
///
/// The choice is made when a trace is complete, from its id alone or, [by session](Self::by_session), from the session's:
/// the same each time, in each process.
///
/// ```
/// use pandaprobe_core::{Config, Sampling};
///
/// // A tenth of the sessions, and every trace in which something failed.
/// let config = Config::new().sampling(Sampling::rate(0.1).by_session().keep_errors());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use = "it is to be given to a configuration"]
pub struct Sampling {
    rate: f64,
    by_session: bool,
    keep_errors: bool,
}

impl Sampling {
    /// Sends this share: 0.0 none, 1.0 all. What is below counts as none, what is above, or no number, as all.
    pub fn rate(rate: f64) -> Self {
        let rate = if rate.is_nan() { 1.0 } else { rate.clamp(0.0, 1.0) };
        Self { rate, by_session: false, keep_errors: false }
    }

    /// Sends all traces of a session or none. Traces without a session are chosen one by one.
    pub fn by_session(mut self) -> Self {
        self.by_session = true;
        self
    }

    /// Sends every trace that is an error or has a span that is one.
    pub fn keep_errors(mut self) -> Self {
        self.keep_errors = true;
        self
    }

    pub(super) fn keeps(&self, trace: &TraceData, failed: impl FnOnce() -> bool) -> bool {
        let chosen = match &trace.session_id {
            Some(session) if self.by_session => share(session),
            _ => share(&trace.trace_id),
        };
        chosen < self.rate || (self.keep_errors && failed())
    }
}

impl Default for Sampling {
    fn default() -> Self {
        Self::rate(1.0)
    }
}

/// A number from 0 to 1, 1 excluded, that is the same for the same thing.
fn share(thing: &impl Hash) -> f64 {
    let mut hasher = DefaultHasher::new();
    thing.hash(&mut hasher);
    // The 53 bits that a number holds exactly.
    (hasher.finish() >> 11) as f64 / (1_u64 << 53) as f64
}

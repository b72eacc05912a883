//! Which traces are sent.

use crate::model::TraceId;

/// Which share of the traces is sent; all of them unless set.
///
/// The choice is made when a trace is complete, from its id alone or, [by session](Self::by_session), from the session's:
/// the same each time, in each process. Scores of traces that were left out are left out too, as long as these are among the
/// latest 100,000 that were.
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

    /// Sends all traces of a session or none. Traces without a session are chosen one by one. With [`Config::live`](crate::Config::live) a trace
    /// is sent once its session is known, or when it ends.
    pub fn by_session(mut self) -> Self {
        self.by_session = true;
        self
    }

    /// Sends every trace that is an error or has a span that is one, if that is known when the trace is complete: an error of a
    /// span that goes on for longer than [`Config::linger`](crate::Config::linger) after the end of its trace comes too late.
    pub fn keep_errors(mut self) -> Self {
        self.keep_errors = true;
        self
    }

    /// Whether a trace is of the share that is sent.
    pub(super) fn chooses(&self, id: TraceId, session: Option<&str>) -> bool {
        let chosen = match session {
            Some(session) if self.by_session => share(session.as_bytes()),
            _ => share(id.to_string().as_bytes()),
        };
        chosen < self.rate
    }

    pub(super) fn keeps_errors(&self) -> bool {
        self.keep_errors
    }

    /// Whether nothing can be said of a trace whose session is not known yet.
    pub(super) fn needs_session(&self) -> bool {
        self.by_session && self.rate < 1.0
    }
}

impl Default for Sampling {
    fn default() -> Self {
        Self::rate(1.0)
    }
}

/// A number from 0 to 1, 1 excluded, that is the same for the same bytes in every process, however it was built: their FNV-1a
/// hash, mixed as MurmurHash3 does at its end so that texts that differ in one character are far apart.
fn share(bytes: &[u8]) -> f64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = [0xff51_afd7_ed55_8ccd_u64, 0xc4ce_b9fe_1a85_ec53]
        .iter()
        .fold(hash, |hash, factor| (hash ^ (hash >> 33)).wrapping_mul(*factor));
    // The 53 bits that a number holds exactly.
    ((mixed ^ (mixed >> 33)) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_the_same_everywhere_and_spread_evenly() {
        // Computed by another program from the published definitions of both.
        let known = |text: &str, share: f64| (share - super::share(text.as_bytes())).abs() < 1e-12;
        assert!(known("", 0.93676944839044) && known("conversation-123", 0.09770552919309339));
        let texts = (0..10_000).map(|number| format!("session-{number}"));
        let chosen = texts.filter(|text| share(text.as_bytes()) < 0.1).count();
        assert!((900..1_100).contains(&chosen), "{chosen}");
    }
}

//! The window of the backend's rate limit. It is fixed, begins with the first request after the one before, and its answer does
//! not say when it ends.

use std::time::{Duration, Instant};

/// No end is further away.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// What is known of the window at hand.
#[derive(Debug)]
pub(super) struct Window {
    length: Duration,
    /// When its first answer came: the backend's began no later.
    began: Option<Instant>,
    /// Until when nothing gets through.
    until: Option<Instant>,
}

impl Window {
    pub(super) fn new(length: Duration) -> Self {
        Self { length: length.min(LONGEST), began: None, until: None }
    }

    /// The backend took a request.
    pub(super) fn took(&mut self, now: Instant) {
        // One that was under way when another was refused is of the window before.
        if self.until.is_some_and(|until| now < until) {
            return;
        }
        if self.began.is_none_or(|began| began + self.length <= now) {
            self.began = Some(now);
        }
    }

    /// The backend refused a request: how long to wait.
    pub(super) fn refused(&mut self, now: Instant) -> Duration {
        let until = self.until.filter(|until| now < *until).unwrap_or_else(|| {
            // Others may use the same key: without a window of its own any end is possible.
            let ends = self.began.take().map(|began| began + self.length).filter(|ends| now < *ends);
            ends.unwrap_or(now + self.length)
        });
        self.until = Some(until);
        until - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_waited_out_from_where_it_began() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut window = Window::new(Duration::from_secs(60));
        assert_eq!(window.refused(at(0)), Duration::from_secs(60), "nothing is known of it");
        window.took(at(60));
        window.took(at(70));
        assert_eq!(window.refused(at(75)), Duration::from_secs(45));
        window.took(at(76));
        assert_eq!(window.refused(at(80)), Duration::from_secs(40), "one was under way");
        window.took(at(120));
        window.took(at(200));
        assert_eq!(window.refused(at(210)), Duration::from_secs(50), "the one before has ended");
        assert_eq!(window.refused(at(260)), Duration::from_secs(60), "refused at once");
    }
}

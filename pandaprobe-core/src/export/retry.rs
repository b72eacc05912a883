//! When to try again.

use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);
/// The longest `Retry-After` that is honoured.
const LONGEST_ASKED: Duration = Duration::from_secs(120);

/// Waiting times of one item.
pub(crate) struct Waits(ExponentialBackoff);

/// From nothing to half a second, to twice as much each time, to 30 s: all of it is jitter, so that clients that failed together
/// do not come back together.
pub(crate) fn waits() -> Waits {
    let builder = ExponentialBuilder::new().with_min_delay(FIRST).with_max_delay(LONGEST);
    Waits(builder.without_max_times().build())
}

impl Iterator for Waits {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next().map(|longest| longest.mul_f64(fastrand::f64()))
    }
}

/// Reads a `Retry-After` header, seconds or an HTTP date, at most 120 s.
pub(crate) fn retry_after(header: &str, now: SystemTime) -> Option<Duration> {
    let seconds = header.trim().parse::<f64>().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
    let date = || httpdate::parse_http_date(header.trim()).ok()?.duration_since(now).ok();
    seconds.or_else(date).map(|wait| wait.min(LONGEST_ASKED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_both_forms_and_bounded() {
        let now = httpdate::parse_http_date("Mon, 23 Nov 2026 10:00:00 GMT").unwrap();
        assert_eq!(retry_after("3", now), Some(Duration::from_secs(3)));
        assert_eq!(retry_after("0.3", now), Some(Duration::from_millis(300)));
        assert_eq!(retry_after("3600", now), Some(LONGEST_ASKED));
        assert_eq!(retry_after("Mon, 23 Nov 2026 10:00:09 GMT", now), Some(Duration::from_secs(9)));
        for nonsense in ["-1", "soon", "", "NaN", "Mon, 23 Nov 2020 10:00:09 GMT"] {
            assert_eq!(retry_after(nonsense, now), None, "{nonsense}");
        }
    }

    #[test]
    fn waits_grow_and_stay_bounded() {
        let waits: Vec<Vec<Duration>> = (0..200).map(|_| waits().take(12).collect()).collect();
        let longest = |nth: usize| waits.iter().map(|waits| waits[nth]).max().unwrap();
        for (nth, most) in [(0, FIRST), (1, FIRST * 2), (3, FIRST * 8), (11, LONGEST)] {
            assert!(longest(nth) <= most && longest(nth) > most / 2, "{nth}: {:?}", longest(nth));
            assert!(waits.iter().any(|waits| waits[nth] < most / 4));
        }
    }
}

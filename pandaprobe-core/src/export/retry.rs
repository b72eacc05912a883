//! When to try again.

use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);
/// The longest `Retry-After` that is honoured.
const LONGEST_ASKED: Duration = Duration::from_secs(120);

/// Waiting times of one item: half a second, doubled each time up to 30 s, with jitter.
pub(crate) fn backoff() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(FIRST)
        .with_max_delay(LONGEST)
        .without_max_times()
        .with_jitter()
        .build()
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
        let waits: Vec<Duration> = backoff().take(12).collect();
        assert_eq!(waits.len(), 12);
        assert!(waits[0] >= FIRST && waits[0] <= FIRST * 2, "{waits:?}");
        assert!(waits[11] >= LONGEST && waits[11] <= LONGEST * 2, "{waits:?}");
    }
}

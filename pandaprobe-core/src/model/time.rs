//! Points in time as the API writes them.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// A point in time (UTC, microseconds), written as `2026-11-23T10:00:00.123456Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(SystemTime);

/// The last second of the year 9999, after which RFC 3339 has no form for a date.
const LAST: u64 = 253_402_300_799;

impl Timestamp {
    /// The wall clock's time now.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// The time that passed since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        self.0.duration_since(earlier.0).unwrap_or_default()
    }
}

/// Times before 1970 or after 9999 become the nearest of the two.
impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let clamped = since_epoch.min(Duration::from_secs(LAST));
        Self(UNIX_EPOCH + Duration::from_micros(u64::try_from(clamped.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        time.0
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        self.0.checked_add(by).map_or(self, Self::from)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_micros(self.0).fmt(f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let utc = text.strip_suffix("+00:00").map(|t| format!("{t}Z"));
        humantime::parse_rfc3339(utc.as_deref().unwrap_or(&text)).map(Self::from).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_with_microseconds_and_read_back() {
        let time = Timestamp::from(UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789));
        let json = serde_json::to_string(&time).unwrap();
        assert_eq!(json, "\"2023-11-14T22:13:20.123456Z\"");
        assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), time);
        let offset: Timestamp = serde_json::from_str("\"2023-11-14T22:13:20.123456+00:00\"").unwrap();
        assert_eq!(offset, time);
    }

    #[test]
    fn times_out_of_range_do_not_panic() {
        let early = Timestamp::from(UNIX_EPOCH - Duration::from_secs(5));
        assert_eq!(early.to_string(), "1970-01-01T00:00:00.000000Z");
        let late = early + Duration::from_secs(LAST * 2);
        assert!(late.to_string().starts_with("9999-12-31"), "{late}");
        assert_eq!(early.since(late), Duration::ZERO);
    }
}

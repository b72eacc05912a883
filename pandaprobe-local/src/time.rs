//! Points in time, as microseconds since 1970 in the store and as RFC 3339 on the wire.

use std::fmt;

use jiff::{Timestamp, civil, tz::TimeZone};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Microseconds since 1970, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Micros(pub i64);

impl Micros {
    /// Now.
    pub fn now() -> Self {
        Self(Timestamp::now().as_microsecond())
    }

    /// RFC 3339, a date alone, or either without an offset, which is then taken for UTC.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let time = match text.parse::<Timestamp>() {
            Ok(time) => time,
            Err(_) => TimeZone::UTC.to_timestamp(text.parse::<civil::DateTime>().ok()?).ok()?,
        };
        Self(time.as_microsecond()).known()
    }

    /// Seconds since 1970, or milliseconds where seconds would be beyond the year 2600.
    fn from_number(number: f64) -> Option<Self> {
        let seconds = if number.abs() > 2e10 { number / 1e3 } else { number };
        let micros = (seconds * 1e6).round();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "what is too large is cut to what is beyond all years"
        )]
        micros.is_finite().then_some(Self(micros as i64))?.known()
    }

    /// The time, if it is in the years 1 to 9999; of the last, not in its last day.
    fn known(self) -> Option<Self> {
        (-62_135_596_800_000_000..=Timestamp::MAX.as_microsecond()).contains(&self.0).then_some(self)
    }
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_microsecond(self.0) {
            Ok(time) => write!(f, "{time:.6}"),
            Err(_) => write!(f, "{}", self.0),
        }
    }
}

impl Serialize for Micros {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Micros {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Time)
    }
}

/// Reads a time. Whatever else there is, it is not looked into: it may be nested as deep as it likes.
struct Time;

impl de::Visitor<'_> for Time {
    type Value = Micros;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a valid datetime")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Micros, E> {
        let number = || text.trim().parse().ok().and_then(Micros::from_number);
        Micros::parse(text).or_else(number).ok_or_else(|| E::custom("Input should be a valid datetime"))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Micros, E> {
        Micros::from_number(number).ok_or_else(|| E::custom("Input should be a valid datetime: out of range"))
    }

    #[expect(clippy::cast_precision_loss, reason = "whole seconds and milliseconds of all years are exact")]
    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Micros, E> {
        self.visit_f64(number as f64)
    }

    #[expect(clippy::cast_precision_loss, reason = "whole seconds and milliseconds of all years are exact")]
    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Micros, E> {
        self.visit_f64(number as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::Micros;

    #[test]
    fn all_forms_of_a_time() {
        let noon = Micros(1_700_000_000_123_456);
        assert_eq!(noon.to_string(), "2023-11-14T22:13:20.123456Z");
        for text in [
            "2023-11-14T22:13:20.123456Z",
            "2023-11-14T22:13:20.123456789+00:00",
            "2023-11-14T23:13:20.123456+01:00",
            "2023-11-14T22:13:20.123456",
            "2023-11-14 22:13:20.123456",
        ] {
            assert_eq!(Micros::parse(text), Some(noon), "{text}");
        }
        assert_eq!(Micros::parse("2023-11-14").unwrap().to_string(), "2023-11-14T00:00:00.000000Z");
        for json in ["1700000000", "1700000000000", "\"1700000000\"", "1.7e9"] {
            let time: Micros = serde_json::from_str(json).unwrap();
            assert_eq!(time, Micros(1_700_000_000_000_000));
        }
        for text in [
            "",
            "yesterday",
            "2023-13-01",
            "2023-11-14T22:13:61Z",
            "-000001-12-31",
            "-009999-01-02T00:00:00Z",
        ] {
            assert_eq!(Micros::parse(text), None, "{text}");
        }
        for text in ["0001-01-01", "9999-12-30T21:59:59Z"] {
            assert!(Micros::parse(text).is_some(), "{text}");
        }
        for json in ["1e18", "-1e18", "[[[]]]", "{}", "null", "true"] {
            assert!(serde_json::from_str::<Micros>(json).is_err(), "{json}");
        }
        assert!(serde_json::from_str::<Micros>("1e300").is_err());
    }
}

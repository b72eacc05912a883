//! Points in time, as microseconds since 1970 in the store and as RFC 3339 on the wire.

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
        if let Ok(time) = text.parse::<Timestamp>() {
            return Some(Self(time.as_microsecond()));
        }
        let civil = text.parse::<civil::DateTime>().ok()?;
        Some(Self(TimeZone::UTC.to_timestamp(civil).ok()?.as_microsecond()))
    }
}

impl std::fmt::Display for Micros {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Given {
            Text(String),
            Number(f64),
        }
        match Given::deserialize(deserializer)? {
            Given::Text(text) => {
                Self::parse(&text).ok_or_else(|| de::Error::custom("Input should be a valid datetime"))
            }
            Given::Number(number) => from_number(number)
                .ok_or_else(|| de::Error::custom("Input should be a valid datetime: out of range")),
        }
    }
}

/// Seconds since 1970, or milliseconds where seconds would be beyond the year 2600.
fn from_number(number: f64) -> Option<Micros> {
    let seconds = if number.abs() > 2e10 { number / 1e3 } else { number };
    let micros = (seconds * 1e6).round();
    let fits = micros.is_finite() && micros.abs() < 9e15;
    #[expect(clippy::cast_possible_truncation, reason = "it was checked to fit")]
    fits.then_some(Micros(micros as i64))
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
        for json in ["1700000000", "1700000000000"] {
            let time: Micros = serde_json::from_str(json).unwrap();
            assert_eq!(time, Micros(1_700_000_000_000_000));
        }
        for text in ["", "yesterday", "2023-13-01", "2023-11-14T22:13:61Z"] {
            assert_eq!(Micros::parse(text), None, "{text}");
        }
        assert!(serde_json::from_str::<Micros>("1e300").is_err());
    }
}

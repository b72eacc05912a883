//! A score: a judgement on a trace.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Object, TraceId};

/// The value of a score.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ScoreValue {
    /// A number from 0 to 1.
    Numeric(f64),
    /// Yes or no.
    Boolean(bool),
    /// A label.
    Categorical(String),
}

impl From<f64> for ScoreValue {
    fn from(value: f64) -> Self {
        Self::Numeric(value)
    }
}

impl From<bool> for ScoreValue {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<&str> for ScoreValue {
    fn from(value: &str) -> Self {
        Self::Categorical(value.to_owned())
    }
}

impl From<String> for ScoreValue {
    fn from(value: String) -> Self {
        Self::Categorical(value)
    }
}

/// A judgement: its value, and why.
///
/// A number, a `bool` or a text is one, so most calls need not name this type.
///
/// ```
/// use pandaprobe_core::Score;
///
/// let score = Score::from(0.8).reason("two of three facts were right").metadata("by", "the nightly check");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a score is to be given to `score`"]
pub struct Score {
    value: ScoreValue,
    reason: Option<String>,
    metadata: Object,
}

impl Score {
    /// Says why.
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Adds metadata.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }
}

impl<V: Into<ScoreValue>> From<V> for Score {
    fn from(value: V) -> Self {
        Self { value: value.into(), reason: None, metadata: Object::new() }
    }
}

const CATEGORICAL: &str = "CATEGORICAL";

/// A score as it goes over the wire (`POST /evaluations/trace-scores`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ScoreData {
    /// The trace that is judged.
    pub trace_id: TraceId,
    /// What is judged, such as `helpfulness`.
    pub name: String,
    /// The judgement, always as text.
    pub value: String,
    /// `NUMERIC`, `BOOLEAN` or `CATEGORICAL`.
    pub data_type: String,
    /// Always `PROGRAMMATIC`.
    pub source: String,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// Anything else worth knowing.
    #[serde(skip_serializing_if = "Object::is_empty", default)]
    pub metadata: Object,
}

impl ScoreData {
    /// A score in the form the backend takes; `None` for a number that is not from 0 to 1, which the backend
    /// refuses.
    pub fn new(trace_id: TraceId, name: impl Into<String>, score: impl Into<Score>) -> Option<Self> {
        let score = score.into();
        let (value, data_type) = match score.value {
            ScoreValue::Numeric(n) if !(0.0..=1.0).contains(&n) => return None,
            ScoreValue::Numeric(n) => (n.to_string(), "NUMERIC"),
            ScoreValue::Boolean(b) => (b.to_string(), "BOOLEAN"),
            ScoreValue::Categorical(label) => (label, CATEGORICAL),
        };
        Some(Self {
            trace_id,
            name: name.into(),
            value,
            data_type: data_type.to_owned(),
            source: "PROGRAMMATIC".to_owned(),
            reason: score.reason,
            metadata: score.metadata,
        })
    }

    /// Whether its value is a text of the application's.
    pub(crate) fn is_label(&self) -> bool {
        self.data_type == CATEGORICAL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_take_the_form_that_the_backend_accepts() {
        let id = TraceId::random();
        let score = |v: ScoreValue| ScoreData::new(id, "s", v).map(|s| (s.value, s.data_type));
        assert_eq!(score(0.9.into()), Some(("0.9".into(), "NUMERIC".into())));
        assert_eq!(score(1.0.into()), Some(("1".into(), "NUMERIC".into())));
        assert_eq!(score(true.into()), Some(("true".into(), "BOOLEAN".into())));
        assert_eq!(score("PASS".into()), Some(("PASS".into(), "CATEGORICAL".into())));
        assert_eq!(score(1.01.into()), None);
        assert_eq!(score(f64::NAN.into()), None);
    }
}

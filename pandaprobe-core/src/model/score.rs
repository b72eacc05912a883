//! A score: a judgement on a trace.

use serde::{Deserialize, Serialize};

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
    pub fn new(trace_id: TraceId, name: impl Into<String>, value: impl Into<ScoreValue>) -> Option<Self> {
        let (value, data_type) = match value.into() {
            ScoreValue::Numeric(n) if !(0.0..=1.0).contains(&n) => return None,
            ScoreValue::Numeric(n) => (n.to_string(), "NUMERIC"),
            ScoreValue::Boolean(b) => (b.to_string(), "BOOLEAN"),
            ScoreValue::Categorical(label) => (label, "CATEGORICAL"),
        };
        Some(Self {
            trace_id,
            name: name.into(),
            value,
            data_type: data_type.to_owned(),
            source: "PROGRAMMATIC".to_owned(),
            reason: None,
            metadata: Object::new(),
        })
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

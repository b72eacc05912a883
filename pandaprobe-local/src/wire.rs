//! What clients send: the bodies of the PandaProbe API, checked as its backend checks them.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::time::Micros;

/// How many spans one request may hold.
pub const MAX_SPANS: usize = 500;
/// How many characters a name may have.
pub const MAX_NAME: usize = 512;
/// How many characters an id, an environment, a release or a model may have.
pub const MAX_ID: usize = 255;

/// JSON that is kept as it came.
pub type Raw = Box<RawValue>;

/// A trace that is posted. What is absent stays as it is stored.
#[derive(Debug, Deserialize)]
pub struct TraceIn {
    /// Its id; a new one if there is none.
    #[serde(default = "Uuid::new_v4")]
    pub trace_id: Uuid,
    #[serde(deserialize_with = "name")]
    pub(crate) name: String,
    #[serde(default, deserialize_with = "trace_status")]
    pub(crate) status: Option<String>,
    #[serde(default)]
    pub(crate) input: Option<Raw>,
    #[serde(default)]
    pub(crate) output: Option<Raw>,
    #[serde(default, deserialize_with = "object")]
    pub(crate) metadata: BTreeMap<String, Raw>,
    pub(crate) started_at: Micros,
    #[serde(default)]
    pub(crate) ended_at: Option<Micros>,
    #[serde(default, deserialize_with = "short")]
    pub(crate) session_id: Option<String>,
    #[serde(default, deserialize_with = "short")]
    pub(crate) user_id: Option<String>,
    #[serde(default)]
    pub(crate) tags: Vec<String>,
    #[serde(default, deserialize_with = "short")]
    pub(crate) environment: Option<String>,
    #[serde(default, deserialize_with = "short")]
    pub(crate) release: Option<String>,
    #[serde(default, deserialize_with = "some_spans")]
    pub(crate) spans: Vec<SpanIn>,
}

/// A span that is posted.
#[derive(Debug, Deserialize)]
pub struct SpanIn {
    /// Its id; a new one if there is none.
    #[serde(default = "Uuid::new_v4")]
    pub span_id: Uuid,
    #[serde(default)]
    pub(crate) parent_span_id: Option<Uuid>,
    #[serde(deserialize_with = "name")]
    pub(crate) name: String,
    #[serde(default, deserialize_with = "kind")]
    pub(crate) kind: Option<String>,
    #[serde(default, deserialize_with = "span_status")]
    pub(crate) status: Option<String>,
    #[serde(default)]
    pub(crate) input: Option<Raw>,
    #[serde(default)]
    pub(crate) output: Option<Raw>,
    #[serde(default, deserialize_with = "short")]
    pub(crate) model: Option<String>,
    #[serde(default)]
    pub(crate) token_usage: Option<BTreeMap<String, Raw>>,
    #[serde(default, deserialize_with = "object")]
    pub(crate) metadata: BTreeMap<String, Raw>,
    pub(crate) started_at: Micros,
    #[serde(default)]
    pub(crate) ended_at: Option<Micros>,
    #[serde(default)]
    pub(crate) error: Option<String>,
    #[serde(default)]
    pub(crate) completion_start_time: Option<Micros>,
    #[serde(default)]
    pub(crate) model_parameters: Option<BTreeMap<String, Raw>>,
    #[serde(default)]
    pub(crate) cost: Option<BTreeMap<String, f64>>,
}

/// A change of a trace. What is absent stays; `null` clears what may be empty.
#[derive(Debug, Default, Deserialize)]
pub struct TracePatch {
    #[serde(default, deserialize_with = "optional_name")]
    pub(crate) name: Option<String>,
    #[serde(default, deserialize_with = "optional_trace_status")]
    pub(crate) status: Option<String>,
    #[serde(default, deserialize_with = "given")]
    pub(crate) input: Option<Option<Raw>>,
    #[serde(default, deserialize_with = "given")]
    pub(crate) output: Option<Option<Raw>>,
    #[serde(default)]
    pub(crate) metadata: Option<BTreeMap<String, Raw>>,
    #[serde(default, deserialize_with = "given")]
    pub(crate) ended_at: Option<Option<Micros>>,
    #[serde(default, deserialize_with = "given_short")]
    pub(crate) session_id: Option<Option<String>>,
    #[serde(default, deserialize_with = "given_short")]
    pub(crate) user_id: Option<Option<String>>,
    #[serde(default)]
    pub(crate) tags: Option<Vec<String>>,
    #[serde(default, deserialize_with = "given_short")]
    pub(crate) environment: Option<Option<String>>,
    #[serde(default, deserialize_with = "given_short")]
    pub(crate) release: Option<Option<String>>,
}

/// A change of a span, as [`TracePatch`].
#[derive(Debug, Default, Deserialize)]
pub struct SpanPatch {
    #[serde(default, deserialize_with = "optional_name")]
    pub(crate) name: Option<String>,
    #[serde(default, deserialize_with = "optional_kind")]
    pub(crate) kind: Option<String>,
    #[serde(default, deserialize_with = "optional_span_status")]
    pub(crate) status: Option<String>,
    #[serde(default, deserialize_with = "given")]
    pub(crate) input: Option<Option<Raw>>,
    #[serde(default, deserialize_with = "given")]
    pub(crate) output: Option<Option<Raw>>,
    #[serde(default, deserialize_with = "given_short")]
    pub(crate) model: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    pub(crate) token_usage: Option<Option<BTreeMap<String, Raw>>>,
    #[serde(default)]
    pub(crate) metadata: Option<BTreeMap<String, Raw>>,
    #[serde(default, deserialize_with = "given")]
    pub(crate) ended_at: Option<Option<Micros>>,
    #[serde(default, deserialize_with = "given")]
    pub(crate) error: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    pub(crate) completion_start_time: Option<Option<Micros>>,
    #[serde(default, deserialize_with = "given")]
    pub(crate) model_parameters: Option<Option<BTreeMap<String, Raw>>>,
    #[serde(default, deserialize_with = "given")]
    pub(crate) cost: Option<Option<BTreeMap<String, f64>>>,
}

/// A score that is posted.
#[derive(Debug, Deserialize)]
pub struct ScoreIn {
    /// The trace that it judges.
    pub trace_id: Uuid,
    #[serde(deserialize_with = "score_name")]
    pub(crate) name: String,
    pub(crate) value: String,
    #[serde(default = "numeric", deserialize_with = "data_type")]
    pub(crate) data_type: String,
    #[serde(default = "annotation", deserialize_with = "source")]
    pub(crate) source: String,
    #[serde(default)]
    pub(crate) reason: Option<String>,
    #[serde(default)]
    pub(crate) metadata: BTreeMap<String, Raw>,
}

impl ScoreIn {
    /// What is wrong with the value for its type, if anything.
    pub(crate) fn refused(&self) -> Option<&'static str> {
        refused_value(&self.data_type, &self.value)
    }
}

/// What is wrong with a value of a score, if anything.
pub(crate) fn refused_value(data_type: &str, value: &str) -> Option<&'static str> {
    match data_type {
        "NUMERIC" if !value.parse::<f64>().is_ok_and(|value| (0.0..=1.0).contains(&value)) => {
            Some("NUMERIC score value must be a number between 0 and 1")
        }
        "BOOLEAN" if !["true", "false"].contains(&value.to_ascii_lowercase().as_str()) => {
            Some("BOOLEAN score value must be 'true' or 'false'")
        }
        _ => None,
    }
}

/// A change of a score.
#[derive(Debug, Default, Deserialize)]
pub struct ScorePatch {
    #[serde(default)]
    pub(crate) value: Option<String>,
    #[serde(default, deserialize_with = "given")]
    pub(crate) reason: Option<Option<String>>,
    #[serde(default)]
    pub(crate) metadata: Option<BTreeMap<String, Raw>>,
}

fn numeric() -> String {
    "NUMERIC".to_owned()
}

fn annotation() -> String {
    "ANNOTATION".to_owned()
}

fn checked<E: de::Error>(text: String, least: usize, most: usize) -> Result<String, E> {
    let length = text.chars().count();
    if length < least {
        Err(E::custom(format!("String should have at least {least} character")))
    } else if length > most {
        Err(E::custom(format!("String should have at most {most} characters")))
    } else {
        Ok(text)
    }
}

fn one_of<E: de::Error>(text: String, words: &[&str]) -> Result<String, E> {
    if words.contains(&text.as_str()) {
        Ok(text)
    } else {
        Err(E::custom(format!("Input should be one of {}", words.join(", "))))
    }
}

pub(crate) const TRACE_STATUSES: &[&str] = &["PENDING", "RUNNING", "COMPLETED", "ERROR"];
const SPAN_STATUSES: &[&str] = &["UNSET", "OK", "ERROR"];
pub(crate) const DATA_TYPES: &[&str] = &["NUMERIC", "BOOLEAN", "CATEGORICAL"];
pub(crate) const SOURCES: &[&str] = &["AUTOMATED", "ANNOTATION", "PROGRAMMATIC"];
const KINDS: &[&str] = &["AGENT", "TOOL", "LLM", "RETRIEVER", "CHAIN", "EMBEDDING", "OTHER"];

fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    checked(String::deserialize(deserializer)?, 1, MAX_NAME)
}

fn score_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    checked(String::deserialize(deserializer)?, 0, MAX_ID)
}

fn short<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)?.map(|text| checked(text, 0, MAX_ID)).transpose()
}

fn given_short<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    short(deserializer).map(Some)
}

/// Tells `null` from what is absent.
fn given<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

fn optional_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)?.map(|text| checked(text, 1, MAX_NAME)).transpose()
}

fn trace_status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    one_of(String::deserialize(deserializer)?, TRACE_STATUSES).map(Some)
}

fn span_status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    one_of(String::deserialize(deserializer)?, SPAN_STATUSES).map(Some)
}

fn kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    one_of(String::deserialize(deserializer)?, KINDS).map(Some)
}

fn data_type<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    one_of(String::deserialize(deserializer)?, DATA_TYPES)
}

fn source<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    one_of(String::deserialize(deserializer)?, SOURCES)
}

fn optional_trace_status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)?.map(|text| one_of(text, TRACE_STATUSES)).transpose()
}

fn optional_span_status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)?.map(|text| one_of(text, SPAN_STATUSES)).transpose()
}

fn optional_kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)?.map(|text| one_of(text, KINDS)).transpose()
}

fn object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Raw>, D::Error> {
    BTreeMap::deserialize(deserializer)
}

fn some_spans<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SpanIn>, D::Error> {
    let spans = Vec::deserialize(deserializer)?;
    if spans.len() > MAX_SPANS {
        let length = spans.len();
        return Err(de::Error::custom(format!(
            "List should have at most {MAX_SPANS} items after validation, not {length}"
        )));
    }
    Ok(spans)
}

/// Why a body is refused.
#[derive(Debug, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Refused {
    /// Where in the body.
    pub field: String,
    /// What is wrong there.
    pub message: String,
}

/// Reads a body.
///
/// # Errors
///
/// If it is not JSON, or not what `T` is.
pub fn parse<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, Refused> {
    let mut json = serde_json::Deserializer::from_slice(body);
    json.disable_recursion_limit();
    let refused = |field: String, error: &serde_json::Error| Refused { field, message: error.to_string() };
    let value = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| refused(error.path().to_string(), error.inner()))?;
    json.end().map_err(|error| refused(String::new(), &error))?;
    Ok(value)
}

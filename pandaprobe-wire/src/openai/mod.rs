//! The dialects of OpenAI.

use serde_json::{Map, Value};

use crate::limits::head_chars;

pub(crate) mod chat;
mod choice;
pub(crate) mod completions;
pub(crate) mod embeddings;
mod envelope;
pub(crate) mod images;
mod input;
pub(crate) mod moderation;
mod output;
pub(crate) mod responses;
pub(crate) mod speech;
mod summary;
mod texts;
mod tool;
pub(crate) mod transcription;
mod usage;

/// Characters kept of a model name or an id.
const MAX_NAME: usize = 500;

/// Characters kept of a finish reason.
const MAX_WORD: usize = 200;

/// A model name or an id.
fn name(value: Option<&Value>) -> Option<String> {
    let text = value?.as_str().filter(|text| !text.is_empty())?;
    Some(head_chars(text, MAX_NAME).to_owned())
}

/// The parameters of a request that are recorded.
fn parameters(mut request: Map<String, Value>, recorded: &[&str]) -> Map<String, Value> {
    recorded.iter().filter_map(|key| Some(((*key).to_owned(), request.remove(*key)?))).collect()
}

//! Fields of JSON objects, bounded where they are kept.

use std::borrow::Cow;

use serde_json::Value;

use crate::limits::head_chars;

/// Characters kept of a model name or an id.
const MAX_NAME: usize = 500;

/// Characters kept of a finish reason.
const MAX_WORD: usize = 200;

/// A text that is not empty.
pub(crate) fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// The elements of a list.
pub(crate) fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// A model name or an id.
pub(crate) fn name(value: Option<&Value>) -> Option<String> {
    let text = value?.as_str().filter(|text| !text.is_empty())?;
    Some(head_chars(text, MAX_NAME).to_owned())
}

/// A finish reason.
pub(crate) fn word(text: &str) -> String {
    head_chars(text, MAX_WORD).to_owned()
}

/// A JSON value as the text of a call's arguments.
pub(crate) fn arguments(value: Option<&Value>) -> Cow<'_, str> {
    match value {
        None | Some(Value::Null) => "".into(),
        Some(Value::String(text)) => text.into(),
        Some(other) => other.to_string().into(),
    }
}

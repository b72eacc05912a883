//! The error envelopes of providers.

use serde_json::Value;

use crate::{
    WireError,
    limits::{head_chars, marked},
};

/// Characters kept of a body that stands for a message.
const MAX_HEAD: usize = 500;

/// Characters kept of a provider's message.
const MAX_MESSAGE: usize = 4000;

/// The error of a non-2xx answer: the provider's message, else the start of the body.
pub(crate) fn of_answer(status: u16, body: &[u8]) -> WireError {
    let mut notes = crate::limits::Notes::default();
    let value = crate::json::parse(body, &mut notes).ok();
    let mut error = value.as_ref().map(of_value).unwrap_or_default();
    if error.message.is_empty() {
        error.message = head(body);
    }
    WireError { status: Some(status), ..error }
}

/// The error inside of a 2xx answer or an event, if it is one.
pub(crate) fn inside(value: &Value) -> Option<WireError> {
    let named = ["object", "type"].iter().any(|key| value.get(key).and_then(Value::as_str) == Some("error"));
    let given = value.get("error").is_some_and(is_something);
    (named || given).then(|| of_event(value))
}

/// The error that an event is, whatever its shape.
pub(crate) fn of_event(value: &Value) -> WireError {
    let mut error = of_value(value);
    if error.message.is_empty() {
        let whole = value.get("error").filter(|error| is_something(error)).unwrap_or(value);
        error.message = head(whole.to_string().as_bytes());
    }
    error
}

/// An error that is no more than text.
pub(crate) fn of_text(text: &[u8]) -> WireError {
    WireError { message: head(text), ..WireError::default() }
}

/// Message, type and code of the usual envelopes; the message is empty where none has it.
fn of_value(value: &Value) -> WireError {
    let value = value.get(0).unwrap_or(value);
    let inner = value.get("error").unwrap_or(&Value::Null);
    let messages = [inner.get("message"), Some(inner), value.get("message"), value.get("detail")];
    let message = messages.into_iter().flatten().filter_map(Value::as_str).find(|text| !text.is_empty());
    let source = if inner.is_object() { inner } else { value };
    WireError {
        status: None,
        message: message
            .map(|text| marked(head_chars(text, MAX_MESSAGE), text.len() as u64))
            .unwrap_or_default(),
        kind: word(source, "type"),
        code: word(source, "code"),
    }
}

fn word(value: &Value, key: &str) -> Option<String> {
    match value.get(key)? {
        Value::String(text) if !text.is_empty() => Some(head_chars(text, MAX_HEAD).to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn is_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    }
}

fn head(body: &[u8]) -> String {
    let start = String::from_utf8_lossy(&body[..body.len().min(4 * MAX_HEAD + 64)]);
    let kept = head_chars(start.trim(), MAX_HEAD);
    if kept.len() == start.trim().len() { kept.to_owned() } else { marked(kept, body.len() as u64) }
}

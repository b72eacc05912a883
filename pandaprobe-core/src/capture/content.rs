//! Leaves the structure of a trace, its tokens and its times, and takes the content out.

use serde_json::Value;

use crate::model::{Object, TraceData};

/// Metadata that repeats content.
const CONTENT: [&str; 3] = ["reasoning_summary", "pandaprobe.notes", "pandaprobe.error"];

/// What stands in place of an error's text, which often quotes what went in.
const ERROR: &str = "[not captured]";

pub(super) fn strip(trace: &mut TraceData) {
    (trace.input, trace.output) = (None, None);
    forget(&mut trace.metadata);
    for span in &mut trace.spans {
        (span.input, span.output) = (None, None);
        span.error = span.error.take().map(|_| ERROR.to_owned());
        forget(&mut span.metadata);
        if let Some(parameters) = &mut span.model_parameters {
            parameters.retain(|key, value| is_setting(key, value));
        }
    }
}

fn forget(metadata: &mut Object) {
    CONTENT.iter().for_each(|key| drop(metadata.remove(*key)));
}

/// Parameters that are chosen from a few words.
const CHOICES: [&str; 24] = [
    "background",
    "effort",
    "encoding_format",
    "format",
    "language",
    "modality",
    "moderation",
    "output_format",
    "quality",
    "reasoning_effort",
    "response_format",
    "seed",
    "service_tier",
    "size",
    "speed",
    "style",
    "summary",
    "tool_choice",
    "truncation",
    "type",
    "verbosity",
    "version",
    "voice",
    "web_search",
];

/// Whether a parameter is a number, a switch, or a word from a list, and so no part of what was said: stop sequences,
/// suffixes, instructions, schemas and the names of users are.
fn is_setting(key: &str, value: &Value) -> bool {
    let is_word = |text: &str| {
        text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
        Value::String(text) => CHOICES.contains(&key) && is_word(text),
        Value::Array(_) | Value::Object(_) => false,
    }
}

//! Recorded exchanges of real providers, and what a span says of one, in the form of the scorer.

use serde::Deserialize;
use serde_json::{Value, json};

/// An exchange that a server replays, as its index lists it.
#[derive(Clone, Debug, Deserialize)]
pub struct Replayed {
    /// The file, and its number in there.
    pub id: String,
    /// The path below which it is served.
    pub base: String,
    /// The path below that.
    pub path: String,
    /// Whose API it is.
    pub provider: String,
    /// In which dialect, or `other`.
    pub dialect: String,
    /// Whether a stream was asked for.
    pub streaming: bool,
    /// The recorded request.
    pub body: Value,
}

impl Replayed {
    /// The request's JSON. Some bodies were recorded as text.
    #[must_use]
    pub fn json(&self) -> Value {
        let parsed = self.body.as_str().and_then(|text| serde_json::from_str(text).ok());
        parsed.unwrap_or_else(|| self.body.clone())
    }
}

/// What a span says, in the schema of the scorer.
#[must_use]
pub fn line(replayed: &Replayed, span: &Value) -> Value {
    let first = &span["output"]["messages"][0];
    let calls = first["tool_calls"].as_array().into_iter().flatten();
    let calls: Vec<Value> = calls
        .map(|call| {
            let function = &call["function"];
            let text = function["arguments"].as_str().unwrap_or_default();
            let arguments = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
            json!({"id": call["id"], "name": function["name"], "arguments": arguments})
        })
        .collect();
    let metadata = &span["metadata"];
    json!({
        "id": replayed.id,
        "streaming": replayed.streaming,
        "model_responded": span["model"],
        "choices": metadata["choices"],
        "output_text": text(&first["content"]),
        "tool_calls": calls,
        "reasoning_text": metadata["reasoning_summary"],
        "usage": span["token_usage"],
        "finish_reason": metadata["finish_reason"],
        "error": span["error"],
    })
}

/// The text of a message's content: a string, or parts of which some are text.
fn text(content: &Value) -> Value {
    let parts =
        content.as_array().map(|parts| parts.iter().filter_map(|part| part["text"].as_str()).collect());
    parts.map_or_else(|| content.clone(), Value::String)
}

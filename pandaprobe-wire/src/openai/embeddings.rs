//! Embeddings: texts in, vectors out. Of the vectors only number and length are kept.

use serde_json::{Map, Value, json};

use crate::{
    Usage, WireError,
    content::weight,
    dialect::{Answer, Decoder, Request, unknown_request},
    error, media,
    message::{self, normalise_content},
};

use super::{name, parameters, usage};

/// Request parameters that are recorded.
const PARAMETERS: [&str; 2] = ["dimensions", "encoding_format"];

/// Bytes of a number in a vector that is sent as base64.
const FLOAT: u64 = 4;

/// Reads a request. One that is not a JSON object is kept as it is.
pub(crate) fn request(value: Value) -> Request {
    let Value::Object(mut map) = value else {
        return unknown_request(value);
    };
    Request {
        model: name(map.get("model")),
        streaming: false,
        choices: 0,
        input: input(&mut map),
        parameters: parameters(map, &PARAMETERS),
    }
}

fn input(request: &mut Map<String, Value>) -> Vec<Value> {
    match request.remove("input").or_else(|| request.remove("prompt")) {
        None | Some(Value::Null) => vec![],
        Some(Value::Array(inputs)) if inputs.is_empty() => vec![],
        Some(Value::Array(inputs)) if !is_tokens(&inputs) => inputs.into_iter().map(message).collect(),
        Some(other) => vec![message(other)],
    }
}

/// One input as a message of the user: a text, tokens, or a part that is neither.
fn message(input: Value) -> Value {
    match input {
        Value::Array(tokens) if is_tokens(&tokens) => {
            json!({"role": "user", "content": null, "tokens": tokens.len()})
        }
        Value::Object(map) if map.contains_key("content") => message::normalise(Value::Object(map)),
        Value::Object(_) => json!({"role": "user", "content": normalise_content(Value::Array(vec![input]))}),
        other => json!({"role": "user", "content": media::reduce(other)}),
    }
}

fn is_tokens(inputs: &[Value]) -> bool {
    inputs.iter().all(Value::is_number)
}

/// The decoder of an answer.
#[derive(Debug, Default)]
pub(crate) struct Embeddings {
    model: Option<String>,
    id: Option<String>,
    usage: Option<Usage>,
    body: Option<Value>,
    error: Option<WireError>,
    complete: bool,
}

impl Decoder for Embeddings {
    fn whole(&mut self, value: &Value) {
        self.model = name(value.get("model")).or(self.model.take());
        self.id = name(value.get("id")).or(self.id.take());
        self.usage = value.get("usage").and_then(usage::embeddings).or(self.usage.take());
        self.error = self.error.take().or_else(|| error::inside(value));
        self.body = vectors(value).or(self.body.take());
        self.complete |= self.body.is_some();
    }

    fn event(&mut self, name: &str, value: &Value) -> bool {
        self.whole(value);
        if name == "error" {
            self.error.get_or_insert_with(|| error::of_event(value));
        }
        false
    }

    fn error_text(&mut self, text: &[u8]) {
        self.error.get_or_insert_with(|| error::of_text(text));
    }

    fn is_complete(&self) -> bool {
        self.complete
    }

    fn is_full(&self) -> bool {
        false
    }

    fn held_bytes(&self) -> usize {
        self.body.as_ref().map_or(0, weight)
    }

    fn answer(&self) -> Answer {
        Answer {
            model: self.model.clone(),
            id: self.id.clone(),
            usage: self.usage.clone(),
            error: self.error.clone(),
            body: self.body.clone(),
            ..Answer::default()
        }
    }
}

/// How many vectors an answer has, and the length of the first.
fn vectors(answer: &Value) -> Option<Value> {
    let (count, first) = match (answer.get("data"), answer.get("embedding")) {
        (Some(Value::Array(data)), _) => (data.len(), data.first().and_then(|item| item.get("embedding"))),
        (_, Some(vector)) => (1, Some(vector)),
        _ => return None,
    };
    Some(json!({"count": count, "dimensions": first.and_then(dimensions)}))
}

fn dimensions(vector: &Value) -> Option<u64> {
    match vector {
        Value::Array(rows) if rows.first().is_some_and(Value::is_array) => dimensions(&rows[0]),
        Value::Array(numbers) => Some(numbers.len() as u64),
        Value::String(base64) => Some(media::decoded_len(base64) / FLOAT),
        _ => None,
    }
}

//! Embeddings: texts in, vectors out. Of the vectors only number and length are kept.

use serde_json::{Value, json};

use crate::{
    dialect::{Request, unknown_request},
    fields::{name, parameters},
    media,
    summary::Summary,
    texts,
};

use super::usage;

/// Request parameters that are recorded.
const PARAMETERS: [&str; 2] = ["dimensions", "encoding_format"];

/// Bytes of a number in a vector that is sent as base64.
const FLOAT: u64 = 4;

/// Reads a request. One that is not a JSON object is kept as it is.
pub(crate) fn request(value: Value) -> Request {
    let Value::Object(mut map) = value else {
        return unknown_request(value);
    };
    let input = map.remove("input").or_else(|| map.remove("prompt"));
    Request {
        model: name(map.get("model")),
        streaming: false,
        choices: 0,
        input: texts::messages(input.unwrap_or_default()),
        parameters: parameters(map, &PARAMETERS),
    }
}

/// The decoder of an answer.
pub(crate) fn decoder() -> Summary {
    Summary::new(vectors, usage::embeddings)
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

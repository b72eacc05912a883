//! Vectors of embeddings, of which only number and length are kept.

use serde_json::{Value, json};

use crate::media;

/// Bytes of a number in a vector that is sent as base64.
const FLOAT: u64 = 4;

/// How many vectors an answer has, and the length of the first.
pub(crate) fn summary(answer: &Value) -> Option<Value> {
    let (count, first) =
        match (answer.get("data").or_else(|| answer.get("embeddings")), answer.get("embedding")) {
            (Some(vectors), _) => of_list(vectors)?,
            (_, Some(vector)) => (1, Some(vector)),
            _ => return None,
        };
    Some(json!({"count": count, "dimensions": first.and_then(dimensions)}))
}

/// Number and first of a list of vectors; where they are given in several encodings, of the first that has any.
fn of_list(vectors: &Value) -> Option<(usize, Option<&Value>)> {
    match vectors {
        Value::Array(vectors) => Some((vectors.len(), vectors.first())),
        Value::Object(encodings) => encodings.values().filter_map(of_list).find(|(count, _)| *count > 0),
        _ => None,
    }
}

fn dimensions(vector: &Value) -> Option<u64> {
    match vector {
        Value::Array(rows) if rows.first().is_some_and(Value::is_array) => dimensions(&rows[0]),
        Value::Array(numbers) => Some(numbers.len() as u64),
        Value::String(base64) => Some(media::decoded_len(base64) / FLOAT),
        Value::Object(map) => map.get("embedding").or_else(|| map.get("values")).and_then(dimensions),
        _ => None,
    }
}

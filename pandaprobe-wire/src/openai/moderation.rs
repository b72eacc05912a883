//! Moderation: texts and images in, verdicts out.

use serde_json::{Map, Value, json};

use crate::{dialect::Request, message::normalise_content, summary::Summary, texts};

use super::usage;

/// Reads a request.
pub(crate) fn request(mut map: Map<String, Value>) -> Request {
    let input = input(map.remove("input").unwrap_or_default());
    Request::read(map, input, &[])
}

/// Each text is judged alone, parts are judged together.
fn input(input: Value) -> Vec<Value> {
    let is_part = |input: &Value| input.is_object() && input.get("content").is_none();
    match input {
        Value::Array(parts) if parts.iter().any(is_part) => {
            vec![json!({"role": "user", "content": normalise_content(Value::Array(parts))})]
        }
        other => texts::messages(other),
    }
}

/// The decoder of an answer.
pub(crate) fn decoder() -> Summary {
    Summary::new(verdicts, usage::embeddings)
}

/// Whether each input was flagged, and for what.
fn verdicts(answer: &Value) -> Option<Value> {
    let results = answer.get("results")?.as_array()?;
    Some(json!({"results": results.iter().map(verdict).collect::<Vec<Value>>()}))
}

/// The verdict over one input. Where it is not said, any category that applies flags it.
fn verdict(result: &Value) -> Value {
    let categories = result.get("categories").and_then(Value::as_object).into_iter().flatten();
    let applying = categories.filter(|(_, applies)| **applies == Value::Bool(true));
    let names: Vec<&str> = applying.map(|(name, _)| name.as_str()).collect();
    let flagged = result.get("flagged").and_then(Value::as_bool).unwrap_or(!names.is_empty());
    json!({"flagged": flagged, "categories": names})
}

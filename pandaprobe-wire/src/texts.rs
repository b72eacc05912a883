//! Inputs that are not messages: texts, tokens, and parts among them.

use serde_json::{Value, json};

use crate::{
    media,
    message::{self, normalise_content},
};

/// One message of the user for each input: a text, tokens, or a list of such.
pub(crate) fn messages(input: Value) -> Vec<Value> {
    match input {
        Value::Null => vec![],
        Value::Array(inputs) if inputs.is_empty() => vec![],
        Value::Array(inputs) if !is_tokens(&inputs) => inputs.into_iter().map(message).collect(),
        other => vec![message(other)],
    }
}

/// One input as a message of the user: a text, tokens, or a part that is neither.
pub(crate) fn message(input: Value) -> Value {
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

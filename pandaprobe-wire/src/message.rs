//! Request messages in their normalised form.

use serde_json::{Map, Value, json};

use crate::{
    calls::Calls,
    content::{Piece, part_text, pieces},
    limits::Room,
    media,
};

/// Normalises one message of a request; a bare string is a message of the user.
pub(crate) fn normalise(message: Value) -> Value {
    match message {
        Value::Object(map) => normalise_object(map),
        Value::String(text) => json!({"role": "user", "content": text}),
        other => media::reduce(other),
    }
}

/// One of `system user assistant tool`, or the name as given where it is none of the known ones.
pub(crate) fn role(name: &str) -> &str {
    match name {
        "developer" => "system",
        "human" => "user",
        "ai" | "model" => "assistant",
        "function" => "tool",
        other => other,
    }
}

fn normalise_object(mut message: Map<String, Value>) -> Value {
    let mut normal = Map::new();
    let given = message.remove("role");
    let role = given.as_ref().and_then(Value::as_str).map_or("user", role);
    normal.insert("role".into(), Value::from(role));
    let content = message.remove("content").unwrap_or_default();
    let reasoning = thinking(&content);
    normal.insert("content".into(), normalise_content(content));
    let message = take_calls(message, &mut normal);
    if !reasoning.is_empty() {
        normal.insert("reasoning_content".into(), Value::from(reasoning));
    }
    let others = message.into_iter().filter(|(_, value)| !value.is_null());
    normal.extend(others.map(|(key, value)| (key, media::reduce(value))));
    Value::Object(normal)
}

fn take_calls(message: Map<String, Value>, normal: &mut Map<String, Value>) -> Map<String, Value> {
    let message = Value::Object(message);
    let mut calls = Calls::default();
    calls.whole(&message, &mut Room::unlimited());
    let Value::Object(mut message) = message else {
        return Map::new();
    };
    if !calls.is_empty() {
        normal.insert("tool_calls".into(), calls.value());
        message.remove("tool_calls");
        message.remove("function_call");
    }
    message
}

fn thinking(content: &Value) -> String {
    let mut text = String::new();
    pieces(content, |piece| {
        if let Piece::Thinking(piece) = piece {
            text.push_str(piece);
        }
    });
    text
}

/// Text where there is only text, else the parts, reduced to references.
pub(crate) fn normalise_content(content: Value) -> Value {
    let Value::Array(mut parts) = content else {
        return content;
    };
    parts.retain(|part| part.get("type").and_then(Value::as_str) != Some("thinking"));
    match parts.iter().map(part_text).collect::<Option<Vec<&str>>>() {
        Some(texts) => Value::from(texts.concat()),
        None => parts.into_iter().map(normalise_part).collect(),
    }
}

fn normalise_part(part: Value) -> Value {
    match part_text(&part) {
        Some(text) if part.is_string() => json!({"type": "text", "text": text}),
        Some(_) => part,
        None => media::part(part),
    }
}

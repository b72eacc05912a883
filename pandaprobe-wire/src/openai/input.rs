//! The input items of a Responses request as messages.

use serde_json::{Map, Value, json};

use crate::{
    calls::tool_call,
    media,
    message::{self, normalise_content},
};

use super::output::text_of;

/// Messages made of input items.
///
/// What belongs to one turn of the assistant becomes one message, as in an answer: calls are added to the
/// message of the assistant before them, reasoning to the one that follows it.
#[derive(Debug, Default)]
pub(super) struct Input {
    messages: Vec<Value>,
    /// Reasoning whose message has not come yet.
    reasoning: Vec<String>,
}

impl Input {
    pub(super) fn instructions(&mut self, instructions: Value) {
        match instructions {
            Value::String(text) => self.other(json!({"role": "system", "content": text})),
            other => self.items(other),
        }
    }

    pub(super) fn items(&mut self, input: Value) {
        match input {
            Value::Null => {}
            Value::Array(items) => items.into_iter().for_each(|item| self.item(item)),
            other => self.item(other),
        }
    }

    pub(super) fn into_messages(self) -> Vec<Value> {
        self.messages
    }

    fn item(&mut self, item: Value) {
        let Value::Object(item) = item else {
            return self.other(message::normalise(item));
        };
        let kind = item.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        match kind.as_str() {
            "function_call" | "custom_tool_call" => self.call(&item),
            "reasoning" => self.reasoning.extend(reasoning(&item)),
            _ if kind.ends_with("_output") => self.other(tool_output(item)),
            "mcp_approval_response" => self.other(kept("user", item)),
            _ if kind.starts_with("input_") => self.other(user_part(item)),
            _ if item.contains_key("role") || item.contains_key("content") => self.message(item),
            // Not the end of the turn: pending reasoning waits for the message after it.
            _ => self.messages.push(kept("assistant", item)),
        }
    }

    fn message(&mut self, mut item: Map<String, Value>) {
        if item.get("type").is_some_and(|kind| kind == "message") {
            ["type", "id", "status"].iter().for_each(|key| drop(item.remove(*key)));
        }
        if let Some(Value::Array(parts)) = item.get_mut("content") {
            parts.iter_mut().for_each(refusal_as_text);
        }
        let message = message::normalise(Value::Object(item));
        match message.get("role").is_some_and(|role| role == "assistant") {
            true => self.assistant(message),
            false => self.other(message),
        }
    }

    /// Adds a message that ends the turn of the assistant.
    fn other(&mut self, message: Value) {
        self.reasoning.clear();
        self.messages.push(message);
    }

    fn assistant(&mut self, message: Value) {
        self.messages.push(message);
        self.settle_reasoning();
    }

    fn call(&mut self, item: &Map<String, Value>) {
        let call = call(item);
        match self.turn() {
            Some(message) => match message.get_mut("tool_calls").and_then(Value::as_array_mut) {
                Some(calls) => calls.push(call),
                None => drop(message.insert("tool_calls".into(), json!([call]))),
            },
            None => self.messages.push(json!({"role": "assistant", "content": null, "tool_calls": [call]})),
        }
        self.settle_reasoning();
    }

    /// The message of the assistant's turn at hand.
    fn turn(&mut self) -> Option<&mut Map<String, Value>> {
        let message = self.messages.last_mut()?.as_object_mut()?;
        let is_turn = message.get("role").is_some_and(|role| role == "assistant");
        (is_turn && !message.contains_key("item")).then_some(message)
    }

    /// Moves the pending reasoning to the last message.
    fn settle_reasoning(&mut self) {
        let pending = std::mem::take(&mut self.reasoning);
        let Some(message) = self.turn().filter(|_| !pending.is_empty()) else {
            return;
        };
        let text = pending.join("\n\n");
        match message.get_mut("reasoning_content") {
            Some(Value::String(before)) => {
                before.push_str("\n\n");
                before.push_str(&text);
            }
            _ => drop(message.insert("reasoning_content".into(), Value::from(text))),
        }
    }
}

fn call(item: &Map<String, Value>) -> Value {
    let text = |key: &str| item.get(key).and_then(Value::as_str);
    let arguments = match item.get("arguments").or_else(|| item.get("input")) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    tool_call(text("call_id").or(text("id")), text("name").unwrap_or_default(), &arguments)
}

/// The visible blocks of a reasoning item.
fn reasoning(item: &Map<String, Value>) -> Vec<String> {
    let blocks = ["summary", "content"].iter().filter_map(|key| item.get(*key)?.as_array()).flatten();
    blocks.map(text_of).filter(|text| !text.is_empty()).map(str::to_owned).collect()
}

fn tool_output(mut item: Map<String, Value>) -> Value {
    let id = item.get("call_id").or_else(|| item.get("id")).cloned().unwrap_or_default();
    match item.remove("output") {
        Some(Value::Object(part)) => {
            let content = media::part(Value::Object(part));
            json!({"role": "tool", "tool_call_id": id, "content": [content]})
        }
        Some(output) => json!({"role": "tool", "tool_call_id": id, "content": normalise_content(output)}),
        None => {
            let item = media::reduce(Value::Object(item));
            json!({"role": "tool", "tool_call_id": id, "content": null, "item": item})
        }
    }
}

/// A content part that stands in the list of items.
fn user_part(item: Map<String, Value>) -> Value {
    let content = normalise_content(Value::Array(vec![Value::Object(item)]));
    json!({"role": "user", "content": content})
}

/// A message that holds an item without a counterpart among messages.
fn kept(role: &str, item: Map<String, Value>) -> Value {
    json!({"role": role, "content": null, "item": media::reduce(Value::Object(item))})
}

fn refusal_as_text(part: &mut Value) {
    if part.get("type").is_some_and(|kind| kind == "refusal")
        && let Some(refusal) = part.get("refusal").filter(|refusal| refusal.is_string())
    {
        *part = json!({"type": "text", "text": refusal});
    }
}

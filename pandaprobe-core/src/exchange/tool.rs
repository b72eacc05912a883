//! Tools of an answer as steps below its span.

use pandaprobe_wire::{LlmRecord, ToolItem};
use serde_json::{Value, json};

use crate::model::{Object, SpanData, SpanKind, Timestamp};

/// The calls that the caller must run and the tools that the provider ran. The answer does not say when: they are all
/// told `at` that time.
pub(super) fn steps(record: &LlmRecord, at: Timestamp) -> Vec<SpanData> {
    record.tools.iter().filter(|item| is_tool(item)).map(|item| step(item, record, at)).collect()
}

/// Kinds of items that may be any tool of the provider.
const GENERAL: [&str; 2] = ["server_tool_use", "executable_code"];

fn is_tool(item: &ToolItem) -> bool {
    item.executed || item.kind.ends_with("_call")
}

fn step(item: &ToolItem, record: &LlmRecord, at: Timestamp) -> SpanData {
    let mut step = SpanData::new(name(item), at);
    step.kind = SpanKind::Tool;
    step.ended_at = Some(at);
    if !item.executed {
        step.input = Some(arguments(item, record).unwrap_or_else(|| described(item)));
        return step;
    }
    (step.input, step.output) = match is_named(item) {
        true => (Some(item.input.clone()), item.output.clone()),
        false => (Some(described(item)), Some(result(item))),
    };
    let failed = item.status.as_deref() == Some("failed");
    step.error = item.error.clone().or_else(|| failed.then(|| "failed".to_owned()));
    step
}

/// What an item without a name of its own would be called.
fn stem(item: &ToolItem) -> &str {
    let stem = ["_call", "_tool_use"].iter().find_map(|end| item.kind.strip_suffix(end));
    stem.unwrap_or(&item.kind)
}

/// Whether the item says which of several tools it is.
fn is_named(item: &ToolItem) -> bool {
    item.name != stem(item)
}

fn name(item: &ToolItem) -> String {
    match (is_named(item), item.executed) {
        (false, _) => item.name.clone(),
        // The kind says no more than that the provider ran it.
        (true, true) if GENERAL.contains(&&*item.kind) => item.name.clone(),
        (true, false) => format!("{}:{}", item.kind, item.name),
        (true, true) => format!("{}:{}", stem(item), item.name),
    }
}

/// The text that the caller gets, to the letter.
fn arguments(item: &ToolItem, record: &LlmRecord) -> Option<Value> {
    let calls = record.output.iter().filter_map(|message| message["tool_calls"].as_array()).flatten();
    let id = item.id.as_deref()?;
    let call = calls.into_iter().find(|call| call["id"] == id && call["function"]["name"] == *item.name)?;
    Some(call["function"]["arguments"].clone())
}

/// The item without its results.
fn described(item: &ToolItem) -> Value {
    let mut whole = Object::new();
    whole.insert("type".to_owned(), item.kind.as_str().into());
    for (key, value) in [("id", &item.id), ("status", &item.status)] {
        whole.extend(value.as_deref().map(|value| (key.to_owned(), value.into())));
    }
    match item.input.clone() {
        Value::Object(fields) => whole.extend(fields),
        other => whole.extend([("input".to_owned(), other)]),
    }
    whole.into()
}

fn result(item: &ToolItem) -> Value {
    let mut result = json!({});
    for (key, value) in
        [("status", item.status.as_deref().map(Value::from)), ("results", item.output.clone())]
    {
        if let Some(value) = value {
            result[key] = value;
        }
    }
    result
}

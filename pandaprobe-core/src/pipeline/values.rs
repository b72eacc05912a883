//! How large what was recorded is, and that none of it nests deeper than a stack is high.

use serde_json::Value;

use crate::model::{Object, SpanData, TraceData};

/// What an empty trace or span takes.
pub(super) const EMPTY: usize = 512;

pub(super) fn trace_bytes(data: &TraceData) -> usize {
    let tags: usize = data.tags.iter().map(String::len).sum();
    let values: usize = data.input.iter().chain(&data.output).map(value_bytes).sum();
    data.name.len() + tags + values + object_bytes(&data.metadata)
}

pub(super) fn span_bytes(data: &SpanData) -> usize {
    let parameters = data.model_parameters.as_ref().map_or(0, object_bytes);
    let values: usize = data.input.iter().chain(&data.output).map(value_bytes).sum();
    data.name.len() + values + object_bytes(&data.metadata) + parameters
}

/// Roughly how many bytes a value holds.
pub(crate) fn value_bytes(value: &Value) -> usize {
    walk(value).0
}

pub(crate) fn object_bytes(object: &Object) -> usize {
    object.iter().map(|(key, value)| key.len() + 32 + value_bytes(value)).sum()
}

/// The value, or a text in its place if it nests so deeply that copying or dropping it would overflow a stack.
pub(crate) fn shallow(value: Value) -> Value {
    const DEEPEST: usize = 1_000;
    let (_, depth) = walk(&value);
    if depth <= DEEPEST {
        return value;
    }
    dismantle(value);
    Value::String(format!("[left out by pandaprobe: nested {depth} levels deep]"))
}

/// Bytes and depth, without recursion: an application can nest deeper than a stack is high.
fn walk(value: &Value) -> (usize, usize) {
    let (mut bytes, mut deepest) = (0, 0);
    let mut rest = vec![(value, 1)];
    while let Some((value, depth)) = rest.pop() {
        bytes += size_of::<Value>();
        deepest = deepest.max(depth);
        match value {
            Value::String(text) => bytes += text.len(),
            Value::Array(items) => rest.extend(items.iter().map(|item| (item, depth + 1))),
            Value::Object(fields) => {
                bytes += fields.keys().map(|key| key.len() + 32).sum::<usize>();
                rest.extend(fields.values().map(|field| (field, depth + 1)));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    (bytes, deepest)
}

/// [`shallow`] for each value of an object.
pub(crate) fn shallow_object(object: Object) -> Object {
    object.into_iter().map(|(key, value)| (key, shallow(value))).collect()
}

/// Code that copies and drops values must not meet one that is nested deeper than a stack is high.
pub(super) fn flatten(span: &mut SpanData) {
    for value in span.input.iter_mut().chain(&mut span.output) {
        *value = shallow(value.take());
    }
    span.metadata = shallow_object(std::mem::take(&mut span.metadata));
    span.model_parameters = span.model_parameters.take().map(shallow_object);
}

fn dismantle(value: Value) {
    let mut rest = vec![value];
    while let Some(value) = rest.pop() {
        match value {
            Value::Array(items) => rest.extend(items),
            Value::Object(fields) => rest.extend(fields.into_iter().map(|(_, field)| field)),
            _ => {}
        }
    }
}

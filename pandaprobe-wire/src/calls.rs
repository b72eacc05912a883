use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{
    fields::{arguments, text},
    limits::Room,
};

/// Bytes charged for a call beside its text.
const CALL_COST: usize = 128;

/// The wire index given to a legacy `function_call`.
const LEGACY: u64 = u64::MAX;

/// Tool calls in order of appearance, merged from whole values or from deltas.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    calls: Vec<Call>,
    /// Index on the wire to position in `calls`.
    open: BTreeMap<u64, usize>,
}

#[derive(Debug, Default)]
struct Call {
    id: Option<String>,
    name: String,
    arguments: String,
}

impl Calls {
    /// Merges the calls of one delta. Says whether a name or arguments came with it.
    pub(crate) fn deltas(&mut self, message: &Value, room: &mut Room) -> bool {
        let mut token = false;
        for (position, call) in listed(message).enumerate() {
            let index = call.get("index").and_then(Value::as_u64).unwrap_or(position as u64);
            token |= self.delta(index, call, room);
        }
        legacy(message).map_or(token, |call| token | self.delta(LEGACY, &call, room))
    }

    /// Adds the calls of a whole message.
    pub(crate) fn whole(&mut self, message: &Value, room: &mut Room) {
        for call in listed(message) {
            self.append(call, room);
        }
        if let Some(call) = legacy(message).filter(|_| self.calls.is_empty()) {
            self.append(&call, room);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// The calls as the `tool_calls` of a message.
    pub(crate) fn value(&self) -> Value {
        self.calls.iter().map(Call::value).collect()
    }

    fn append(&mut self, call: &Value, room: &mut Room) {
        if let Some(position) = self.begin(room) {
            self.calls[position].merge(call, room);
        }
    }

    fn delta(&mut self, index: u64, delta: &Value, room: &mut Room) -> bool {
        let open = self.open.get(&index).copied();
        let position = match open.filter(|position| !self.calls[*position].is_another(delta)) {
            Some(position) => position,
            None => match self.begin(room) {
                Some(position) => position,
                None => return false,
            },
        };
        self.open.insert(index, position);
        self.calls[position].merge(delta, room)
    }

    fn begin(&mut self, room: &mut Room) -> Option<usize> {
        room.take(CALL_COST).then(|| {
            self.calls.push(Call::default());
            self.calls.len() - 1
        })
    }
}

impl Call {
    /// Whether a delta under this call's index begins another call: some servers count every call 0.
    fn is_another(&self, delta: &Value) -> bool {
        let named = text(function(delta), "name").is_some();
        named && text(delta, "id").is_some_and(|id| self.id.as_deref() != Some(id))
    }

    fn merge(&mut self, delta: &Value, room: &mut Room) -> bool {
        let function = function(delta);
        let id = text(delta, "id");
        let repeated = id.is_some() && id == self.id.as_deref();
        if let (None, Some(id)) = (&self.id, id) {
            room.append(self.id.insert(String::new()), id);
        }
        let name = text(function, "name").filter(|name| !(repeated && *name == self.name));
        room.append(&mut self.name, name.unwrap_or_default());
        let arguments = arguments(function.get("arguments").or_else(|| function.get("input")));
        room.append(&mut self.arguments, &arguments);
        name.is_some() || !arguments.is_empty()
    }

    fn value(&self) -> Value {
        tool_call(self.id.as_deref(), &self.name, &self.arguments)
    }
}

/// A call as an element of `tool_calls`.
pub(crate) fn tool_call(id: Option<&str>, name: &str, arguments: &str) -> Value {
    let mut call = Map::new();
    call.extend(id.map(|id| ("id".to_owned(), Value::from(id))));
    call.insert("type".into(), Value::from("function"));
    call.insert("function".into(), json!({"name": name, "arguments": arguments}));
    Value::Object(call)
}

fn listed(message: &Value) -> impl Iterator<Item = &Value> {
    message.get("tool_calls").and_then(Value::as_array).into_iter().flatten().filter(|call| call.is_object())
}

fn legacy(message: &Value) -> Option<Value> {
    let function = message.get("function_call").filter(|call| call.is_object())?;
    Some(json!({"function": function}))
}

/// Name and arguments of a call; those of a custom tool are under another key.
fn function(call: &Value) -> &Value {
    ["function", "custom"]
        .iter()
        .filter_map(|key| call.get(key))
        .find(|f| f.is_object())
        .unwrap_or(&Value::Null)
}

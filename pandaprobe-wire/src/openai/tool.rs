use serde_json::{Map, Value};

use crate::{
    ToolItem,
    calls::tool_call,
    content::weight,
    json,
    limits::{Notes, Room, head_chars, marked},
    media,
};

/// Fields of which one holds the text that a call is streamed with.
const TEXTS: [&str; 3] = ["arguments", "input", "code"];

/// Fields of which one holds the results of a tool.
const RESULTS: [&str; 5] = ["output", "outputs", "results", "result", "tools"];

/// Fields that have a place of their own in a [`ToolItem`].
const TOLD: [&str; 6] = ["type", "id", "call_id", "name", "status", "error"];

/// Items of tools that the provider runs.
const SERVER_SIDE: [&str; 6] = [
    "web_search_call",
    "file_search_call",
    "code_interpreter_call",
    "image_generation_call",
    "mcp_call",
    "mcp_list_tools",
];

/// Characters kept of the reason of a failure.
const MAX_REASON: usize = 4000;

/// An output item that is neither a message nor reasoning.
#[derive(Debug, Default)]
pub(super) struct Tool {
    /// The item without the text of the call.
    item: Map<String, Value>,
    /// The field that the text is from, and the text.
    field: &'static str,
    text: String,
}

impl Tool {
    /// Reads a whole item; none where there is no room.
    pub(super) fn read(raw: &Map<String, Value>, room: &mut Room) -> Option<Self> {
        let given = TEXTS.iter().find_map(|field| Some((*field, raw.get(*field).and_then(text_of_call)?)));
        let fields = raw.iter().filter(|(key, _)| given.as_ref().is_none_or(|(field, _)| key != field));
        let item = media::reduce(fields.map(|(key, value)| (key.clone(), value.clone())).collect());
        let Value::Object(item) = item else {
            return None;
        };
        let mut tool = Self { item, ..Self::default() };
        if !room.take(tool.item.iter().map(|(key, value)| key.len() + weight(value)).sum()) {
            return None;
        }
        if let Some((field, text)) = given {
            tool.field = field;
            room.append(&mut tool.text, &text);
        }
        Some(tool)
    }

    /// A call of which only pieces have come.
    pub(super) fn begun(kind: &str, field: &'static str) -> Self {
        let item = Map::from_iter([("type".to_owned(), Value::from(kind))]);
        Self { item, field, text: String::new() }
    }

    /// Appends a piece of the call's text.
    pub(super) fn append(&mut self, field: &'static str, piece: &str, room: &mut Room) {
        self.field = field;
        room.append(&mut self.text, piece);
    }

    /// Takes the text of an earlier state where this one has none. Says how long it is.
    pub(super) fn inherit(&mut self, earlier: Self) -> usize {
        if !self.text.is_empty() || earlier.text.is_empty() {
            return 0;
        }
        self.field = earlier.field;
        self.text = earlier.text;
        self.text.len()
    }

    /// Whether there is a name or a text.
    pub(super) fn says_something(&self) -> bool {
        !self.text.is_empty() || (self.kind().ends_with("_call") && self.word("name").is_some())
    }

    /// The `call_id`, else the item's own id.
    pub(super) fn id(&self) -> Option<&str> {
        self.word("call_id").or_else(|| self.word("id"))
    }

    /// The call as an element of `tool_calls`, if the caller's code must run it.
    pub(super) fn call(&self) -> Option<Value> {
        let is_call = matches!(self.kind(), "function_call" | "custom_tool_call");
        is_call.then(|| tool_call(self.id(), self.word("name").unwrap_or_default(), &self.text))
    }

    /// The call that this item is the output of, and the output.
    pub(super) fn result_of(&self) -> Option<(&str, &Value)> {
        let call = self.word("call_id").filter(|_| self.kind().ends_with("_output"));
        Some((call?, self.result()?))
    }

    pub(super) fn item(&self) -> ToolItem {
        let kind = self.kind();
        ToolItem {
            id: self.id().map(str::to_owned),
            kind: kind.to_owned(),
            name: self.word("name").unwrap_or_else(|| kind.strip_suffix("_call").unwrap_or(kind)).to_owned(),
            input: self.input(),
            output: self.result().cloned(),
            status: self.word("status").map(str::to_owned),
            executed: SERVER_SIDE.contains(&kind) || self.word("execution") == Some("server"),
            error: self.item.get("error").and_then(reason),
        }
    }

    fn input(&self) -> Value {
        match self.field {
            "arguments" => arguments(&self.text),
            "input" => Value::from(self.text.as_str()),
            field => {
                let told = |key: &String| TOLD.contains(&key.as_str()) || self.result_key() == Some(key);
                let rest = self.item.iter().filter(|(key, value)| !told(key) && !value.is_null());
                let code = Some((field.to_owned(), Value::from(self.text.as_str())));
                rest.map(|(key, value)| (key.clone(), value.clone()))
                    .chain(code.filter(|_| !field.is_empty()))
                    .collect()
            }
        }
    }

    fn result(&self) -> Option<&Value> {
        self.item.get(self.result_key()?)
    }

    fn result_key(&self) -> Option<&'static str> {
        RESULTS.into_iter().find(|key| self.item.get(*key).is_some_and(|value| !value.is_null()))
    }

    fn kind(&self) -> &str {
        self.word("type").unwrap_or("unknown")
    }

    fn word(&self, key: &str) -> Option<&str> {
        self.item.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
    }
}

/// A call's text, which some servers send as JSON.
fn text_of_call(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Object(_) | Value::Array(_) => Some(value.to_string()),
        _ => None,
    }
}

/// Arguments as JSON; empty ones are an empty object; what is no JSON stays text.
fn arguments(text: &str) -> Value {
    match json::parse(text.as_bytes(), &mut Notes::default()) {
        Ok(Value::Null) => Value::Object(Map::new()),
        Ok(value) => value,
        Err(_) if text.trim().is_empty() => Value::Object(Map::new()),
        Err(_) => Value::from(text),
    }
}

fn reason(error: &Value) -> Option<String> {
    let text = error.as_str().or_else(|| error.get("message").and_then(Value::as_str));
    let text = text.map_or_else(|| error.to_string(), str::to_owned);
    let given = !error.is_null() && !text.is_empty();
    given.then(|| marked(head_chars(&text, MAX_REASON), text.len() as u64))
}

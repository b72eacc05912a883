use serde_json::{Map, Value, json};

use crate::{
    calls::tool_call,
    fields, media,
    message::{normalise_content, role},
};

/// A message of a request, put together from the blocks of a dialect that has blocks.
#[derive(Debug)]
pub(crate) struct Turn {
    role: String,
    content: Vec<Value>,
    calls: Vec<Value>,
    reasoning: Vec<String>,
    results: Vec<Value>,
}

impl Turn {
    pub(crate) fn new(given: Option<&Value>) -> Self {
        let role = given.and_then(Value::as_str).map_or("user", role).to_owned();
        Self { role, content: vec![], calls: vec![], reasoning: vec![], results: vec![] }
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.content.push(json!({"type": "text", "text": text}));
    }

    pub(crate) fn reasoning(&mut self, text: &str) {
        if !text.is_empty() {
            self.reasoning.push(text.to_owned());
        }
    }

    /// Takes a part that is not text.
    pub(crate) fn part(&mut self, part: Value) {
        self.content.push(media::part(part));
    }

    /// Takes a call of a tool, with its arguments as JSON.
    pub(crate) fn call(&mut self, id: Option<&Value>, name: Option<&Value>, arguments: Option<&Value>) {
        let given = arguments.filter(|arguments| !arguments.is_null());
        let arguments = given.map_or("{}".into(), |given| fields::arguments(Some(given)));
        let name = name.and_then(Value::as_str).unwrap_or_default();
        self.calls.push(tool_call(id.and_then(Value::as_str), name, &arguments));
    }

    /// Takes the result of a tool, which is a message of its own.
    pub(crate) fn result(&mut self, id: Option<&Value>, name: Option<&Value>, content: Value) {
        let mut message = Map::from_iter([("role".to_owned(), Value::from("tool"))]);
        message.extend(id.map(|id| ("tool_call_id".to_owned(), id.clone())));
        message.extend(name.map(|name| ("name".to_owned(), name.clone())));
        message.insert("content".into(), normalise_content(content));
        self.results.push(Value::Object(message));
    }

    /// The results of tools, and then what else was said.
    pub(crate) fn into_messages(self) -> Vec<Value> {
        let mut messages = self.results;
        let says_nothing = self.content.is_empty() && self.calls.is_empty() && self.reasoning.is_empty();
        if says_nothing && !messages.is_empty() {
            return messages;
        }
        let mut message = Map::from_iter([("role".to_owned(), Value::from(self.role))]);
        let content = match self.content.is_empty() && !self.calls.is_empty() {
            true => Value::Null,
            false => normalise_content(Value::Array(self.content)),
        };
        message.insert("content".into(), content);
        if !self.calls.is_empty() {
            message.insert("tool_calls".into(), Value::from(self.calls));
        }
        if !self.reasoning.is_empty() {
            message.insert("reasoning_content".into(), Value::from(self.reasoning.join("\n\n")));
        }
        messages.push(Value::Object(message));
        messages
    }
}

/// The messages of a request whose `system` and whose messages' `content` are blocks; `say` takes one block.
pub(crate) fn conversation(request: &mut Map<String, Value>, say: fn(&mut Turn, Value)) -> Vec<Value> {
    let system = request.remove("system").filter(|system| !system.is_null());
    let system = system.into_iter().flat_map(|content| turn(Some(&Value::from("system")), content, say));
    let messages = match request.remove("messages") {
        Some(Value::Array(messages)) => messages,
        Some(Value::Null) | None => vec![],
        Some(other) => vec![other],
    };
    let messages = messages.into_iter().flat_map(|mut message| {
        let content = message.get_mut("content").map(Value::take).unwrap_or_default();
        turn(message.get("role"), content, say)
    });
    system.chain(messages).collect()
}

fn turn(role: Option<&Value>, content: Value, say: fn(&mut Turn, Value)) -> Vec<Value> {
    let mut turn = Turn::new(role);
    match content {
        Value::Array(blocks) => blocks.into_iter().for_each(|block| say(&mut turn, block)),
        Value::String(text) => turn.text(&text),
        Value::Null => {}
        other => say(&mut turn, other),
    }
    turn.into_messages()
}

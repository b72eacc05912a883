//! adk's contents as messages of the platform: `{"role", "content", …}`.

use std::mem;

use adk_core::{Content, EmbeddedResource, FileDataPart, InlineDataPart, Part};
use serde_json::{Map, Value};

/// `{"messages": [...]}` of a conversation.
pub(crate) fn conversation<'a>(contents: impl IntoIterator<Item = &'a Content>) -> Value {
    let mut messages = Vec::new();
    contents.into_iter().for_each(|content| add_messages(content, &mut messages));
    object([("messages", Value::Array(messages))])
}

/// A content of adk is one message, and one more for each result of a tool in it.
fn add_messages(content: &Content, messages: &mut Vec<Value>) {
    let role = role_of(&content.role);
    let mut own = Message::default();
    for part in &content.parts {
        match part {
            Part::FunctionResponse { function_response: result, id, .. } => {
                own.flush(role, messages);
                let content = result_of(&result.response, &result.inline_data, &result.file_data);
                let mut message = Map::from_iter([("role".to_owned(), "tool".into())]);
                put(&mut message, "tool_call_id", id.clone());
                put(&mut message, "name", Some(result.name.as_str()));
                put(&mut message, "content", Some(content));
                messages.push(message.into());
            }
            part => own.add(part),
        }
    }
    own.flush(role, messages);
}

fn role_of(role: &str) -> &str {
    match role {
        "model" | "ai" => "assistant",
        "function" => "tool",
        "human" => "user",
        "developer" => "system",
        other => other,
    }
}

/// A message that is put together from parts, which may come one by one.
#[derive(Debug, Default)]
pub(crate) struct Message {
    text: String,
    has_text: bool,
    /// Parts that are no text, and the texts before them.
    parts: Vec<Value>,
    calls: Vec<Value>,
    thoughts: String,
}

impl Message {
    pub(crate) fn add(&mut self, part: &Part) {
        match part {
            Part::Text { text } => {
                self.text.push_str(text);
                self.has_text = true;
            }
            Part::Thinking { thinking, .. } => self.thoughts.push_str(thinking),
            Part::FunctionCall { name, args, id, .. } => self.calls.push(call(name, args, id.as_deref())),
            other => {
                self.close_text();
                self.parts.push(attachment(other));
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.has_text && self.parts.is_empty() && self.calls.is_empty() && self.thoughts.is_empty()
    }

    /// What the model thought, taken out of the message.
    pub(crate) fn take_thoughts(&mut self) -> Option<String> {
        Some(mem::take(&mut self.thoughts)).filter(|thoughts| !thoughts.is_empty())
    }

    /// The message. A text where there is only text, else parts; null where there is nothing.
    pub(crate) fn take(&mut self, role: &str) -> Value {
        let content = if self.parts.is_empty() {
            let text = mem::take(&mut self.text);
            let says_nothing = text.is_empty() && !self.calls.is_empty();
            if self.has_text && !says_nothing { text.into() } else { Value::Null }
        } else {
            self.close_text();
            mem::take(&mut self.parts).into()
        };
        let mut message = Map::from_iter([("role".to_owned(), role.into())]);
        message.insert("content".to_owned(), content);
        if !self.calls.is_empty() {
            put(&mut message, "tool_calls", Some(mem::take(&mut self.calls)));
        }
        put(&mut message, "reasoning_content", self.take_thoughts());
        self.has_text = false;
        message.into()
    }

    fn flush(&mut self, role: &str, messages: &mut Vec<Value>) {
        if !self.is_empty() {
            messages.push(self.take(role));
        }
    }

    fn close_text(&mut self) {
        if !self.text.is_empty() {
            let text = mem::take(&mut self.text);
            self.parts.push(object([("type", "text".into()), ("text", text.into())]));
        }
    }
}

fn call(name: &str, arguments: &Value, id: Option<&str>) -> Value {
    let function = [("name", name.into()), ("arguments", serde_json::to_string(arguments).ok().into())];
    let mut call = Map::new();
    put(&mut call, "id", id);
    put(&mut call, "type", Some("function"));
    put(&mut call, "function", Some(object(function)));
    call.into()
}

/// What is no text: what it is and how large, or where it is, without its bytes.
fn attachment(part: &Part) -> Value {
    match part {
        Part::InlineData { mime_type, data, uri, .. } => {
            reference(mime_type, Some(data.len()), uri.as_deref())
        }
        Part::FileData { mime_type, file_uri, .. } => reference(mime_type, None, Some(file_uri)),
        Part::EmbeddedResource { resource: EmbeddedResource::Text(resource) } => {
            let mut part = Map::new();
            put(&mut part, "type", Some("resource"));
            put(&mut part, "media_type", resource.mime_type.clone());
            put(&mut part, "url", Some(resource.uri.as_str()));
            put(&mut part, "text", Some(resource.text.as_str()));
            part.into()
        }
        Part::EmbeddedResource { resource: EmbeddedResource::Blob(resource) } => {
            let media_type = resource.mime_type.as_deref().unwrap_or("application/octet-stream");
            reference(media_type, Some(resource.data.len()), Some(&resource.uri))
        }
        // What a provider's own tools were asked and gave is theirs alone.
        other => serde_json::to_value(other).unwrap_or_default(),
    }
}

fn reference(media_type: &str, bytes: Option<usize>, url: Option<&str>) -> Value {
    let kind =
        ["image", "audio", "video"].into_iter().find(|kind| media_type.starts_with(kind)).unwrap_or("file");
    let inline = url.and_then(|url| url.strip_prefix("data:"));
    let mut part = Map::new();
    put(&mut part, "type", Some(kind));
    put(&mut part, "media_type", Some(media_type));
    put(&mut part, "url", url.filter(|_| inline.is_none()));
    put(&mut part, "bytes", bytes.or_else(|| inline.map(decoded_len)));
    part.into()
}

/// Bytes that the base64 text of a `data:` address stands for, from its length alone.
fn decoded_len(address: &str) -> usize {
    let base64 = address.rsplit(',').next().unwrap_or(address);
    base64.trim_end_matches('=').len() * 3 / 4
}

/// The result of a tool: what it gave, and references to the files with it.
fn result_of(response: &Value, inline: &[InlineDataPart], files: &[FileDataPart]) -> Value {
    let response = tool_result(response);
    if inline.is_empty() && files.is_empty() {
        return response;
    }
    let response = object([("type", "json".into()), ("json", response)]);
    let inline =
        inline.iter().map(|part| reference(&part.mime_type, Some(part.data.len()), part.uri.as_deref()));
    let files = files.iter().map(|part| reference(&part.mime_type, None, Some(&part.file_uri)));
    [response].into_iter().chain(inline).chain(files).collect()
}

/// A copy of what a tool gave, without the bytes of files that adk looks for in it.
pub(crate) fn tool_result(result: &Value) -> Value {
    let files = result.get("inline_data").and_then(Value::as_array);
    let (Some(fields), Some(files)) = (result.as_object(), files) else {
        return result.clone();
    };
    let copied = fields.iter().filter(|(key, _)| *key != "inline_data");
    let mut copy: Map<String, Value> = copied.map(|(key, value)| (key.clone(), value.clone())).collect();
    copy.insert("inline_data".to_owned(), files.iter().map(file).collect());
    copy.into()
}

fn file(file: &Value) -> Value {
    let bytes = file.get("data").and_then(Value::as_array).map(Vec::len);
    match (file.get("mime_type").and_then(Value::as_str), bytes) {
        (Some(media_type), Some(bytes)) => {
            reference(media_type, Some(bytes), file.get("uri").and_then(Value::as_str))
        }
        _ => file.clone(),
    }
}

/// Puts what there is.
fn put(object: &mut Map<String, Value>, key: &str, value: Option<impl Into<Value>>) {
    object.extend(value.map(|value| (key.to_owned(), value.into())));
}

/// Not by `json!`, which copies its values.
fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

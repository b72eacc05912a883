//! rig's messages in the form that all handlers record.

use std::ops::Range;

use rig_core::completion::message::{
    AssistantContent, DocumentSourceKind, Message, MimeType, ToolCall, ToolResultContent, UserContent,
};
use serde_json::{Map, Value, json};

/// `{"messages": [...]}` of a conversation.
pub(crate) fn messages<'a>(conversation: impl IntoIterator<Item = &'a Message, IntoIter: Clone>) -> Value {
    Said::all(conversation).write()
}

/// `{"messages": [...]}` of an answer.
pub(crate) fn answer(content: &[AssistantContent]) -> Value {
    Said::answer(content).write()
}

/// What the model thought before it answered.
pub(crate) fn reasoning(content: &[AssistantContent]) -> Option<String> {
    let mut texts = content.iter().filter_map(|part| match part {
        AssistantContent::Reasoning(reasoning) if !reasoning.redacted => Some(reasoning.text.as_str()),
        _ => None,
    });
    let mut text = texts.next()?.to_owned();
    text.extend(texts);
    (!text.is_empty()).then_some(text)
}

/// Messages that are not written yet, without what is not recorded. Taking them is all that the program waits for, so all
/// their texts are in one piece of memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    texts: String,
    messages: Vec<Saying>,
}

/// A part of the texts.
type Text = Range<usize>;

#[derive(Clone, Debug)]
struct Saying {
    role: &'static str,
    content: Content,
    calls: Vec<Call>,
    thought: Option<Text>,
    /// Of which call it is the result: its id, and the tool.
    result_of: Option<(Text, Text)>,
}

#[derive(Clone, Debug)]
struct Call {
    id: Text,
    tool: Text,
    arguments: Option<Text>,
}

/// Text where there is only text, else the parts; null where there is nothing.
#[derive(Clone, Debug, Default)]
enum Content {
    #[default]
    Nothing,
    Text(Text),
    Json(Value),
    Parts(Vec<Part>),
}

#[derive(Clone, Debug)]
enum Part {
    Text(Text),
    Other(Value),
}

impl Content {
    fn push(&mut self, part: Part) {
        let mut parts = match std::mem::take(self) {
            Self::Nothing => Vec::new(),
            Self::Text(text) => vec![Part::Text(text)],
            Self::Json(value) => vec![Part::Other(value)],
            Self::Parts(parts) => parts,
        };
        parts.push(part);
        *self = Self::Parts(parts);
    }

    fn write(self, texts: &str) -> Value {
        let part = |part| match part {
            Part::Text(text) => json!({"type": "text", "text": texts[text]}),
            Part::Other(value) => value,
        };
        match self {
            Self::Nothing => Value::Null,
            Self::Text(text) => texts[text].into(),
            Self::Json(value) => value,
            Self::Parts(parts) => parts.into_iter().map(part).collect(),
        }
    }
}

impl Said {
    /// What is said in a conversation.
    pub(crate) fn all<'a>(conversation: impl IntoIterator<Item = &'a Message, IntoIter: Clone>) -> Self {
        let conversation = conversation.into_iter();
        let texts = String::with_capacity(conversation.clone().map(text_bytes).sum());
        let mut said = Self { texts, messages: Vec::with_capacity(conversation.size_hint().0) };
        conversation.for_each(|message| said.message(message));
        said
    }

    /// What a model says.
    pub(crate) fn answer(content: &[AssistantContent]) -> Self {
        let mut said = Self::default();
        said.assistant(content);
        said
    }

    /// `{"messages": [...]}`.
    pub(crate) fn write(self) -> Value {
        let Self { texts, messages } = self;
        let messages: Vec<Value> = messages.into_iter().map(|message| message.write(&texts)).collect();
        let mut written = Map::new();
        written.insert("messages".to_owned(), messages.into());
        written.into()
    }

    /// Roughly how many bytes it holds.
    pub(crate) fn bytes(&self) -> usize {
        self.texts.len() + self.messages.len() * size_of::<Saying>()
    }

    fn put(&mut self, text: &str) -> Text {
        let start = self.texts.len();
        self.texts.push_str(text);
        start..self.texts.len()
    }

    /// Adds a text to what was said before.
    fn add(&mut self, content: &mut Content, text: &str) {
        match content {
            Content::Nothing => *content = Content::Text(self.put(text)),
            Content::Text(before) => {
                let start = self.texts.len();
                if before.end != start {
                    self.texts.extend_from_within(before.clone());
                    before.start = start;
                }
                self.texts.push_str(text);
                before.end = self.texts.len();
            }
            _ => content.push(Part::Text(self.put(text))),
        }
    }

    fn say(&mut self, role: &'static str, content: Content) {
        self.messages.push(Saying::by(role, content));
    }

    /// A message of rig holds what the user says and the results of tools, which are messages of their own.
    fn message(&mut self, message: &Message) {
        match message {
            Message::System { content } => {
                let text = self.put(content);
                self.say("system", Content::Text(text));
            }
            Message::Assistant(message) => {
                self.assistant(&message.content);
                let thought = reasoning(&message.content).map(|thought| self.put(&thought));
                if let Some(said) = self.messages.last_mut() {
                    said.thought = thought;
                }
            }
            Message::User { content } => {
                let mut own = Content::Nothing;
                for part in content {
                    if let UserContent::ToolResult(result) = part {
                        self.user(&mut own);
                        let result_of = (self.put(&result.call.to_string()), self.put(result.name.as_str()));
                        let content = self.tool_result(&result.content);
                        self.messages
                            .push(Saying { result_of: Some(result_of), ..Saying::by("tool", content) });
                    } else {
                        self.user_part(part, &mut own);
                    }
                }
                self.user(&mut own);
            }
        }
    }

    fn user(&mut self, content: &mut Content) {
        if !matches!(content, Content::Nothing) {
            self.say("user", std::mem::take(content));
        }
    }

    fn assistant(&mut self, parts: &[AssistantContent]) {
        let mut content = Content::Nothing;
        let mut calls = Vec::new();
        for part in parts {
            match part {
                AssistantContent::Text(text) => self.add(&mut content, &text.text),
                AssistantContent::ToolCall(call) => calls.push(self.call(call)),
                AssistantContent::Image(image) => {
                    let media_type = image.media_type.as_ref().map(MimeType::to_mime_type);
                    content.push(Part::Other(reference("image", media_type, &image.data)));
                }
                // What the model thought is recorded beside the message, and opaque items mean something to the provider alone.
                _ => {}
            }
        }
        self.messages.push(Saying { calls, ..Saying::by("assistant", content) });
    }

    fn call(&mut self, call: &ToolCall) -> Call {
        let function = &call.function;
        // As the model wrote them, if that was no JSON.
        let arguments = match &function.invalid_arguments {
            Some(invalid) => Some(self.put(invalid)),
            None => serde_json::to_string(&function.arguments).ok().map(|arguments| self.put(&arguments)),
        };
        Call { id: self.put(&call.id.to_string()), tool: self.put(function.name.as_str()), arguments }
    }

    fn tool_result(&mut self, result: &[ToolResultContent]) -> Content {
        if let [ToolResultContent::Json { value }] = result {
            return Content::Json(value.clone());
        }
        let mut content = Content::Nothing;
        for part in result {
            match part {
                ToolResultContent::Text(text) => self.add(&mut content, &text.text),
                ToolResultContent::Image(image) => {
                    let media_type = image.media_type.as_ref().map(MimeType::to_mime_type);
                    content.push(Part::Other(reference("image", media_type, &image.data)));
                }
                ToolResultContent::Json { value } => {
                    content.push(Part::Other(json!({"type": "json", "json": value})));
                }
            }
        }
        content
    }

    fn user_part(&mut self, part: &UserContent, own: &mut Content) {
        let (kind, media_type, data) = match part {
            UserContent::Text(text) => return self.add(own, &text.text),
            UserContent::Image(image) => {
                ("image", image.media_type.as_ref().map(MimeType::to_mime_type), &image.data)
            }
            UserContent::Audio(audio) => {
                ("audio", audio.media_type.as_ref().map(MimeType::to_mime_type), &audio.data)
            }
            UserContent::Video(video) => {
                ("video", video.media_type.as_ref().map(MimeType::to_mime_type), &video.data)
            }
            UserContent::Document(document) => {
                ("document", document.media_type.as_ref().map(MimeType::to_mime_type), &document.data)
            }
            UserContent::ToolResult(result) => return own.push(Part::Other(tool_result(&result.content))),
        };
        own.push(Part::Other(reference(kind, media_type, data)));
    }
}

/// Bytes of the texts of a message, where those are most of it.
fn text_bytes(message: &Message) -> usize {
    match message {
        Message::System { content } => content.len(),
        Message::Assistant(message) => {
            let texts = message.content.iter().map(|part| match part {
                AssistantContent::Text(text) => text.text.len(),
                _ => 0,
            });
            texts.sum()
        }
        Message::User { content } => {
            let texts = content.iter().map(|part| match part {
                UserContent::Text(text) => text.text.len(),
                _ => 0,
            });
            texts.sum()
        }
    }
}

impl Saying {
    fn by(role: &'static str, content: Content) -> Self {
        Self { role, content, calls: Vec::new(), thought: None, result_of: None }
    }

    fn write(self, texts: &str) -> Value {
        let mut message = Map::new();
        let mut put = |key: &str, value: Value| drop(message.insert(key.to_owned(), value));
        put("role", self.role.into());
        if let Some((call, tool)) = self.result_of {
            put("tool_call_id", texts[call].into());
            put("name", texts[tool].into());
        }
        put("content", self.content.write(texts));
        if !self.calls.is_empty() {
            let calls = self.calls.into_iter().map(|call| {
                let arguments = call.arguments.map(|arguments| &texts[arguments]);
                json!({
                    "id": texts[call.id],
                    "type": "function",
                    "function": {"name": texts[call.tool], "arguments": arguments},
                })
            });
            put("tool_calls", calls.collect());
        }
        if let Some(thought) = self.thought {
            put("reasoning_content", texts[thought].into());
        }
        message.into()
    }
}

/// The result of a tool: a text, JSON, or parts.
pub(crate) fn tool_result(result: &[ToolResultContent]) -> Value {
    let mut said = Said::default();
    let content = said.tool_result(result);
    content.write(&said.texts)
}

/// An image, a sound or a file: what it is and how large, or where it is, without its bytes.
fn reference(kind: &str, media_type: Option<&str>, data: &DocumentSourceKind) -> Value {
    let (key, value) = match data {
        DocumentSourceKind::Url(url) if !url.starts_with("data:") => ("url", Value::from(url.as_str())),
        DocumentSourceKind::Url(url) => ("bytes", decoded_len(url.split(',').next_back().unwrap_or(url))),
        DocumentSourceKind::Base64(data) => ("bytes", decoded_len(data)),
        DocumentSourceKind::Raw(data) => ("bytes", data.len().into()),
        DocumentSourceKind::FileId(id) => ("file_id", id.as_str().into()),
        DocumentSourceKind::String(text) => ("text", text.as_str().into()),
        DocumentSourceKind::Unknown => ("bytes", Value::Null),
    };
    let mut reference = Map::new();
    reference.insert("type".to_owned(), kind.into());
    reference.extend(media_type.map(|media_type| ("media_type".to_owned(), media_type.into())));
    reference.insert(key.to_owned(), value);
    reference.into()
}

/// Bytes that base64 text stands for, from its length alone.
fn decoded_len(base64: &str) -> Value {
    let digits = base64.trim_end().trim_end_matches('=').len();
    (digits * 3 / 4).into()
}

//! rig's messages in the form that all handlers record.

use rig_core::completion::message::{
    AssistantContent, DocumentSourceKind, Message, MimeType, ToolCall, ToolResultContent, UserContent,
};
use serde_json::{Map, Value, json};

/// `{"messages": [...]}` of a conversation.
pub(crate) fn messages<'a>(conversation: impl IntoIterator<Item = &'a Message>) -> Value {
    written(said(conversation))
}

/// `{"messages": [...]}` of an answer.
pub(crate) fn answer(content: &[AssistantContent]) -> Value {
    written(vec![assistant(content)])
}

/// What is said in a conversation.
pub(crate) fn said<'a>(conversation: impl IntoIterator<Item = &'a Message>) -> Vec<Said> {
    let conversation = conversation.into_iter();
    let mut all = Vec::with_capacity(conversation.size_hint().0);
    conversation.for_each(|message| append(message, &mut all));
    all
}

/// `{"messages": [...]}` of what is said.
pub(crate) fn written(said: Vec<Said>) -> Value {
    let messages: Vec<Value> = said.into_iter().map(Said::write).collect();
    let mut written = Map::new();
    written.insert("messages".to_owned(), messages.into());
    written.into()
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

/// A message that is not written yet: in few pieces, without what is not recorded. Taking it is all that the program waits for.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    role: &'static str,
    content: Content,
    calls: Vec<Call>,
    thought: Option<String>,
    /// Of which call it is the result: its id, and the tool.
    result_of: Option<(String, String)>,
}

#[derive(Clone, Debug)]
struct Call {
    id: String,
    tool: String,
    arguments: Option<String>,
}

/// Text where there is only text, else the parts; null where there is nothing.
#[derive(Clone, Debug, Default)]
enum Content {
    #[default]
    Nothing,
    Text(String),
    Json(Value),
    Parts(Vec<Part>),
}

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Other(Value),
}

impl Content {
    fn text(&mut self, text: &str) {
        match self {
            Self::Nothing => *self = Self::Text(text.to_owned()),
            Self::Text(before) => before.push_str(text),
            _ => self.parts().push(Part::Text(text.to_owned())),
        }
    }

    fn other(&mut self, part: Value) {
        self.parts().push(Part::Other(part));
    }

    fn parts(&mut self) -> &mut Vec<Part> {
        let parts = match std::mem::take(self) {
            Self::Nothing => Vec::new(),
            Self::Text(text) => vec![Part::Text(text)],
            Self::Json(value) => vec![Part::Other(value)],
            Self::Parts(parts) => parts,
        };
        *self = Self::Parts(parts);
        match self {
            Self::Parts(parts) => parts,
            _ => unreachable!("just set"),
        }
    }

    fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    fn write(self) -> Value {
        let part = |part| match part {
            Part::Text(text) => json!({"type": "text", "text": text}),
            Part::Other(value) => value,
        };
        match self {
            Self::Nothing => Value::Null,
            Self::Text(text) => text.into(),
            Self::Json(value) => value,
            Self::Parts(parts) => parts.into_iter().map(part).collect(),
        }
    }

    fn bytes(&self) -> usize {
        // What is no text is small: it is what something is, and not its bytes.
        const OTHER: usize = 128;
        match self {
            Self::Nothing => 0,
            Self::Text(text) => text.len(),
            Self::Json(_) => OTHER,
            Self::Parts(parts) => parts
                .iter()
                .map(|part| match part {
                    Part::Text(text) => text.len(),
                    Part::Other(_) => OTHER,
                })
                .sum(),
        }
    }
}

impl Said {
    fn by(role: &'static str, content: Content) -> Self {
        Self { role, content, calls: Vec::new(), thought: None, result_of: None }
    }

    fn write(self) -> Value {
        let mut message = Map::new();
        let mut put = |key: &str, value: Value| drop(message.insert(key.to_owned(), value));
        put("role", self.role.into());
        if let Some((call, tool)) = self.result_of {
            put("tool_call_id", call.into());
            put("name", tool.into());
        }
        put("content", self.content.write());
        if !self.calls.is_empty() {
            let calls = self.calls.into_iter().map(|call| {
                json!({
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.tool, "arguments": call.arguments},
                })
            });
            put("tool_calls", calls.collect());
        }
        if let Some(thought) = self.thought {
            put("reasoning_content", thought.into());
        }
        message.into()
    }

    /// Roughly how much it holds.
    pub(crate) fn bytes(&self) -> usize {
        let calls = self
            .calls
            .iter()
            .map(|call| call.id.len() + call.tool.len() + call.arguments.as_ref().map_or(0, String::len));
        size_of::<Self>()
            + self.content.bytes()
            + calls.sum::<usize>()
            + self.thought.as_ref().map_or(0, String::len)
            + self.result_of.as_ref().map_or(0, |(call, tool)| call.len() + tool.len())
    }
}

/// A message of rig holds what the user says and the results of tools, which are messages of their own.
fn append(message: &Message, all: &mut Vec<Said>) {
    match message {
        Message::System { content } => all.push(Said::by("system", Content::Text(content.clone()))),
        Message::Assistant(message) => {
            let mut said = assistant(&message.content);
            said.thought = reasoning(&message.content);
            all.push(said);
        }
        Message::User { content } => {
            let mut own = Content::Nothing;
            for part in content {
                if let UserContent::ToolResult(result) = part {
                    take_user(&mut own, all);
                    let result_of = (result.call.to_string(), result.name.as_str().to_owned());
                    let said = Said::by("tool", tool_content(&result.content));
                    all.push(Said { result_of: Some(result_of), ..said });
                } else {
                    user_part(part, &mut own);
                }
            }
            take_user(&mut own, all);
        }
    }
}

fn take_user(content: &mut Content, all: &mut Vec<Said>) {
    if !content.is_nothing() {
        all.push(Said::by("user", std::mem::take(content)));
    }
}

/// What the model says.
pub(crate) fn assistant(parts: &[AssistantContent]) -> Said {
    let mut said = Said::by("assistant", Content::Nothing);
    for part in parts {
        match part {
            AssistantContent::Text(text) => said.content.text(&text.text),
            AssistantContent::ToolCall(call) => said.calls.push(called(call)),
            AssistantContent::Image(image) => {
                let media_type = image.media_type.as_ref().map(MimeType::to_mime_type);
                said.content.other(reference("image", media_type, &image.data));
            }
            // What the model thought is recorded beside the message, and opaque items mean something to the provider alone.
            _ => {}
        }
    }
    said
}

fn called(call: &ToolCall) -> Call {
    let function = &call.function;
    // As the model wrote them, if that was no JSON.
    let arguments = function.invalid_arguments.clone();
    let arguments = arguments.or_else(|| serde_json::to_string(&function.arguments).ok());
    Call { id: call.id.to_string(), tool: function.name.as_str().to_owned(), arguments }
}

/// The result of a tool: a text, JSON, or parts.
pub(crate) fn tool_result(result: &[ToolResultContent]) -> Value {
    tool_content(result).write()
}

fn tool_content(result: &[ToolResultContent]) -> Content {
    if let [ToolResultContent::Json { value }] = result {
        return Content::Json(value.clone());
    }
    let mut content = Content::Nothing;
    for part in result {
        match part {
            ToolResultContent::Text(text) => content.text(&text.text),
            ToolResultContent::Image(image) => {
                let media_type = image.media_type.as_ref().map(MimeType::to_mime_type);
                content.other(reference("image", media_type, &image.data));
            }
            ToolResultContent::Json { value } => content.other(json!({"type": "json", "json": value})),
        }
    }
    content
}

fn user_part(part: &UserContent, own: &mut Content) {
    let (kind, media_type, data) = match part {
        UserContent::Text(text) => return own.text(&text.text),
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
        UserContent::ToolResult(result) => return own.other(tool_result(&result.content)),
    };
    own.other(reference(kind, media_type, data));
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

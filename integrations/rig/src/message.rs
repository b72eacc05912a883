//! rig's messages in the form that all handlers record.

use std::hash::{DefaultHasher, Hash, Hasher};

use rig_core::completion::message::{
    AssistantContent, DocumentSourceKind, Message, MimeType, ToolCall, ToolResultContent, UserContent,
};
use serde_json::{Map, Value, json};

/// `{"messages": [...]}` of a conversation.
pub(crate) fn messages<'a>(conversation: impl IntoIterator<Item = &'a Message>) -> Value {
    let mut all = Vec::new();
    conversation.into_iter().for_each(|message| append(message, &mut all));
    json!({ "messages": all })
}

/// `{"messages": [...]}` of an answer.
pub(crate) fn answer(content: &[AssistantContent]) -> Value {
    json!({ "messages": [assistant(content)] })
}

/// What the model thought before it answered.
pub(crate) fn reasoning(content: &[AssistantContent]) -> Option<String> {
    let texts = content.iter().filter_map(|part| match part {
        AssistantContent::Reasoning(reasoning) if !reasoning.redacted => Some(reasoning.text.as_str()),
        _ => None,
    });
    let text: String = texts.collect();
    (!text.is_empty()).then_some(text)
}

/// A number for a conversation, by which it is seen that its texts were changed.
pub(crate) fn signature(conversation: &[Message]) -> u64 {
    let mut hasher = DefaultHasher::new();
    conversation.len().hash(&mut hasher);
    for message in conversation {
        match message {
            Message::System { content } => content.hash(&mut hasher),
            Message::Assistant(message) => {
                for part in &message.content {
                    match part {
                        AssistantContent::Text(text) => text.text.hash(&mut hasher),
                        AssistantContent::ToolCall(call) => call.function.name.as_str().hash(&mut hasher),
                        _ => {}
                    }
                }
            }
            Message::User { content } => {
                for part in content {
                    match part {
                        UserContent::Text(text) => text.text.hash(&mut hasher),
                        UserContent::ToolResult(result) => {
                            let texts = result.content.iter().filter_map(ToolResultContent::as_text);
                            texts.for_each(|text| text.hash(&mut hasher));
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    hasher.finish()
}

/// A message of rig holds what the user says and the results of tools, which are messages of their own.
fn append(message: &Message, all: &mut Vec<Value>) {
    match message {
        Message::System { content } => all.push(json!({"role": "system", "content": content})),
        Message::Assistant(message) => {
            let mut said = assistant(&message.content);
            if let (Some(thought), Some(said)) = (reasoning(&message.content), said.as_object_mut()) {
                said.insert("reasoning_content".to_owned(), thought.into());
            }
            all.push(said);
        }
        Message::User { content } => {
            let mut parts = Vec::new();
            for part in content {
                if let UserContent::ToolResult(result) = part {
                    take_user(&mut parts, all);
                    all.push(json!({
                        "role": "tool",
                        "tool_call_id": result.call.to_string(),
                        "name": result.name.as_str(),
                        "content": tool_result(&result.content),
                    }));
                } else {
                    parts.push(user_part(part));
                }
            }
            take_user(&mut parts, all);
        }
    }
}

fn take_user(parts: &mut Vec<Part>, all: &mut Vec<Value>) {
    if !parts.is_empty() {
        all.push(json!({"role": "user", "content": content(std::mem::take(parts))}));
    }
}

fn assistant(content_parts: &[AssistantContent]) -> Value {
    let mut parts = Vec::new();
    let mut calls = Vec::new();
    for part in content_parts {
        match part {
            AssistantContent::Text(text) => parts.push(Part::Text(text.text.clone())),
            AssistantContent::ToolCall(call) => calls.push(tool_call(call)),
            AssistantContent::Image(image) => {
                let media_type = image.media_type.as_ref().map(MimeType::to_mime_type);
                parts.push(Part::Other(reference("image", media_type, &image.data)));
            }
            // What the model thought is recorded beside the message, and opaque items mean something to the provider alone.
            _ => {}
        }
    }
    let mut message = Map::new();
    message.insert("role".to_owned(), "assistant".into());
    message.insert("content".to_owned(), content(parts));
    if !calls.is_empty() {
        message.insert("tool_calls".to_owned(), calls.into());
    }
    message.into()
}

fn tool_call(call: &ToolCall) -> Value {
    let function = &call.function;
    // As the model wrote them, if that was no JSON.
    let arguments = function.invalid_arguments.clone();
    let arguments = arguments.or_else(|| serde_json::to_string(&function.arguments).ok());
    json!({
        "id": call.id.to_string(),
        "type": "function",
        "function": {"name": function.name.as_str(), "arguments": arguments},
    })
}

/// The result of a tool: a text, JSON, or parts.
pub(crate) fn tool_result(result: &[ToolResultContent]) -> Value {
    match result {
        [ToolResultContent::Json { value }] => value.clone(),
        parts => content(parts.iter().map(result_part).collect()),
    }
}

fn result_part(part: &ToolResultContent) -> Part {
    match part {
        ToolResultContent::Text(text) => Part::Text(text.text.clone()),
        ToolResultContent::Image(image) => {
            let media_type = image.media_type.as_ref().map(MimeType::to_mime_type);
            Part::Other(reference("image", media_type, &image.data))
        }
        ToolResultContent::Json { value } => Part::Other(json!({"type": "json", "json": value})),
    }
}

fn user_part(part: &UserContent) -> Part {
    let (kind, media_type, data) = match part {
        UserContent::Text(text) => return Part::Text(text.text.clone()),
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
        UserContent::ToolResult(result) => return Part::Other(tool_result(&result.content)),
    };
    Part::Other(reference(kind, media_type, data))
}

enum Part {
    Text(String),
    Other(Value),
}

/// Text where there is only text, else the parts; null where there is nothing.
fn content(parts: Vec<Part>) -> Value {
    if parts.is_empty() {
        return Value::Null;
    }
    if parts.iter().all(|part| matches!(part, Part::Text(_))) {
        let texts = parts.into_iter().map(|part| match part {
            Part::Text(text) => text,
            Part::Other(_) => String::new(),
        });
        return texts.collect::<String>().into();
    }
    let parts = parts.into_iter().map(|part| match part {
        Part::Text(text) => json!({"type": "text", "text": text}),
        Part::Other(value) => value,
    });
    parts.collect()
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

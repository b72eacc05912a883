//! What goes over the wire: completions, chunks, usage, errors.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{ChatRequest, Message, Reply};

const WORDS_PER_CHUNK: usize = 3;
const ARGUMENT_CHARS_PER_CHUNK: usize = 9;
const CHARS_PER_TOKEN: usize = 4;
const TOKENS_PER_MESSAGE: usize = 3;
const DATE_SUFFIX: &str = "-2024-07-18";

/// One answer, ready to be sent whole or in chunks.
pub(crate) struct Completion {
    id: String,
    created: u64,
    model: String,
    content: Option<String>,
    tool_calls: Vec<Value>,
    usage: Value,
    include_usage: bool,
}

impl Completion {
    pub(crate) fn new(request: &ChatRequest, reply: Reply) -> Self {
        let usage = usage(request, &reply);
        Self {
            id: format!("chatcmpl-{}", Uuid::new_v4().simple()),
            created: now(),
            model: dated(&request.model),
            content: reply.content,
            tool_calls: reply.tool_calls.iter().map(tool_call).collect(),
            usage,
            include_usage: request.include_usage,
        }
    }

    pub(crate) fn whole(&self) -> Value {
        let mut message =
            json!({"role": "assistant", "content": self.content, "refusal": null, "annotations": []});
        if !self.tool_calls.is_empty() {
            message["tool_calls"] = json!(self.tool_calls);
        }
        let choice =
            json!({"index": 0, "message": message, "logprobs": null, "finish_reason": self.finish_reason()});
        let mut whole = self.envelope("chat.completion", json!([choice]));
        whole["usage"] = self.usage.clone();
        whole
    }

    /// The events of a streamed answer, without the end marker.
    pub(crate) fn chunks(&self) -> Vec<Value> {
        let opening = match self.content {
            Some(_) => json!({"role": "assistant", "content": "", "refusal": null}),
            None => json!({"role": "assistant", "content": null}),
        };
        let mut chunks = vec![self.chunk(opening, None)];
        for words in word_groups(self.content.as_deref().unwrap_or_default()) {
            chunks.push(self.chunk(json!({"content": words}), None));
        }
        for (index, call) in self.tool_calls.iter().enumerate() {
            let deltas = tool_call_deltas(index, call).into_iter();
            chunks.extend(deltas.map(|delta| self.chunk(json!({"tool_calls": [delta]}), None)));
        }
        chunks.push(self.chunk(json!({}), Some(self.finish_reason())));
        if self.include_usage {
            let mut last = self.envelope("chat.completion.chunk", json!([]));
            last["usage"] = self.usage.clone();
            chunks.push(last);
        }
        chunks
    }

    fn chunk(&self, delta: Value, finish_reason: Option<&str>) -> Value {
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason});
        let mut chunk = self.envelope("chat.completion.chunk", json!([choice]));
        if self.include_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }

    fn envelope(&self, object: &str, choices: Value) -> Value {
        json!({
            "id": self.id,
            "object": object,
            "created": self.created,
            "model": self.model,
            "service_tier": "default",
            "system_fingerprint": "fp_standin0001",
            "choices": choices,
        })
    }

    fn finish_reason(&self) -> &'static str {
        if self.tool_calls.is_empty() { "stop" } else { "tool_calls" }
    }
}

/// An error in the shape the service sends.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(crate) status: u16,
    message: String,
    param: Option<String>,
    code: Option<&'static str>,
}

impl ApiError {
    pub(crate) fn invalid(message: &str, param: Option<&str>, code: Option<&'static str>) -> Self {
        Self { status: 400, message: message.to_owned(), param: param.map(str::to_owned), code }
    }

    pub(crate) fn missing(param: &str) -> Self {
        let message = format!("Missing required parameter: '{param}'.");
        Self::invalid(&message, Some(param), Some("missing_required_parameter"))
    }

    pub(crate) fn wrong_type(param: &str, expected: &str) -> Self {
        let message = format!("Invalid value for '{param}': expected {expected}.");
        Self::invalid(&message, Some(param), Some("invalid_value"))
    }

    pub(crate) fn no_key() -> Self {
        let message = "No API key was given. Send it in the Authorization header, as 'Bearer KEY'.";
        Self { status: 401, ..Self::invalid(message, None, None) }
    }

    pub(crate) fn unknown_path(method: &str, path: &str) -> Self {
        Self { status: 404, ..Self::invalid(&format!("Invalid URL ({method} {path})"), None, None) }
    }

    pub(crate) fn wrong_method(method: &str, path: &str) -> Self {
        let message = format!("Not allowed to {method} on {path}.");
        Self { status: 405, ..Self::invalid(&message, None, Some("method_not_supported")) }
    }

    pub(crate) fn body(&self) -> Value {
        json!({"error": {
            "message": self.message,
            "type": "invalid_request_error",
            "param": self.param,
            "code": self.code,
        }})
    }
}

fn tool_call((name, arguments): &(String, Value)) -> Value {
    json!({
        "id": format!("call_{}", &Uuid::new_v4().simple().to_string()[..24]),
        "type": "function",
        "function": {"name": name, "arguments": arguments.to_string()},
    })
}

/// The first delta carries id and name, the others a piece of the arguments each.
fn tool_call_deltas(index: usize, call: &Value) -> Vec<Value> {
    let mut first = call.clone();
    first["index"] = json!(index);
    first["function"]["arguments"] = json!("");
    let arguments: Vec<char> = call["function"]["arguments"].as_str().unwrap_or_default().chars().collect();
    let pieces = arguments.chunks(ARGUMENT_CHARS_PER_CHUNK).map(|piece| {
        let piece: String = piece.iter().collect();
        json!({"index": index, "function": {"arguments": piece}})
    });
    std::iter::once(first).chain(pieces).collect()
}

fn word_groups(text: &str) -> Vec<String> {
    let words: Vec<&str> = text.split_inclusive(' ').collect();
    words.chunks(WORDS_PER_CHUNK).map(|group| group.concat()).collect()
}

fn usage(request: &ChatRequest, reply: &Reply) -> Value {
    let prompt = prompt_tokens(request, &request.messages);
    let visible = reply_tokens(reply);
    let reasoning = if reasons(&request.model) { prompt / 2 + 8 } else { 0 };
    let completion = visible + reasoning;
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached_tokens(request), "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    })
}

/// What an earlier request of the same conversation must have sent already: all before the last assistant message.
fn cached_tokens(request: &ChatRequest) -> usize {
    let seen = request.messages.iter().rposition(|message| message.role == "assistant");
    seen.map_or(0, |end| prompt_tokens(request, &request.messages[..end]))
}

fn prompt_tokens(request: &ChatRequest, messages: &[Message]) -> usize {
    let tools = request.body.get("tools").map_or(0, |tools| tokens(&tools.to_string()));
    tools + messages.iter().map(message_tokens).sum::<usize>()
}

fn message_tokens(message: &Message) -> usize {
    let calls = message.tool_calls.iter().map(|call| tokens(&call.name) + tokens(&call.arguments));
    TOKENS_PER_MESSAGE + tokens(&message.text) + calls.sum::<usize>()
}

fn reply_tokens(reply: &Reply) -> usize {
    let calls = reply.tool_calls.iter();
    let calls = calls.map(|(name, arguments)| tokens(name) + tokens(&arguments.to_string()));
    tokens(reply.content.as_deref().unwrap_or_default()) + calls.sum::<usize>()
}

fn tokens(text: &str) -> usize {
    text.chars().count().div_ceil(CHARS_PER_TOKEN)
}

fn reasons(model: &str) -> bool {
    ["o1", "o3", "o4", "gpt-5"].iter().any(|family| model.starts_with(family))
}

/// The service names the dated snapshot that an alias stands for.
fn dated(model: &str) -> String {
    let bytes = model.as_bytes();
    let suffix = &bytes[bytes.len().saturating_sub(DATE_SUFFIX.len())..];
    if suffix.len() == DATE_SUFFIX.len() && [0, 5, 8].iter().all(|&at| suffix[at] == b'-') {
        model.to_owned()
    } else {
        format!("{model}{DATE_SUFFIX}")
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

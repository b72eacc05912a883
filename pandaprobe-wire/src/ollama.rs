//! Ollama's own dialect: chats, bare prompts and embeddings; a stream is lines of JSON.

use serde_json::{Map, Value, json};

use crate::{
    Usage,
    counts::count,
    dialect::Request,
    fields::{arguments, list, text},
    media, message,
    reply::{Dialect, Reply},
    texts,
};

/// Request parameters that are recorded, beside those in `options`.
const PARAMETERS: [&str; 3] = ["format", "think", "keep_alive"];

/// Reads a request, which streams unless it says otherwise.
pub(crate) fn request(mut map: Map<String, Value>) -> Request {
    let options = map.remove("options");
    let streaming = map.get("stream") != Some(&Value::Bool(false));
    let input = input(&mut map);
    let mut request = Request { streaming, ..Request::read(map, input, &PARAMETERS) };
    if let Some(Value::Object(options)) = options {
        request.parameters.extend(options);
    }
    request
}

fn input(request: &mut Map<String, Value>) -> Vec<Value> {
    if let Some(Value::Array(messages)) = request.remove("messages") {
        return messages.into_iter().map(with_images).map(message::normalise).collect();
    }
    let system = text(&Value::Object(request.clone()), "system")
        .map(|text| json!({"role": "system", "content": text}));
    let mut prompt = Map::from_iter([("role".to_owned(), Value::from("user"))]);
    prompt.insert("content".into(), request.remove("prompt").unwrap_or_default());
    prompt.extend(request.remove("images").map(|images| ("images".to_owned(), images)));
    system.into_iter().chain([message::normalise(with_images(Value::Object(prompt)))]).collect()
}

/// A message whose images are parts of its content, and whose reasoning has its usual name.
fn with_images(mut message: Value) -> Value {
    let Some(map) = message.as_object_mut() else {
        return message;
    };
    if let Some(thinking) = map.remove("thinking").filter(|thinking| thinking.is_string()) {
        map.insert("reasoning_content".into(), thinking);
    }
    if let Some(Value::Array(images)) = map.remove("images") {
        let size = |image: &Value| media::decoded_len(image.as_str().unwrap_or_default());
        let images = images.iter().map(|image| json!({"type": "image", "bytes": size(image)}));
        let said = map.remove("content").filter(|content| content.is_string());
        let said = said.map(|text| json!({"type": "text", "text": text}));
        map.insert("content".into(), said.into_iter().chain(images).collect());
    }
    message
}

/// The reader of an answer.
#[derive(Debug)]
pub(crate) struct Ollama;

impl Dialect for Ollama {
    fn whole(&mut self, value: &Value, reply: &mut Reply) {
        self.event("", value, reply);
    }

    fn event(&mut self, _: &str, value: &Value, reply: &mut Reply) -> bool {
        const REASONING: u64 = 0;
        const TEXT: u64 = 1;
        reply.envelope.model(value.get("model"));
        let is_done = value.get("done") == Some(&Value::Bool(true));
        if is_done {
            reply.complete = true;
            reply.envelope.usage(read_usage(value));
        }
        let message = value.get("message").filter(|message| message.is_object());
        if message.is_none() && value.get("response").is_none() {
            return false;
        }
        let message = message.unwrap_or(value);
        let Some((choice, room)) = reply.choice(0) else {
            return false;
        };
        if is_done {
            choice.finish(text(value, "done_reason"));
        }
        let mut said = false;
        if let Some(thinking) = text(message, "thinking") {
            said |= choice.parts.reasoning(REASONING, thinking, room);
        }
        let content = message.get("content").or_else(|| message.get("response")).and_then(Value::as_str);
        if let Some(content) = content {
            said |= choice.parts.text(TEXT, content, room);
        }
        for call in list(message, "tool_calls") {
            let function = call.get("function").unwrap_or(call);
            let index = choice.parts.next().max(TEXT + 1);
            said |= choice.parts.call(index, call.get("id"), function.get("name"), room);
            choice.parts.arguments(index, &arguments(function.get("arguments")), room);
        }
        said
    }
}

pub(crate) fn read_usage(value: &Value) -> Option<Usage> {
    let usage = Usage {
        prompt_tokens: count(value, "prompt_eval_count"),
        completion_tokens: count(value, "eval_count"),
        ..Usage::default()
    };
    (usage.prompt_tokens.is_some() || usage.completion_tokens.is_some()).then_some(usage)
}

/// Reads a request of embeddings.
pub(crate) fn embed_request(mut map: Map<String, Value>) -> Request {
    const EMBED_PARAMETERS: [&str; 4] = ["dimensions", "truncate", "options", "keep_alive"];
    let input = map.remove("input").unwrap_or_default();
    Request::read(map, texts::messages(input), &EMBED_PARAMETERS)
}

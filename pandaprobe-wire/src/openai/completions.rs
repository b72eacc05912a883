//! Completions, the elder sister of Chat Completions: texts in, texts out. Its answers are those of a chat,
//! with a text in place of each message.

use serde_json::{Map, Value};

use crate::{
    dialect::{Request, unknown_request},
    fields::{name, parameters},
    texts,
};

use super::chat;

/// Request parameters that are recorded.
const PARAMETERS: [&str; 13] = [
    "suffix",
    "max_tokens",
    "temperature",
    "top_p",
    "n",
    "stream_options",
    "logprobs",
    "echo",
    "stop",
    "presence_penalty",
    "frequency_penalty",
    "best_of",
    "seed",
];

/// Reads a request. One that is not a JSON object is kept as it is.
pub(crate) fn request(value: Value) -> Request {
    let Value::Object(mut map) = value else {
        return unknown_request(value);
    };
    let (input, prompts) = input(&mut map);
    let choices = map.get("n").and_then(Value::as_u64).unwrap_or(1);
    Request {
        model: name(map.get("model")),
        streaming: map.get("stream") == Some(&Value::Bool(true)),
        choices: choices.saturating_mul(prompts),
        input,
        parameters: parameters(map, &PARAMETERS),
    }
}

/// The messages, and how many prompts they are. Some servers take a chat here: all of it is one prompt.
fn input(request: &mut Map<String, Value>) -> (Vec<Value>, u64) {
    match request.remove("prompt").filter(|prompt| !prompt.is_null()) {
        None => (chat::input(request), 1),
        Some(prompt) => {
            let input = texts::messages(prompt);
            let prompts = input.len().max(1) as u64;
            (input, prompts)
        }
    }
}

//! Completions, the elder sister of Chat Completions: texts in, texts out. Its answers are those of a chat,
//! with a text in place of each message.

use serde_json::{Map, Value};

use crate::{dialect::Request, texts};

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

/// Reads a request.
pub(crate) fn request(mut map: Map<String, Value>) -> Request {
    let (input, prompts) = input(&mut map);
    let request = Request::read(map, input, &PARAMETERS);
    Request { choices: request.choices.saturating_mul(prompts), ..request }
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

//! Cohere: chat, version 2, and embeddings.

use serde_json::{Map, Value};

use crate::{
    Usage,
    counts::{count, sum},
    dialect::Request,
    fields::{list, text},
    limits::Room,
    message,
    reply::{Choice, Dialect, Reply},
    texts,
};

/// Request parameters that are recorded.
const PARAMETERS: [&str; 13] = [
    "temperature",
    "p",
    "k",
    "max_tokens",
    "stop_sequences",
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "logprobs",
    "response_format",
    "safety_mode",
    "thinking",
    "citation_options",
];

/// Reads a request.
pub(crate) fn request(mut map: Map<String, Value>) -> Request {
    let messages = match map.remove("messages") {
        Some(Value::Array(messages)) => messages,
        Some(Value::Null) | None => vec![],
        Some(other) => vec![other],
    };
    Request::read(map, messages.into_iter().map(message::normalise).collect(), &PARAMETERS)
}

/// The reader of an answer.
#[derive(Debug)]
pub(crate) struct Cohere;

/// Where the plan is kept that the model makes before it calls tools: it is reasoning.
const PLAN: u64 = u64::MAX;

impl Dialect for Cohere {
    fn whole(&mut self, value: &Value, reply: &mut Reply) {
        reply.envelope.model(value.get("model"));
        reply.envelope.id(value.get("id"));
        reply.envelope.usage(value.get("usage").and_then(read_usage));
        let Some(message) = value.get("message").filter(|message| message.is_object()) else {
            return;
        };
        if let Some((choice, room)) = reply.choice(0) {
            choice.finish(text(value, "finish_reason"));
            add(choice, None, message, room);
        }
    }

    fn event(&mut self, event: &str, value: &Value, reply: &mut Reply) -> bool {
        reply.envelope.id(value.get("id"));
        let delta = value.get("delta").unwrap_or(&Value::Null);
        let kind = text(value, "type").unwrap_or(event);
        if kind == "message-end" {
            reply.complete = true;
            reply.envelope.usage(delta.get("usage").and_then(read_usage));
            reply.envelope.fail(crate::error::inside(delta));
        }
        let Some((choice, room)) = reply.choice(0) else {
            return false;
        };
        choice.finish(text(delta, "finish_reason"));
        let index = value.get("index").and_then(Value::as_u64);
        match delta.get("message") {
            Some(message) if kind == "tool-call-delta" => {
                let call = message.get("tool_calls").unwrap_or(&Value::Null);
                // Calls are counted apart from texts.
                choice.parts.arguments(call_index(index.unwrap_or(0)), arguments(call), room)
            }
            Some(message) => add(choice, index, message, room),
            None => false,
        }
    }
}

/// Takes a message or a piece of one. Says whether it brought output.
fn add(choice: &mut Choice, index: Option<u64>, message: &Value, room: &mut Room) -> bool {
    let mut said = false;
    if let Some(plan) = text(message, "tool_plan") {
        said |= choice.parts.reasoning(PLAN, plan, room);
    }
    let content = message.get("content").filter(|content| content.is_object());
    for (position, part) in list(message, "content").chain(content).enumerate() {
        let index = index.unwrap_or(position as u64);
        if let Some(thinking) = part.get("thinking").and_then(Value::as_str) {
            said |= choice.parts.reasoning(index, thinking, room);
        } else if let Some(piece) = part.get("text").and_then(Value::as_str) {
            said |= choice.parts.text(index, piece, room);
        }
    }
    let call = message.get("tool_calls").filter(|call| call.is_object());
    for (position, call) in list(message, "tool_calls").chain(call).enumerate() {
        let index = call_index(index.unwrap_or(position as u64));
        let function = call.get("function").unwrap_or(&Value::Null);
        said |= choice.parts.call(index, call.get("id"), function.get("name"), room);
        choice.parts.arguments(index, arguments(call), room);
    }
    said
}

fn call_index(index: u64) -> u64 {
    (1 << 32_u64) + index.min(u64::from(u32::MAX))
}

fn arguments(call: &Value) -> &str {
    call.get("function").and_then(|function| text(function, "arguments")).unwrap_or_default()
}

/// What the model saw, and not what is billed.
fn read_usage(raw: &Value) -> Option<Usage> {
    let tokens = raw.get("tokens").filter(|tokens| tokens.is_object())?;
    let usage = Usage {
        prompt_tokens: count(tokens, "input_tokens"),
        completion_tokens: count(tokens, "output_tokens"),
        reasoning_tokens: count(tokens, "reasoning_tokens"),
        cache_read_tokens: count(raw, "cached_tokens"),
        ..Usage::default()
    };
    (usage.prompt_tokens.is_some() || usage.completion_tokens.is_some()).then_some(usage)
}

/// Request parameters of embeddings that are recorded.
const EMBED_PARAMETERS: [&str; 5] =
    ["input_type", "embedding_types", "output_dimension", "max_tokens", "truncate"];

/// Reads a request of embeddings.
pub(crate) fn embed_request(mut map: Map<String, Value>) -> Request {
    let given = ["texts", "images", "inputs"].iter().filter_map(|key| map.remove(*key));
    let input = given.flat_map(texts::messages).collect();
    Request::read(map, input, &EMBED_PARAMETERS)
}

/// The token counts of an answer of embeddings.
pub(crate) fn embed_usage(answer: &Value) -> Option<Usage> {
    let billed = answer.get("meta")?.get("billed_units")?;
    let prompt = sum(&[count(billed, "input_tokens"), count(billed, "image_tokens")])?;
    Some(Usage { prompt_tokens: Some(prompt), ..Usage::default() })
}

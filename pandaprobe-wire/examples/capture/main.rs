//! Decodes a folder of recorded exchanges and prints one JSON line for each that is of messages or vectors.
//!
//! `capture DIR [--chunk whole|event|awkward|byte]`. `corpus.rs` says what the folder holds.
#![expect(clippy::print_stdout, reason = "the lines are what this program is for")]

mod corpus;

use std::path::Path;

use corpus::{Outcome, Recorded};
use pandaprobe_wire::{Exchange, LlmRecord, Operation, Usage};
use serde_json::{Value, json};

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (root, chunk) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [root] => (root, "whole"),
        [root, "--chunk", chunk] => (root, chunk),
        _ => return Err("usage: capture DIR [--chunk whole|event|awkward|byte]".into()),
    };
    let root = Path::new(root);
    for recorded in corpus::load(root)? {
        if has_line(Operation::detect(&recorded.path)) && recorded.method == "POST" {
            println!("{}", line(&recorded.id, &decode(&recorded, chunk)?));
        }
    }
    Ok(())
}

/// Whether an exchange is one of messages or vectors, which the lines are made for.
fn has_line(operation: Operation) -> bool {
    dialect(operation, "").is_some()
}

fn decode(recorded: &Recorded, chunk: &str) -> Outcome<LlmRecord> {
    let mut exchange = Exchange::new(&recorded.path, &recorded.request);
    exchange.start(recorded.status, recorded.content_type.as_deref());
    let mut from = 0;
    for to in cuts(&recorded.body, chunk)? {
        exchange.push(&recorded.body[from..to]);
        from = to;
    }
    exchange.end();
    Ok(exchange.record())
}

/// Where the pieces of a body end.
fn cuts(body: &[u8], chunk: &str) -> Outcome<Vec<usize>> {
    let length = body.len();
    let mut cuts: Vec<usize> = match chunk {
        "whole" => vec![],
        "byte" => (1..length).collect(),
        "event" => (1..length).filter(|at| body[..*at].ends_with(b"\n\n")).collect(),
        "awkward" => awkward_cuts(body),
        other => return Err(format!("unknown chunking {other}").into()),
    };
    cuts.push(length);
    Ok(cuts)
}

/// After 1 to 64 bytes, and always inside of characters and line ends.
fn awkward_cuts(body: &[u8]) -> Vec<usize> {
    let mut next = 0;
    let mut step = 1;
    let is_line_end = |byte: u8| matches!(byte, b'\r' | b'\n');
    (1..body.len())
        .filter(|&at| {
            let due = at >= next;
            if due {
                step = (step * 37 + 11) % 64;
                next = at + step + 1;
            }
            due || body[at - 1] >= 0xC0 || (is_line_end(body[at - 1]) && is_line_end(body[at]))
        })
        .collect()
}

fn line(id: &str, record: &LlmRecord) -> Value {
    let first = record.output.first().unwrap_or(&Value::Null);
    let text = text(&first["content"]);
    let provider = id.split('/').next().unwrap_or_default();
    json!({
        "id": id,
        "provider": provider,
        "dialect": dialect(record.operation, provider),
        "streaming": record.streaming,
        "status": record.status,
        "model_requested": record.model_requested,
        "model_responded": record.model_responded,
        "choices": record.choices,
        "output_text": text,
        "text_parts": [text],
        "tool_calls": first["tool_calls"].as_array().into_iter().flatten().map(call).collect::<Vec<_>>(),
        "reasoning_text": record.reasoning,
        "reasoning_parts": [record.reasoning],
        "usage": record.usage.as_ref().map(given),
        "finish_reason": record.finish_reason,
        "error": record.error.as_ref().map(ToString::to_string),
        "accept": {},
        "notes": record.notes,
    })
}

fn dialect(operation: Operation, provider: &str) -> Option<&'static str> {
    match operation {
        Operation::Chat if provider == "mistral" => Some("mistral-chat"),
        Operation::Chat => Some("openai-chat"),
        Operation::Responses => Some("openai-responses"),
        Operation::Embeddings => Some("openai-embeddings"),
        Operation::AnthropicMessages => Some("anthropic-messages"),
        Operation::GeminiGenerate => Some("gemini-generate"),
        Operation::BedrockConverse => Some("bedrock-converse"),
        Operation::CohereChat => Some("cohere-chat"),
        Operation::OllamaChat => Some("ollama-chat"),
        _ => None,
    }
}

/// The counts that an answer has.
fn given(usage: &Usage) -> Value {
    let fields = json!(usage);
    let fields = fields.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    fields.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn call(call: &Value) -> Value {
    let function = &call["function"];
    let parsed = function["arguments"].as_str().and_then(|text| serde_json::from_str(text).ok());
    let arguments: Value = parsed.unwrap_or_else(|| function["arguments"].clone());
    json!({"id": call["id"], "name": function["name"], "arguments": arguments})
}

fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    }
}

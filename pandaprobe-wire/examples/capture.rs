//! Decodes a folder of recorded exchanges and prints one JSON line for each that is of messages or vectors.
//!
//! `capture DIR [--chunk whole|event|awkward|byte]`. The folder holds YAML streams of `when` (method, path,
//! body) and `then` (status, headers, body) documents; the id of an exchange is `path#index`.
#![expect(clippy::print_stdout, reason = "the lines are what this program is for")]

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use pandaprobe_wire::{Exchange, LlmRecord, Operation, Usage};
use serde::Deserialize;
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn Error>>;

#[derive(Deserialize)]
struct Recorded {
    when: When,
    then: Then,
}

#[derive(Deserialize)]
struct When {
    method: String,
    path: String,
    body: Option<String>,
}

#[derive(Deserialize)]
struct Then {
    status: u16,
    #[serde(default)]
    header: Vec<Header>,
    body: Option<String>,
    body_encoding: Option<String>,
}

#[derive(Deserialize)]
struct Header {
    name: String,
    value: Value,
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (root, chunk) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [root] => (root, "whole"),
        [root, "--chunk", chunk] => (root, chunk),
        _ => return Err("usage: capture DIR [--chunk whole|event|awkward|byte]".into()),
    };
    let root = Path::new(root);
    for file in yaml_files(root)? {
        capture_file(root, &file, chunk)?;
    }
    Ok(())
}

fn yaml_files(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(yaml_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn capture_file(root: &Path, file: &Path, chunk: &str) -> Outcome<()> {
    let text = fs::read_to_string(file)?;
    let name = file.strip_prefix(root)?.display().to_string();
    for (index, document) in serde_yaml_ng::Deserializer::from_str(&text).enumerate() {
        let recorded = Recorded::deserialize(document)?;
        if has_line(Operation::detect(&recorded.when.path)) && recorded.when.method == "POST" {
            let record = decode(&recorded, chunk)?;
            println!("{}", line(&format!("{name}#{index}"), &record));
        }
    }
    Ok(())
}

/// Whether an exchange is one of messages or vectors, which the lines are made for.
fn has_line(operation: Operation) -> bool {
    dialect(operation, "").is_some()
}

fn decode(recorded: &Recorded, chunk: &str) -> Outcome<LlmRecord> {
    let Recorded { when, then } = recorded;
    let body = then.body.as_deref().unwrap_or_default();
    let body = match then.body_encoding.as_deref() {
        None => body.as_bytes().to_vec(),
        Some("base64") => STANDARD.decode(body)?,
        Some(other) => return Err(format!("unknown encoding {other}").into()),
    };
    let content_type = then.header.iter().find(|header| header.name.eq_ignore_ascii_case("content-type"));
    let request = when.body.as_deref().unwrap_or_default();
    let mut exchange = Exchange::new(&when.path, request.as_bytes());
    exchange.start(then.status, content_type.and_then(|header| header.value.as_str()));
    let mut from = 0;
    for to in cuts(&body, chunk)? {
        exchange.push(&body[from..to]);
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

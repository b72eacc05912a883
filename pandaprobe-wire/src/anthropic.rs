//! Anthropic Messages, as Anthropic, Bedrock and Vertex speak it.

use serde_json::{Map, Value};

use crate::{
    ToolItem, Usage,
    counts::{count, sum},
    dialect::Request,
    fields::{list, name, text},
    limits::Room,
    media,
    reply::{Choice, Dialect, Reply},
    turn::{Turn, conversation},
};

/// Request parameters that are recorded.
const PARAMETERS: [&str; 9] = [
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "stop_sequences",
    "thinking",
    "service_tier",
    "output_config",
    "output_format",
];

/// Reads a request.
pub(crate) fn request(mut map: Map<String, Value>) -> Request {
    let input = conversation(&mut map, say);
    Request::read(map, input, &PARAMETERS)
}

/// Adds one block of a request's message.
fn say(turn: &mut Turn, mut block: Value) {
    match text(&block, "type") {
        Some("thinking") => turn.reasoning(text(&block, "thinking").unwrap_or_default()),
        Some("tool_use") => turn.call(block.get("id"), block.get("name"), block.get("input")),
        Some("tool_result") => {
            let content = block.get_mut("content").map(Value::take).unwrap_or_default();
            turn.result(block.get("tool_use_id"), None, content);
        }
        Some("text") | None if block.get("text").is_some_and(Value::is_string) => {
            turn.text(text(&block, "text").unwrap_or_default());
        }
        _ => turn.part(block),
    }
}

/// The reader of an answer.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    counts: Counts,
}

/// Token counts, of each of which the last one in a stream holds.
#[derive(Debug, Default)]
struct Counts {
    input: Option<u64>,
    output: Option<u64>,
    thinking: Option<u64>,
    cache_read: Option<u64>,
    cache_written: Option<u64>,
}

impl Counts {
    /// Takes the counts of a `usage`, each in place of an earlier one.
    fn read(&mut self, usage: &Value) {
        let details = usage.get("output_tokens_details");
        let thinking = details.and_then(|details| count(details, "thinking_tokens"));
        for (kept, given) in [
            (&mut self.input, count(usage, "input_tokens")),
            (&mut self.output, count(usage, "output_tokens")),
            (&mut self.thinking, thinking),
            (&mut self.cache_read, count(usage, "cache_read_input_tokens")),
            (&mut self.cache_written, count(usage, "cache_creation_input_tokens")),
        ] {
            *kept = given.or(*kept);
        }
    }

    /// The prompt holds what was read from the cache and written to it.
    fn usage(&self) -> Option<Usage> {
        let usage = Usage {
            prompt_tokens: sum(&[self.input, self.cache_read, self.cache_written]),
            completion_tokens: self.output,
            reasoning_tokens: self.thinking,
            cache_read_tokens: self.cache_read,
            cache_creation_tokens: self.cache_written,
            ..Usage::default()
        };
        (usage.prompt_tokens.is_some() || usage.completion_tokens.is_some()).then_some(usage)
    }
}

impl Messages {
    fn count(&mut self, usage: Option<&Value>, reply: &mut Reply) {
        if let Some(usage) = usage.filter(|usage| usage.is_object()) {
            self.counts.read(usage);
            reply.envelope.usage(self.counts.usage());
        }
    }

    fn start(&mut self, message: &Value, reply: &mut Reply) {
        reply.envelope.model(message.get("model"));
        reply.envelope.id(message.get("id"));
        self.count(message.get("usage"), reply);
        if let Some((choice, room)) = reply.choice(0) {
            for block in list(message, "content") {
                let index = choice.parts.next();
                begin(choice, index, block, room);
            }
            choice.finish(text(message, "stop_reason"));
        }
    }
}

impl Dialect for Messages {
    fn whole(&mut self, value: &Value, reply: &mut Reply) {
        if value.get("content").is_some() {
            self.start(value, reply);
        }
    }

    fn event(&mut self, event: &str, value: &Value, reply: &mut Reply) -> bool {
        let index = value.get("index").and_then(Value::as_u64);
        let null = &Value::Null;
        match text(value, "type").unwrap_or(event) {
            "message_start" => self.start(value.get("message").unwrap_or(null), reply),
            "message" => self.start(value, reply),
            "content_block_start" => {
                if let Some((choice, room)) = reply.choice(0) {
                    let index = index.unwrap_or_else(|| choice.parts.next());
                    return begin(choice, index, value.get("content_block").unwrap_or(null), room);
                }
            }
            "content_block_delta" => {
                if let Some((choice, room)) = reply.choice(0) {
                    let index = index.unwrap_or_else(|| choice.parts.next().saturating_sub(1));
                    return delta(choice, index, value.get("delta").unwrap_or(null), room);
                }
            }
            "message_delta" => {
                self.count(value.get("usage"), reply);
                if let Some((choice, _)) = reply.choice(0) {
                    choice.finish(value.get("delta").and_then(|delta| text(delta, "stop_reason")));
                }
            }
            "message_stop" => reply.complete = true,
            _ => {}
        }
        false
    }
}

/// Begins a block. Says whether it brought output.
fn begin(choice: &mut Choice, index: u64, block: &Value, room: &mut Room) -> bool {
    let parts = &mut choice.parts;
    let given = block.get("input").filter(|input| input.as_object().is_none_or(|map| !map.is_empty()));
    match text(block, "type").unwrap_or("text") {
        "text" => parts.text(index, text(block, "text").unwrap_or_default(), room),
        "thinking" => parts.reasoning(index, text(block, "thinking").unwrap_or_default(), room),
        "redacted_thinking" => false,
        "tool_use" => {
            let begun = parts.call(index, block.get("id"), block.get("name"), room);
            if let Some(input) = given.filter(|input| !input.is_null()) {
                parts.arguments(index, &input.to_string(), room);
            }
            begun
        }
        kind @ ("server_tool_use" | "mcp_tool_use") => {
            let item = ToolItem {
                id: name(block.get("id")),
                kind: kind.to_owned(),
                name: name(block.get("name")).unwrap_or_default(),
                input: media::reduce(block.get("input").cloned().unwrap_or_default()),
                executed: true,
                ..ToolItem::default()
            };
            parts.tool(index, item, room)
        }
        kind if kind.ends_with("_tool_result") => {
            let content = block.get("content").cloned().unwrap_or_default();
            let error = text(&content, "error_code").map(str::to_owned);
            let failed = block.get("is_error") == Some(&Value::Bool(true));
            let error = error.or_else(|| failed.then(|| content.to_string()));
            let told = parts.result(text(block, "tool_use_id"), media::reduce(content), error, room);
            told || parts.other(index, media::reduce(block.clone()), room)
        }
        _ => parts.other(index, media::reduce(block.clone()), room),
    }
}

/// Takes a piece of a block. Says whether it brought output.
fn delta(choice: &mut Choice, index: u64, delta: &Value, room: &mut Room) -> bool {
    let parts = &mut choice.parts;
    let piece = |key| delta.get(key).and_then(Value::as_str);
    match (piece("text"), piece("thinking"), piece("partial_json")) {
        (Some(piece), _, _) => parts.text(index, piece, room),
        (_, Some(piece), _) => parts.reasoning(index, piece, room),
        (_, _, Some(piece)) => parts.arguments(index, piece, room),
        _ => false,
    }
}

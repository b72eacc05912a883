//! Amazon Bedrock Converse and ConverseStream.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use crate::{
    ToolItem, Usage,
    counts::{count, sum},
    dialect::Request,
    fields::{arguments, list, name, text},
    limits::Room,
    media,
    reply::{Choice, Dialect, Reply},
    turn::{Turn, conversation},
};

/// Request parameters that are recorded, beside those in `inferenceConfig`.
const PARAMETERS: [&str; 4] =
    ["additionalModelRequestFields", "guardrailConfig", "performanceConfig", "serviceTier"];

/// Reads a request. The model is in the path.
pub(crate) fn request(mut map: Map<String, Value>) -> Request {
    let config = map.remove("inferenceConfig");
    let input = conversation(&mut map, say);
    let mut request = Request::read(map, input, &PARAMETERS);
    if let Some(Value::Object(config)) = config {
        request.parameters.extend(config);
    }
    request
}

/// Adds one block of a request's message.
fn say(turn: &mut Turn, block: Value) {
    if let Some(said) = said(&block) {
        turn.text(&said);
    } else if let Some(reasoning) = block.get("reasoningContent") {
        turn.reasoning(thought(reasoning));
    } else if let Some(call) = block.get("toolUse") {
        turn.call(call.get("toolUseId"), call.get("name"), call.get("input"));
    } else if let Some(result) = block.get("toolResult") {
        turn.result(result.get("toolUseId"), None, list(result, "content").map(result_part).collect());
    } else if block.get("cachePoint").is_none() {
        turn.part(typed(&block));
    }
}

/// A part of a tool's result.
fn result_part(part: &Value) -> Value {
    match (part.get("text"), part.get("json")) {
        (Some(Value::String(text)), _) => json!({"type": "text", "text": text}),
        (_, Some(value)) => json!({"type": "text", "text": media::reduce(value.clone()).to_string()}),
        _ => media::part(typed(part)),
    }
}

/// A block whose only key says what it is, with that as its type.
fn typed(block: &Value) -> Value {
    let mut typed = block.clone();
    let kind = block.as_object().and_then(|map| map.keys().next()).cloned();
    if let (Some(map), Some(kind)) = (typed.as_object_mut(), kind) {
        map.entry("type").or_insert_with(|| Value::from(kind));
    }
    typed
}

/// The text of a block: its own, of what is checked, or of what is cited.
fn said(block: &Value) -> Option<Cow<'_, str>> {
    if let Some(given) = block.get("text").and_then(Value::as_str) {
        return Some(given.into());
    }
    if let Some(given) = block.get("guardContent").and_then(|guard| text(guard.get("text")?, "text")) {
        return Some(given.into());
    }
    let cited = block.get("citationsContent")?;
    Some(list(cited, "content").filter_map(|part| text(part, "text")).collect())
}

/// The text of visible reasoning.
fn thought(reasoning: &Value) -> &str {
    let whole = reasoning.get("reasoningText").unwrap_or(reasoning);
    text(whole, "text").unwrap_or_default()
}

/// The reader of an answer.
#[derive(Debug)]
pub(crate) struct Converse;

impl Dialect for Converse {
    fn whole(&mut self, value: &Value, reply: &mut Reply) {
        reply.envelope.usage(read_usage(value));
        let Some(message) = value.get("output").and_then(|output| output.get("message")) else {
            return;
        };
        if let Some((choice, room)) = reply.choice(0) {
            for block in list(message, "content") {
                let index = choice.parts.next();
                begin(choice, index, block, room);
                delta(choice, index, block, room);
            }
            choice.finish(text(value, "stopReason"));
        }
    }

    fn event(&mut self, name: &str, value: &Value, reply: &mut Reply) -> bool {
        let (kind, value) = named(name, value);
        let index = value.get("contentBlockIndex").and_then(Value::as_u64);
        let part = |key| value.get(key).filter(|part| part.is_object());
        match kind {
            "contentBlockStart" => {
                if let (Some((choice, room)), Some(start)) = (reply.choice(0), part("start")) {
                    let index = index.unwrap_or_else(|| choice.parts.next());
                    return begin(choice, index, start, room);
                }
            }
            "contentBlockDelta" => {
                if let (Some((choice, room)), Some(piece)) = (reply.choice(0), part("delta")) {
                    let index = index.unwrap_or_else(|| choice.parts.next().saturating_sub(1));
                    return delta(choice, index, piece, room);
                }
            }
            "messageStop" => {
                if let Some((choice, _)) = reply.choice(0) {
                    choice.finish(text(value, "stopReason"));
                }
            }
            // The last one.
            "metadata" => {
                reply.envelope.usage(read_usage(value));
                reply.complete = true;
            }
            _ => {}
        }
        false
    }
}

/// The kind of an event and what it holds: under the name of the frame, else as the only field of an object.
fn named<'a>(name: &'a str, value: &'a Value) -> (&'a str, &'a Value) {
    const KINDS: [&str; 5] =
        ["contentBlockDelta", "contentBlockStart", "messageStop", "metadata", "messageStart"];
    let inner = KINDS.iter().find_map(|kind| Some((*kind, value.get(*kind)?)));
    inner.filter(|_| !KINDS.contains(&name)).unwrap_or((name, value))
}

/// Begins a block. Says whether it brought output.
fn begin(choice: &mut Choice, index: u64, block: &Value, room: &mut Room) -> bool {
    const PROVIDER: &str = "server_tool_use";
    let parts = &mut choice.parts;
    if let Some(call) = block.get("toolUse") {
        if text(call, "type") == Some(PROVIDER) {
            let item = ToolItem {
                id: name(call.get("toolUseId")),
                kind: PROVIDER.to_owned(),
                name: name(call.get("name")).unwrap_or_default(),
                executed: true,
                ..ToolItem::default()
            };
            return parts.tool(index, item, room);
        }
        return parts.call(index, call.get("toolUseId"), call.get("name"), room);
    }
    if let Some(result) = block.get("toolResult") {
        let content = media::reduce(result.get("content").cloned().unwrap_or_default());
        let error = (text(result, "status") == Some("error")).then(|| content.to_string());
        return parts.result(text(result, "toolUseId"), content, error, room);
    }
    false
}

/// Takes a piece of a block, or what a whole one holds. Says whether it brought output.
fn delta(choice: &mut Choice, index: u64, piece: &Value, room: &mut Room) -> bool {
    let parts = &mut choice.parts;
    if let Some(said) = said(piece) {
        return parts.text(index, &said, room);
    }
    if let Some(reasoning) = piece.get("reasoningContent") {
        let thought = thought(reasoning);
        return !thought.is_empty() && parts.reasoning(index, thought, room);
    }
    if let Some(call) = piece.get("toolUse") {
        return parts.arguments(index, &arguments(call.get("input")), room);
    }
    let is_known = ["toolResult", "citation"].iter().any(|key| piece.get(*key).is_some());
    !is_known && parts.other(index, media::part(typed(piece)), room)
}

/// The prompt holds what was read from the cache and written to it.
fn read_usage(value: &Value) -> Option<Usage> {
    let counts = value.get("usage").filter(|usage| usage.is_object())?;
    let read = count(counts, "cacheReadInputTokens");
    let written = count(counts, "cacheWriteInputTokens");
    let usage = Usage {
        prompt_tokens: sum(&[count(counts, "inputTokens"), read, written]),
        completion_tokens: count(counts, "outputTokens"),
        total_tokens: count(counts, "totalTokens").filter(|total| *total > 0),
        cache_read_tokens: read,
        cache_creation_tokens: written,
        ..Usage::default()
    };
    (usage.prompt_tokens.is_some() || usage.completion_tokens.is_some()).then_some(usage)
}

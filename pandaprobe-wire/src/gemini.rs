//! Gemini `generateContent`, `streamGenerateContent` and embeddings, as AI Studio and Vertex speak them.

use serde_json::{Map, Value, json};

use crate::{
    ToolItem, Usage,
    counts::{count, sum},
    dialect::Request,
    fields::{list, name, text},
    limits::Room,
    media,
    reply::{Choice, Dialect, Reply},
    turn::Turn,
};

/// Reads a request.
pub(crate) fn request(mut map: Map<String, Value>) -> Request {
    let config = either(&mut map, "generationConfig", "generation_config");
    let parameters = match config {
        Some(Value::Object(config)) => config,
        _ => Map::new(),
    };
    let choices = parameters.get("candidateCount").and_then(Value::as_u64).unwrap_or(1);
    let input = input(&mut map);
    Request { choices, parameters, ..Request::read(map, input, &[]) }
}

fn input(request: &mut Map<String, Value>) -> Vec<Value> {
    let system = either(request, "systemInstruction", "system_instruction");
    let system = system.into_iter().flat_map(|content| turn(Some(&Value::from("system")), content));
    let contents = match request.remove("contents") {
        Some(Value::Array(contents)) => contents,
        Some(Value::Null) | None => vec![],
        Some(other) => vec![other],
    };
    let contents = contents.into_iter().flat_map(|content| {
        let role = content.get("role").cloned();
        turn(role.as_ref(), content)
    });
    system.chain(contents).collect()
}

/// A field under its name in JSON or in the protocol's own spelling: both are taken.
fn either(map: &mut Map<String, Value>, camel: &str, snake: &str) -> Option<Value> {
    map.remove(camel).or_else(|| map.remove(snake)).filter(|value| !value.is_null())
}

/// The messages that a content is.
pub(crate) fn turn(role: Option<&Value>, mut content: Value) -> Vec<Value> {
    let mut turn = Turn::new(role);
    match content.get_mut("parts").map(Value::take) {
        Some(Value::Array(parts)) => parts.into_iter().for_each(|part| say(&mut turn, part)),
        Some(part) => say(&mut turn, part),
        None => match content {
            Value::String(text) => turn.text(&text),
            other => say(&mut turn, other),
        },
    }
    turn.into_messages()
}

/// Adds one part of a request's content.
fn say(turn: &mut Turn, part: Value) {
    if let Some(text) = part.get("text").and_then(Value::as_str) {
        let is_thought = part.get("thought") == Some(&Value::Bool(true));
        return if is_thought { turn.reasoning(text) } else { turn.text(text) };
    }
    let given = |camel: &str, snake: &str| part.get(camel).or_else(|| part.get(snake));
    if let Some(call) = given("functionCall", "function_call") {
        turn.call(call.get("id"), call.get("name"), call.get("args"));
    } else if let Some(answer) = given("functionResponse", "function_response") {
        let content = media::reduce(answer.get("response").cloned().unwrap_or_default());
        let id = answer.get("id").or_else(|| answer.get("name"));
        turn.result(id, answer.get("name"), content);
    } else {
        turn.part(blob(&part).unwrap_or_else(|| media::reduce(part)));
    }
}

/// An image, audio or file as a reference.
fn blob(part: &Value) -> Option<Value> {
    let field =
        |value: &Value, camel: &str, snake: &str| value.get(camel).or_else(|| value.get(snake)).cloned();
    if let Some(inline) = field(part, "inlineData", "inline_data") {
        let media_type = field(&inline, "mimeType", "mime_type");
        let bytes = media::decoded_len(text(&inline, "data").unwrap_or_default());
        return Some(json!({"type": "inline_data", "media_type": media_type, "bytes": bytes}));
    }
    let file = field(part, "fileData", "file_data")?;
    let media_type = field(&file, "mimeType", "mime_type");
    Some(json!({"type": "file_data", "media_type": media_type, "url": field(&file, "fileUri", "file_uri")}))
}

/// The reader of an answer.
#[derive(Debug)]
pub(crate) struct Gemini {
    wanted: u64,
}

/// Where all thoughts of a candidate are kept.
const THOUGHTS: u64 = u64::MAX;

impl Gemini {
    /// A reader that expects `wanted` candidates.
    pub(crate) fn new(wanted: u64) -> Self {
        Self { wanted: wanted.max(1) }
    }
}

impl Dialect for Gemini {
    fn whole(&mut self, value: &Value, reply: &mut Reply) {
        self.event("", value, reply);
    }

    fn event(&mut self, _: &str, value: &Value, reply: &mut Reply) -> bool {
        reply.envelope.model(value.get("modelVersion"));
        reply.envelope.id(value.get("responseId"));
        reply.envelope.usage(value.get("usageMetadata").and_then(read_usage));
        let blocked = value.get("promptFeedback").and_then(|feedback| text(feedback, "blockReason"));
        if let Some(reason) = blocked {
            reply.block(reason);
        }
        let mut said = false;
        for candidate in list(value, "candidates") {
            let index = candidate.get("index").and_then(Value::as_u64).unwrap_or(0);
            let Some((choice, room)) = reply.choice(index) else {
                return said;
            };
            choice.finish(text(candidate, "finishReason"));
            let null = &Value::Null;
            for part in list(candidate.get("content").unwrap_or(null), "parts") {
                said |= add(choice, part, room);
            }
        }
        reply.complete |= reply.finished() >= self.wanted;
        said
    }
}

/// Takes a part of an answer. Says whether it brought output.
fn add(choice: &mut Choice, part: &Value, room: &mut Room) -> bool {
    let parts = &mut choice.parts;
    if let Some(call) = part.get("functionCall").filter(|call| call.is_object()) {
        let index = parts.next_below(THOUGHTS);
        let begun = parts.call(index, call.get("id"), call.get("name"), room);
        let arguments =
            call.get("args").filter(|args| !args.is_null()).map_or("{}".to_owned(), Value::to_string);
        parts.arguments(index, &arguments, room);
        return begun;
    }
    if let Some(code) = part.get("executableCode") {
        let item = ToolItem {
            id: name(code.get("id")),
            kind: "executable_code".to_owned(),
            name: "code_execution".to_owned(),
            input: code.clone(),
            executed: true,
            ..ToolItem::default()
        };
        let index = parts.next_below(THOUGHTS);
        return parts.tool(index, item, room);
    }
    if let Some(result) = part.get("codeExecutionResult") {
        let failed = text(result, "outcome").filter(|outcome| *outcome != "OUTCOME_OK");
        let error = failed.map(|outcome| text(result, "output").unwrap_or(outcome).to_owned());
        return parts.result(text(result, "id"), media::reduce(result.clone()), error, room);
    }
    match part.get("text").and_then(Value::as_str) {
        Some(text) if part.get("thought") == Some(&Value::Bool(true)) => {
            parts.reasoning(THOUGHTS, text, room)
        }
        Some(text) => {
            let index = parts.next_below(THOUGHTS).saturating_sub(1);
            parts.text(index, text, room)
        }
        None => match blob(part) {
            Some(reference) => {
                let index = parts.next_below(THOUGHTS);
                parts.other(index, reference, room)
            }
            None => false,
        },
    }
}

/// Thoughts belong to the answer, what tools gave belongs to the prompt.
fn read_usage(raw: &Value) -> Option<Usage> {
    let thoughts = count(raw, "thoughtsTokenCount");
    let tools = count(raw, "toolUsePromptTokenCount");
    let usage = Usage {
        prompt_tokens: sum(&[count(raw, "promptTokenCount"), tools]),
        completion_tokens: sum(&[count(raw, "candidatesTokenCount"), thoughts]),
        total_tokens: count(raw, "totalTokenCount").filter(|total| *total > 0),
        reasoning_tokens: thoughts,
        cache_read_tokens: count(raw, "cachedContentTokenCount"),
        details: tools
            .filter(|n| *n > 0)
            .map(|n| ("toolUsePromptTokenCount".to_owned(), n))
            .into_iter()
            .collect(),
        ..Usage::default()
    };
    (usage.prompt_tokens.is_some() || usage.completion_tokens.is_some()).then_some(usage)
}

/// Request parameters of embeddings that are recorded, in both spellings.
const EMBED_PARAMETERS: [&str; 6] =
    ["taskType", "task_type", "title", "outputDimensionality", "output_dimensionality", "autoTruncate"];

/// Reads a request of embeddings: of one content, or of several, whose parameters are those of the first.
pub(crate) fn embed_request(mut map: Map<String, Value>) -> Request {
    let requests = match map.remove("requests") {
        Some(Value::Array(requests)) => requests,
        _ => vec![Value::Object(map)],
    };
    let input = requests.iter().filter_map(|request| request.get("content"));
    let input = input.flat_map(|content| turn(content.get("role"), content.clone())).collect();
    match requests.into_iter().next() {
        Some(Value::Object(first)) => Request::read(first, input, &EMBED_PARAMETERS),
        _ => Request { input, ..Request::default() },
    }
}

/// The token counts of an answer of embeddings.
pub(crate) fn embed_usage(answer: &Value) -> Option<Usage> {
    let prompt = count(answer.get("usageMetadata")?, "promptTokenCount")?;
    Some(Usage { prompt_tokens: Some(prompt), ..Usage::default() })
}

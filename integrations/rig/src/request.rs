//! What is recorded of a completion beside its messages.

use std::sync::{Arc, OnceLock};

use pandaprobe_core::{Cost, Decode, Object, Piece, SpanData, Timestamp, TokenUsage};
use rig_core::completion::{CompletionRequest, CompletionResponse, FinishReason, ToolDefinition, Usage};
use serde::Serialize;
use serde_json::Value;

use crate::message::{self, Said};

/// Temperature and the like: what the request says, and nothing where it says nothing.
pub(crate) fn parameters(request: &CompletionRequest) -> Object {
    let mut parameters = Object::new();
    let mut put = |key: &str, value: Option<Value>| {
        parameters.extend(value.map(|value| (key.to_owned(), value)));
    };
    put("temperature", request.temperature.map(Value::from));
    put("max_tokens", request.max_tokens.map(Value::from));
    put("tool_choice", request.tool_choice.as_ref().and_then(written));
    put("output_schema", request.output_schema.as_ref().map(|schema| schema.as_value().clone()));
    if !request.options.is_default()
        && let Some(Value::Object(options)) = written(&request.options)
    {
        options
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .for_each(|(key, value)| put(&key, Some(value)));
    }
    if !request.provider_options.is_empty() {
        put("provider_options", written(&request.provider_options));
    }
    put("additional_params", request.additional_params.clone());
    parameters
}

fn written(value: &impl Serialize) -> Option<Value> {
    serde_json::to_value(value).ok().filter(|value| !value.is_null())
}

/// What the model is asked, and with what. It is taken where the program waits, and written elsewhere.
#[derive(Debug)]
pub(crate) struct Asked {
    said: Said,
    /// JSON of what is offered to the model, by its name.
    offered: Vec<(&'static str, Vec<u8>)>,
    answer: Answer,
    held: usize,
}

/// What the model answers, once it has.
pub(crate) type Answer = Arc<OnceLock<Answered>>;

/// What a model answered, and what is told of it.
#[derive(Debug)]
pub(crate) struct Answered {
    said: Said,
    model: String,
    usage: Option<TokenUsage>,
    cost: Option<Cost>,
    notes: [(&'static str, Option<String>); 5],
}

impl Answered {
    pub(crate) fn of(response: &CompletionResponse) -> Self {
        let origin = &response.origin;
        Self {
            said: Said::answer(&response.choice),
            model: origin.response_model.as_ref().unwrap_or(&origin.model).clone(),
            usage: usage(&response.usage),
            cost: cost(&response.usage),
            notes: [
                ("provider", Some(origin.provider.clone())),
                ("finish_reason", finish_reason(response)),
                ("reasoning_summary", message::reasoning(&response.choice)),
                ("response_id", origin.response_id.clone()),
                ("request_id", response.provider_request_id.clone()),
            ],
        }
    }

    fn write(&self, span: &mut SpanData) {
        span.output = Some(self.said.clone().write());
        span.model = Some(self.model.clone());
        span.token_usage = self.usage.clone().or(span.token_usage.take());
        span.cost = self.cost.clone().or(span.cost.take());
        for (key, value) in &self.notes {
            if let Some(value) = value {
                span.metadata.insert((*key).to_owned(), value.as_str().into());
            }
        }
    }
}

impl Asked {
    pub(crate) fn of(request: &CompletionRequest, answer: Answer) -> Self {
        let said = Said::all(&request.chat_history);
        let mut offered = Vec::new();
        if !request.tools.is_empty() {
            let tools: Vec<Offered<'_>> = request.tools.iter().map(Offered::of).collect();
            offered.extend(serde_json::to_vec(&tools).ok().map(|tools| ("tools", tools)));
        }
        if !request.documents.is_empty() {
            offered.extend(
                serde_json::to_vec(&request.documents).ok().map(|documents| ("documents", documents)),
            );
        }
        let held = said.bytes() + offered.iter().map(|(_, json)| json.len()).sum::<usize>();
        Self { said, offered, answer, held }
    }

    fn write(&self, said: Said, span: &mut SpanData) {
        // A later hook may have said that it was something else.
        span.input.get_or_insert_with(|| said.write());
        if let Some(answer) = self.answer.get() {
            answer.write(span);
        }
        for (name, json) in &self.offered {
            if !span.metadata.contains_key(*name)
                && let Ok(value) = serde_json::from_slice(json)
            {
                span.metadata.insert((*name).to_owned(), value);
            }
        }
    }
}

impl Decode for Asked {
    fn push(&mut self, _: Piece, _: Timestamp) {}

    fn describe(&self, span: &mut SpanData) {
        self.write(self.said.clone(), span);
    }

    fn finish(&mut self, span: &mut SpanData) -> Vec<SpanData> {
        let said = std::mem::take(&mut self.said);
        self.write(said, span);
        Vec::new()
    }

    fn is_stream(&self) -> bool {
        false
    }

    fn is_terminal(&self) -> bool {
        true
    }

    fn held_bytes(&self) -> usize {
        self.held + self.answer.get().map_or(0, |answer| answer.said.bytes())
    }
}

#[derive(Serialize)]
struct Offered<'a> {
    name: &'a str,
    description: &'a str,
    parameters: &'a Value,
}

impl<'a> Offered<'a> {
    fn of(tool: &'a ToolDefinition) -> Self {
        Self { name: tool.name.as_str(), description: &tool.description, parameters: &tool.parameters }
    }
}

/// rig counts as all handlers do: the prompt with what came from caches, the answer with what was thought.
pub(crate) fn usage(usage: &Usage) -> Option<TokenUsage> {
    let mut counted = TokenUsage::default();
    counted.prompt_tokens = usage.input_tokens;
    counted.completion_tokens = usage.output_tokens;
    counted.total_tokens = usage.total_tokens;
    counted.reasoning_tokens = usage.reasoning_tokens;
    counted.cache_read_tokens = usage.cached_input_tokens;
    counted.cache_creation_tokens = usage.cache_creation_input_tokens;
    counted.details.extend(usage.tool_use_prompt_tokens.map(|n| ("tool_use_prompt_tokens".to_owned(), n)));
    (counted != TokenUsage::default()).then_some(counted)
}

/// What the provider charged, or rig priced.
pub(crate) fn cost(usage: &Usage) -> Option<Cost> {
    let cost = usage.cost?;
    let parts = [
        ("input", cost.input),
        ("output", cost.output),
        ("cache_read", cost.cache_read),
        ("cache_write", cost.cache_write),
    ];
    let known = parts.into_iter().filter_map(|(name, part)| Some((name, part?)));
    Some(known.fold(Cost::new(cost.total), |cost, (name, part)| cost.part(name, part)))
}

/// Why the model stopped: the provider's own word, else rig's.
pub(crate) fn finish_reason(response: &CompletionResponse) -> Option<String> {
    let raw = &response.raw;
    let in_first = |list: &str, key: &str| raw.get(list)?.get(0)?.get(key)?.as_str();
    let own = in_first("choices", "finish_reason")
        .or_else(|| in_first("candidates", "finishReason"))
        .or_else(|| {
            ["stop_reason", "stopReason", "done_reason"].iter().find_map(|key| raw.get(key)?.as_str())
        })
        .or_else(|| raw.get("incomplete_details")?.get("reason")?.as_str())
        .or_else(|| raw.get("status")?.as_str());
    own.map(str::to_owned).or_else(|| response.finish_reason().map(word))
}

fn word(reason: FinishReason) -> String {
    match reason {
        FinishReason::Stop => "stop".to_owned(),
        FinishReason::Length => "length".to_owned(),
        FinishReason::ToolCalls => "tool_calls".to_owned(),
        FinishReason::ContentFilter => "content_filter".to_owned(),
        FinishReason::Other(word) => word,
        other => format!("{other:?}").to_lowercase(),
    }
}

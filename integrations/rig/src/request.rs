//! What is recorded of a completion beside its messages.

use pandaprobe_core::{Cost, Object, TokenUsage};
use rig_core::completion::{
    CompletionRequest, CompletionResponse, Document, FinishReason, ToolDefinition, Usage,
};
use serde::Serialize;
use serde_json::{Value, json};

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

/// The tools that the model was offered.
pub(crate) fn tools(tools: &[ToolDefinition]) -> Option<Value> {
    let offered = tools.iter().map(|tool| {
        json!({"name": tool.name.as_str(), "description": tool.description, "parameters": tool.parameters})
    });
    (!tools.is_empty()).then(|| offered.collect())
}

/// The documents that rig adds to the prompt.
pub(crate) fn documents(documents: &[Document]) -> Option<Value> {
    (!documents.is_empty()).then(|| written(&documents)).flatten()
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

/// Where providers say why they stopped.
const FINISH_REASONS: [&str; 7] = [
    "/choices/0/finish_reason",
    "/stop_reason",
    "/stopReason",
    "/candidates/0/finishReason",
    "/done_reason",
    "/incomplete_details/reason",
    "/status",
];

/// Why the model stopped: the provider's own word, else rig's.
pub(crate) fn finish_reason(response: &CompletionResponse) -> Option<String> {
    let own = FINISH_REASONS.iter().find_map(|path| response.raw.pointer(path)?.as_str());
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

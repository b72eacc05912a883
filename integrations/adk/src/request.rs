//! What a model is asked.

use adk_core::{GenerateContentConfig, LlmRequest};
use pandaprobe_core::{Object, Run, SpanKind};
use serde_json::Value;

use crate::message;

/// A call of the model `name`.
pub(crate) fn call(name: &str, request: &LlmRequest) -> Run {
    let model = if request.model.is_empty() { name } else { &request.model };
    let run = Run::new(name, SpanKind::Llm).model(model).input(message::conversation(&request.contents));
    let run = match request.config.as_ref().map(parameters) {
        Some(parameters) if !parameters.is_empty() => run.model_parameters(parameters),
        _ => run,
    };
    match request.tools.is_empty() {
        true => run,
        false => run.metadata("tools", tools(request)),
    }
}

/// The tools that are offered, by name: the request has them in no order.
fn tools(request: &LlmRequest) -> Value {
    let mut tools: Vec<(&String, &Value)> = request.tools.iter().collect();
    tools.sort_unstable_by_key(|(name, _)| *name);
    tools.into_iter().map(|(_, declaration)| declaration.clone()).collect()
}

fn parameters(config: &GenerateContentConfig) -> Object {
    let number = |number: Option<f32>| number.and_then(shortest);
    let fields = [
        ("temperature", number(config.temperature)),
        ("top_p", number(config.top_p)),
        ("top_k", config.top_k.map(Value::from)),
        ("frequency_penalty", number(config.frequency_penalty)),
        ("presence_penalty", number(config.presence_penalty)),
        ("max_output_tokens", config.max_output_tokens.map(Value::from)),
        ("seed", config.seed.map(Value::from)),
        ("top_logprobs", config.top_logprobs.map(Value::from)),
        (
            "stop_sequences",
            Some(config.stop_sequences.clone()).filter(|all| !all.is_empty()).map(Value::from),
        ),
        ("response_schema", config.response_schema.clone()),
        ("cached_content", config.cached_content.clone().map(Value::from)),
        ("extensions", Some(config.extensions.clone()).filter(|all| !all.is_empty()).map(Value::from)),
    ];
    fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

/// 0.2, not 0.20000000298023224, which is the nearest that 32 bits have.
fn shortest(number: f32) -> Option<Value> {
    let number: f64 = number.to_string().parse().ok()?;
    number.is_finite().then(|| number.into())
}

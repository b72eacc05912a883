use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    Usage,
    counts::{count, first, integer},
};

/// Further counts kept.
const MAX_DETAILS: usize = 64;

/// What a dialect calls the two sides of an exchange.
struct Names {
    prompt: &'static str,
    prompt_details: &'static str,
    completion: &'static str,
    completion_details: &'static str,
}

const CHAT: Names = Names {
    prompt: "prompt_tokens",
    prompt_details: "prompt_tokens_details",
    completion: "completion_tokens",
    completion_details: "completion_tokens_details",
};

const RESPONSES: Names = Names {
    prompt: "input_tokens",
    prompt_details: "input_tokens_details",
    completion: "output_tokens",
    completion_details: "output_tokens_details",
};

/// Reads a `usage` object of a chat; none without prompt and completion tokens.
pub(super) fn chat(raw: &Value) -> Option<Usage> {
    Some(read(raw, &CHAT)).filter(is_given)
}

/// Reads a `usage` object of a response; none without input and output tokens.
pub(super) fn responses(raw: &Value) -> Option<Usage> {
    Some(read(raw, &RESPONSES)).filter(is_given)
}

/// Reads the usage of an answer of embeddings; some servers give only the total.
pub(super) fn embeddings(answer: &Value) -> Option<Usage> {
    Some(read(answer.get("usage")?, &CHAT)).filter(|usage| is_given(usage) || usage.total_tokens.is_some())
}

/// Reads the usage of an answer of images or audio: as Responses has it, else as a chat has it.
pub(super) fn media(answer: &Value) -> Option<Usage> {
    let raw = answer.get("usage")?;
    responses(raw).or_else(|| chat(raw))
}

fn is_given(usage: &Usage) -> bool {
    usage.prompt_tokens.is_some() || usage.completion_tokens.is_some()
}

fn read(raw: &Value, names: &Names) -> Usage {
    let prompt = raw.get(names.prompt_details).unwrap_or(&Value::Null);
    let completion = raw.get(names.completion_details).unwrap_or(&Value::Null);
    Usage {
        prompt_tokens: count(raw, names.prompt),
        completion_tokens: count(raw, names.completion),
        total_tokens: count(raw, "total_tokens").filter(|total| *total > 0),
        reasoning_tokens: first(&[(completion, "reasoning_tokens"), (raw, "reasoning_tokens")]),
        cache_read_tokens: first(&[
            (prompt, "cached_tokens"),
            (raw, "prompt_cache_hit_tokens"),
            (raw, "cache_read_input_tokens"),
            (raw, "num_cached_tokens"),
        ]),
        cache_creation_tokens: first(&[(prompt, "cache_write_tokens"), (raw, "cache_creation_input_tokens")]),
        details: details(completion),
    }
}

fn details(completion: &Value) -> BTreeMap<String, u64> {
    let fields = completion.as_object().into_iter().flatten();
    let counts = fields.filter_map(|(key, value)| Some((key.clone(), integer(value).filter(|n| *n > 0)?)));
    counts.filter(|(key, _)| key != "reasoning_tokens").take(MAX_DETAILS).collect()
}

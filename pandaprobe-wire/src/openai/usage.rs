use std::collections::BTreeMap;

use serde_json::Value;

use crate::Usage;

/// Further counts kept.
const MAX_DETAILS: usize = 64;

/// Reads a `usage` object; none without prompt and completion tokens.
pub(super) fn read(raw: &Value) -> Option<Usage> {
    let prompt = raw.get("prompt_tokens_details").unwrap_or(&Value::Null);
    let completion = raw.get("completion_tokens_details").unwrap_or(&Value::Null);
    let usage = Usage {
        prompt_tokens: count(raw, "prompt_tokens"),
        completion_tokens: count(raw, "completion_tokens"),
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
    };
    let said = usage.prompt_tokens.is_some() || usage.completion_tokens.is_some();
    said.then_some(usage)
}

fn first(places: &[(&Value, &str)]) -> Option<u64> {
    places.iter().find_map(|(object, key)| count(object, key))
}

fn count(object: &Value, key: &str) -> Option<u64> {
    integer(object.get(key)?)
}

/// A non-negative integer, also where it is written `12.0`.
fn integer(value: &Value) -> Option<u64> {
    let exact = |float: &f64| (0.0..=9_007_199_254_740_992.0).contains(float) && float.fract() == 0.0;
    value.as_u64().or_else(|| value.as_f64().filter(exact).map(|float| float as u64))
}

fn details(completion: &Value) -> BTreeMap<String, u64> {
    let fields = completion.as_object().into_iter().flatten();
    let counts = fields.filter_map(|(key, value)| Some((key.clone(), integer(value).filter(|n| *n > 0)?)));
    counts.filter(|(key, _)| key != "reasoning_tokens").take(MAX_DETAILS).collect()
}

//! What the backend would refuse, or accept and then lose, is repaired: NUL characters become U+FFFD, numbers that are
//! none are left out, nesting over 200 levels becomes text, names and models are cut to what fits, token counts stay below
//! 2^31. A bad field never costs the span, and a bad span never costs the trace.

use serde_json::Value;

use super::keys::rename;
use crate::{
    cut,
    model::{Cost, Object, ScoreData, SpanData, TokenUsage, TraceData},
};

/// The longest name of a trace or span, in characters.
const MAX_NAME: usize = 512;
/// The longest model, environment or release, in characters.
const MAX_SHORT: usize = 255;
/// How deeply values may nest. The backend fails at 255 levels.
const MAX_DEPTH: usize = 200;
/// Token counts at or over this break the backend's reads of the whole project.
const TOKEN_LIMIT: u64 = 1 << 31;

/// Counts with a place of their own: a further one of such a name would stand there twice.
const TOKEN_FIELDS: [&str; 6] = [
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "reasoning_tokens",
    "cache_read_tokens",
    "cache_creation_tokens",
];

/// Bounds of what leaves the process.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) max_text_bytes: usize,
}

/// Makes a trace and its spans fit to be sent.
pub(super) fn seal_trace(trace: &mut TraceData, limits: &Limits) {
    trace.name = name(&trace.name, "trace");
    seal_content(trace.input.iter_mut().chain(&mut trace.output), &mut trace.metadata, limits);
    for tag in &mut trace.tags {
        *tag = text(tag, limits);
    }
    for short in [&mut trace.environment, &mut trace.release] {
        *short = short.take().map(|text| head_chars(&clean(&text), MAX_SHORT));
    }
    for span in &mut trace.spans {
        seal_span(span, limits);
    }
}

pub(super) fn seal_content<'a>(
    values: impl Iterator<Item = &'a mut Value>,
    metadata: &mut Object,
    limits: &Limits,
) {
    values.for_each(|value| seal_value(value, limits));
    seal_object(metadata, limits);
}

/// Makes a span fit to be sent.
pub(super) fn seal_span(span: &mut SpanData, limits: &Limits) {
    span.name = name(&span.name, "span");
    seal_content(span.input.iter_mut().chain(&mut span.output), &mut span.metadata, limits);
    if let Some(parameters) = &mut span.model_parameters {
        seal_object(parameters, limits);
    }
    span.model = span.model.take().map(|model| head_chars(&clean(&model), MAX_SHORT));
    span.error = span.error.take().map(|error| text(&error, limits));
    if let Some(usage) = &mut span.token_usage {
        seal_usage(usage, &mut span.metadata, limits);
    }
    span.cost = span.cost.take().and_then(|cost| seal_cost(cost, &mut span.metadata, limits));
}

/// Makes a score fit to be sent.
pub(super) fn seal_score(score: &mut ScoreData, limits: &Limits) {
    score.name = head_chars(&clean(&score.name), MAX_SHORT);
    score.value = head_chars(&clean(&score.value), MAX_SHORT);
    score.reason = score.reason.take().map(|reason| text(&reason, limits));
    seal_object(&mut score.metadata, limits);
}

fn seal_usage(usage: &mut TokenUsage, metadata: &mut Object, limits: &Limits) {
    let fits = |count: &u64| *count < TOKEN_LIMIT;
    let mut left_out = false;
    for count in [
        &mut usage.prompt_tokens,
        &mut usage.completion_tokens,
        &mut usage.total_tokens,
        &mut usage.reasoning_tokens,
        &mut usage.cache_read_tokens,
        &mut usage.cache_creation_tokens,
    ] {
        left_out |= count.is_some_and(|count| !fits(&count));
        *count = count.filter(fits);
    }
    // The backend adds these two up.
    let both = [usage.prompt_tokens, usage.completion_tokens];
    if !fits(&both.iter().flatten().sum()) {
        (usage.prompt_tokens, usage.completion_tokens) = (None, None);
        left_out = true;
    }
    let before = usage.details.len();
    usage.details.retain(|key, count| fits(count) && !TOKEN_FIELDS.contains(&key.as_str()));
    rename(&mut usage.details, |key| is_unfit(key, limits).then(|| text(key, limits)));
    if left_out || usage.details.len() < before {
        metadata.insert(
            "pandaprobe.token_usage".to_owned(),
            "a count of 2^31 or more, or one given twice, was left out".into(),
        );
    }
}

fn seal_cost(mut cost: Cost, metadata: &mut Object, limits: &Limits) -> Option<Cost> {
    let before = cost.details.len();
    cost.details.retain(|key, part| part.is_finite() && key != "total");
    rename(&mut cost.details, |key| is_unfit(key, limits).then(|| text(key, limits)));
    let whole = cost.total.is_finite();
    if !whole || cost.details.len() < before {
        metadata.insert(
            "pandaprobe.cost".to_owned(),
            "a cost that is no number, or given twice, was left out".into(),
        );
    }
    whole.then_some(cost)
}

fn name(given: &str, fallback: &str) -> String {
    if given.is_empty() { fallback.to_owned() } else { head_chars(&clean(given), MAX_NAME) }
}

/// At most `most` characters.
fn head_chars(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

fn is_unfit(text: &str, limits: &Limits) -> bool {
    text.contains('\0') || text.len() > limits.max_text_bytes
}

fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Clean, and no longer than the limit; what was cut is said.
fn text(given: &str, limits: &Limits) -> String {
    if given.len() <= limits.max_text_bytes {
        return clean(given);
    }
    clean(&cut::cut(given, cut::head(given, limits.max_text_bytes)))
}

fn seal_object(object: &mut Object, limits: &Limits) {
    seal_fields(object, limits, 1);
}

fn seal_value(value: &mut Value, limits: &Limits) {
    seal_nested(value, limits, 1);
}

fn seal_nested(value: &mut Value, limits: &Limits, depth: usize) {
    match value {
        Value::String(given) => {
            if is_unfit(given, limits) {
                *given = text(given, limits);
            }
        }
        Value::Array(_) | Value::Object(_) if depth >= MAX_DEPTH => {
            *value = Value::String(text(&value.to_string(), limits));
        }
        Value::Array(items) => {
            for item in items {
                seal_nested(item, limits, depth + 1);
            }
        }
        Value::Object(fields) => seal_fields(fields, limits, depth),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn seal_fields(fields: &mut Object, limits: &Limits, depth: usize) {
    if fields.keys().any(|key| is_unfit(key, limits)) {
        rename(fields, |key| Some(text(key, limits)));
    }
    for value in fields.values_mut() {
        seal_nested(value, limits, depth + 1);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Timestamp;

    const LIMITS: Limits = Limits { max_text_bytes: 100 };

    #[test]
    fn what_the_backend_would_lose_is_repaired() {
        let mut trace = TraceData::new("n\0".repeat(600), Timestamp::now());
        trace.input = Some(json!({"a\0b": ["x\0", 1]}));
        trace.metadata.insert("k\0".to_owned(), json!("v\0"));
        trace.output = Some(json!({"a\0": 1, "a\u{fffd}": 2}));
        trace.tags = vec!["t\0".to_owned(), "t".repeat(200)];
        let mut span = SpanData::new("", Timestamp::now());
        span.error = Some("e\0".to_owned());
        span.model = Some("m".repeat(300));
        span.token_usage = Some(TokenUsage::new(1 << 31, 5));
        span.cost = Some(Cost::new(f64::NAN));
        trace.spans.push(span);
        seal_trace(&mut trace, &LIMITS);

        let sent = serde_json::to_string(&trace).unwrap();
        assert!(!sent.contains("\\u0000"), "{sent}");
        assert_eq!(trace.name.chars().count(), 512);
        let span = &trace.spans[0];
        assert_eq!(span.name, "span");
        assert_eq!(span.model.as_ref().unwrap().len(), 255);
        let usage = span.token_usage.as_ref().unwrap();
        assert_eq!((usage.prompt_tokens, usage.completion_tokens), (None, Some(5)));
        assert_eq!(span.cost, None);
        assert_eq!(trace.output, Some(json!({"a\u{fffd}": 1, "a\u{fffd} 2": 2})));
        assert!(trace.tags[1].contains("200 bytes in all"), "{:?}", trace.tags);
        assert!(
            span.metadata.contains_key("pandaprobe.cost")
                && span.metadata.contains_key("pandaprobe.token_usage")
        );
    }

    #[test]
    fn counts_that_the_backend_cannot_add_up_are_left_out() {
        let mut span = SpanData::new("", Timestamp::now());
        span.token_usage = Some(TokenUsage::new(2_000_000_000, 2_000_000_000));
        seal_span(&mut span, &LIMITS);
        assert_eq!(span.token_usage, Some(TokenUsage::default()));
        assert!(span.metadata.contains_key("pandaprobe.token_usage"));
    }

    #[test]
    fn deep_values_become_text_and_long_ones_are_cut_visibly() {
        let mut deep = json!("end");
        for _ in 0..1_000 {
            deep = json!([deep]);
        }
        let limits = Limits { max_text_bytes: 10_000 };
        seal_value(&mut deep, &limits);
        let levels = std::iter::successors(Some(&deep), |value| value.get(0)).count();
        assert_eq!(levels, MAX_DEPTH);

        let mut long = json!("ä".repeat(100));
        seal_value(&mut long, &LIMITS);
        let text = long.as_str().unwrap();
        assert!(text.starts_with("ääää") && text.contains("200 bytes in all"), "{text}");
    }
}

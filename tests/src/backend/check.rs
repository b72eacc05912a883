//! What a body must be. Stricter than the real backend where that one accepts and then loses or breaks.

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::contract;
use Need::{Nullable, Optional, Required};

const MAX_SPANS: usize = 500;
const MAX_DEPTH: usize = 254;

/// One thing wrong with a body.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub(super) field: String,
    pub(super) message: String,
}

pub(super) fn trace_create(body: &Value) -> Vec<Problem> {
    check(body, contract::trace_create, |body, problems| object("", TRACE, body, problems))
}

pub(super) fn spans_create(body: &Value) -> Vec<Problem> {
    check(body, contract::spans_create, |body, problems| {
        if body.as_array().is_some_and(Vec::is_empty) {
            problem(problems, "", "at least 1 span is required");
        }
        spans("", body, problems);
    })
}

pub(super) fn trace_update(body: &Value) -> Vec<Problem> {
    check(body, contract::trace_update, |body, problems| object("", UPDATE, body, problems))
}

pub(super) fn score_create(body: &Value) -> Vec<Problem> {
    check(body, contract::score_create, |body, problems| {
        object("", SCORE, body, problems);
        score_value(body, problems);
    })
}

/// The published contract is asked last and only about what passed, so that each fault is reported once.
fn check(
    body: &Value,
    contract: fn(&Value) -> Result<(), String>,
    rules: fn(&Value, &mut Vec<Problem>),
) -> Vec<Problem> {
    let mut problems = Vec::new();
    rules(body, &mut problems);
    storable("", body, &mut problems);
    if problems.is_empty()
        && contract::available()
        && let Err(findings) = contract(body)
    {
        problem(&mut problems, "", &findings);
    }
    problems
}

struct Field {
    name: &'static str,
    rule: Rule,
    need: Need,
}

#[derive(Clone, Copy, PartialEq)]
enum Need {
    Required,
    Optional,
    Nullable,
}

enum Rule {
    Uuid,
    Time,
    Text { min: usize, max: usize },
    OneOf(&'static [&'static str]),
    Any,
    Object,
    Usage,
    Cost,
    Strings,
    Spans,
}

const fn field(name: &'static str, rule: Rule, need: Need) -> Field {
    Field { name, rule, need }
}

const NAME: Rule = Rule::Text { min: 1, max: 512 };
const SHORT: Rule = Rule::Text { min: 0, max: 255 };
const TEXT: Rule = Rule::Text { min: 0, max: usize::MAX };
const TRACE_STATUS: Rule = Rule::OneOf(&["PENDING", "RUNNING", "COMPLETED", "ERROR"]);
const SPAN_STATUS: Rule = Rule::OneOf(&["UNSET", "OK", "ERROR"]);
const KIND: Rule = Rule::OneOf(&["AGENT", "TOOL", "LLM", "RETRIEVER", "CHAIN", "EMBEDDING", "OTHER"]);

const TRACE: &[Field] = &[
    field("trace_id", Rule::Uuid, Optional),
    field("name", NAME, Required),
    field("status", TRACE_STATUS, Optional),
    field("input", Rule::Any, Nullable),
    field("output", Rule::Any, Nullable),
    field("metadata", Rule::Object, Optional),
    field("started_at", Rule::Time, Required),
    field("ended_at", Rule::Time, Nullable),
    field("session_id", SHORT, Nullable),
    field("user_id", SHORT, Nullable),
    field("tags", Rule::Strings, Optional),
    field("environment", SHORT, Nullable),
    field("release", SHORT, Nullable),
    field("spans", Rule::Spans, Optional),
];

const SPAN: &[Field] = &[
    field("span_id", Rule::Uuid, Optional),
    field("parent_span_id", Rule::Uuid, Nullable),
    field("name", NAME, Required),
    field("kind", KIND, Optional),
    field("status", SPAN_STATUS, Optional),
    field("input", Rule::Any, Nullable),
    field("output", Rule::Any, Nullable),
    field("model", SHORT, Nullable),
    field("token_usage", Rule::Usage, Nullable),
    field("metadata", Rule::Object, Optional),
    field("started_at", Rule::Time, Required),
    field("ended_at", Rule::Time, Nullable),
    field("error", TEXT, Nullable),
    field("completion_start_time", Rule::Time, Nullable),
    field("model_parameters", Rule::Object, Nullable),
    field("cost", Rule::Cost, Nullable),
];

const UPDATE: &[Field] = &[
    field("name", Rule::Text { min: 0, max: 512 }, Nullable),
    field("status", TRACE_STATUS, Nullable),
    field("input", Rule::Any, Nullable),
    field("output", Rule::Any, Nullable),
    field("metadata", Rule::Object, Nullable),
    field("ended_at", Rule::Time, Nullable),
    field("session_id", SHORT, Nullable),
    field("user_id", SHORT, Nullable),
    field("tags", Rule::Strings, Nullable),
    field("environment", SHORT, Nullable),
    field("release", SHORT, Nullable),
];

const SCORE: &[Field] = &[
    field("trace_id", Rule::Uuid, Required),
    field("name", TEXT, Required),
    field("value", TEXT, Required),
    field("data_type", Rule::OneOf(&["NUMERIC", "BOOLEAN", "CATEGORICAL"]), Optional),
    field("source", Rule::OneOf(&["AUTOMATED", "ANNOTATION", "PROGRAMMATIC"]), Optional),
    field("reason", TEXT, Nullable),
    field("metadata", Rule::Object, Optional),
];

fn object(path: &str, fields: &[Field], value: &Value, problems: &mut Vec<Problem>) {
    let Value::Object(object) = value else {
        return problem(problems, path, "an object is required");
    };
    for name in object.keys().filter(|name| !fields.iter().any(|field| field.name == *name)) {
        problem(problems, &join(path, name), "the field is unknown");
    }
    for field in fields {
        let path = join(path, field.name);
        match object.get(field.name) {
            None if field.need == Required => problem(problems, &path, "the field is required"),
            None => {}
            Some(Value::Null) if field.need == Nullable => {}
            Some(value) => field.rule.check(&path, value, problems),
        }
    }
}

impl Rule {
    fn check(&self, path: &str, value: &Value, problems: &mut Vec<Problem>) {
        let fault = match self {
            Self::Spans => return spans(path, value, problems),
            Self::Any => return depth(path, value, problems),
            Self::Object => (!value.is_object()).then_some("an object is required"),
            Self::Uuid => (!is_uuid(value)).then_some("a hyphenated lower-case UUID is required"),
            Self::Time => (!is_time(value)).then_some("an ISO 8601 time with an offset is required"),
            Self::Text { min, max } => text_fault(value, *min, *max),
            Self::OneOf(names) => {
                (!is_one_of(value, names)).then_some("the value is not one of the known ones")
            }
            Self::Strings => (!all_strings(value)).then_some("an array of strings is required"),
            Self::Usage => (!is_usage(value)).then_some(
                "counts must be integers from 0 to 2147483647, prompt and completion together too",
            ),
            Self::Cost => (!is_cost(value)).then_some("an object of numbers is required"),
        };
        if let Some(message) = fault {
            problem(problems, path, message);
        }
    }
}

fn spans(path: &str, value: &Value, problems: &mut Vec<Problem>) {
    let Value::Array(spans) = value else {
        return problem(problems, path, "an array is required");
    };
    if spans.len() > MAX_SPANS {
        problem(problems, path, &format!("at most {MAX_SPANS} spans are allowed, not {}", spans.len()));
    }
    for (index, span) in spans.iter().enumerate() {
        object(&join(path, &index.to_string()), SPAN, span, problems);
    }
}

fn text_fault(value: &Value, min: usize, max: usize) -> Option<&'static str> {
    let Value::String(text) = value else {
        return Some("a string is required");
    };
    let length = text.chars().count();
    match length {
        _ if length < min => Some("the string is too short"),
        _ if length > max => Some("the string is too long"),
        _ => None,
    }
}

fn is_uuid(value: &Value) -> bool {
    let parse = |text: &str| Uuid::try_parse(text).is_ok_and(|uuid| uuid.hyphenated().to_string() == text);
    value.as_str().is_some_and(parse)
}

/// The shape alone; with the contract at hand that one checks the calendar.
fn is_time(value: &Value) -> bool {
    let Some(text) = value.as_str() else {
        return false;
    };
    let Some((date, time)) = text.split_once('T') else {
        return false;
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || b"-:.+Z".contains(&byte));
    let offset = time.ends_with('Z') || time.get(8..).is_some_and(|rest| rest.contains(['+', '-']));
    date.len() == 10 && offset && digits(date) && digits(time)
}

fn is_one_of(value: &Value, names: &[&str]) -> bool {
    value.as_str().is_some_and(|name| names.contains(&name))
}

fn all_strings(value: &Value) -> bool {
    value.as_array().is_some_and(|items| items.iter().all(Value::is_string))
}

/// The real backend stores other counts, and then fails every list of the project's traces.
fn is_usage(value: &Value) -> bool {
    let count = |value: &Value| value.as_u64().is_some_and(|count| i32::try_from(count).is_ok());
    let both = ["prompt_tokens", "completion_tokens"]
        .iter()
        .filter_map(|part| value.get(part)?.as_u64())
        .sum::<u64>();
    value.as_object().is_some_and(|usage| usage.values().all(count)) && i32::try_from(both).is_ok()
}

fn is_cost(value: &Value) -> bool {
    value.as_object().is_some_and(|cost| cost.values().all(Value::is_number))
}

/// The real backend answers 500 to what is nested deeper.
fn depth(path: &str, value: &Value, problems: &mut Vec<Problem>) {
    if levels(value) > MAX_DEPTH {
        problem(problems, path, &format!("the value is nested more than {MAX_DEPTH} levels deep"));
    }
}

fn levels(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(levels).max().unwrap_or(0),
        Value::Object(object) => 1 + object.values().map(levels).max().unwrap_or(0),
        _ => 0,
    }
}

/// The real backend accepts a NUL and then loses the trace.
fn storable(path: &str, value: &Value, problems: &mut Vec<Problem>) {
    match value {
        Value::String(text) if text.contains('\0') => problem(problems, path, "NUL cannot be stored"),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                storable(&join(path, &index.to_string()), item, problems);
            }
        }
        Value::Object(object) => storable_object(path, object, problems),
        _ => {}
    }
}

fn storable_object(path: &str, object: &Map<String, Value>, problems: &mut Vec<Problem>) {
    for (key, value) in object {
        let path = join(path, &key.replace('\0', "\u{fffd}"));
        if key.contains('\0') {
            problem(problems, &path, "NUL cannot be stored");
        }
        storable(&path, value, problems);
    }
}

fn score_value(body: &Value, problems: &mut Vec<Problem>) {
    let Some(value) = body["value"].as_str() else {
        return;
    };
    let fault = match body["data_type"].as_str().unwrap_or("NUMERIC") {
        "NUMERIC" if !is_unit_number(value) => "a NUMERIC value is a number from 0 to 1",
        "BOOLEAN" if !["true", "false"].contains(&value.to_lowercase().as_str()) => {
            "a BOOLEAN value is true or false"
        }
        _ => return,
    };
    problem(problems, "value", fault);
}

fn is_unit_number(value: &str) -> bool {
    value.parse::<f64>().is_ok_and(|number| (0.0..=1.0).contains(&number))
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path} -> {name}") }
}

fn problem(problems: &mut Vec<Problem>, path: &str, message: &str) {
    let field = if path.is_empty() { "body" } else { path };
    problems.push(Problem { field: field.to_owned(), message: message.to_owned() });
}

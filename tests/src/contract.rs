//! The backend's published OpenAPI document, as strict validators of request bodies.
//!
//! Strict means: an object whose properties are listed takes no others, and the formats `uuid` and `date-time` hold.

use std::{fs, sync::OnceLock};

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use crate::shared::shared_dir;

/// Whether the document is here. Without it every check fails.
#[must_use]
pub fn available() -> bool {
    contract().is_some()
}

/// Checks the body of `POST /traces`.
///
/// # Errors
///
/// What is wrong with it, one finding a line.
pub fn trace_create(body: &Value) -> Result<(), String> {
    check(|contract| &contract.trace_create, body)
}

/// Checks the body of `POST /traces/{id}/spans`, an array of 1 to 500 spans.
///
/// # Errors
///
/// What is wrong with it, one finding a line.
pub fn spans_create(body: &Value) -> Result<(), String> {
    check(|contract| &contract.spans_create, body)
}

/// Checks the body of `PATCH /traces/{id}`.
///
/// # Errors
///
/// What is wrong with it, one finding a line.
pub fn trace_update(body: &Value) -> Result<(), String> {
    check(|contract| &contract.trace_update, body)
}

/// Checks the body of `POST /evaluations/trace-scores`.
///
/// # Errors
///
/// What is wrong with it, one finding a line.
pub fn score_create(body: &Value) -> Result<(), String> {
    check(|contract| &contract.score_create, body)
}

/// Checks an answer, which is to be what the document calls `name`, or a list of it as `[name]`.
///
/// # Errors
///
/// What is wrong with it, one finding a line.
pub fn answer(name: &str, body: &Value) -> Result<(), String> {
    let contract = contract().ok_or("the contract is not here")?;
    let schema = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(item) => json!({"type": "array", "items": reference(item)}),
        None => reference(name),
    };
    findings(&compile(schema, &contract.components), body)
}

struct Contract {
    components: Value,
    trace_create: Validator,
    spans_create: Validator,
    trace_update: Validator,
    score_create: Validator,
}

impl Contract {
    fn load() -> Option<Self> {
        let path = shared_dir()?.join("contract/openapi.json");
        let text = fs::read_to_string(path).ok()?;
        let mut document: Value = serde_json::from_str(&text).expect("the contract is valid JSON");
        let mut components = document["components"].take();
        close_objects(&mut components);
        let spans =
            json!({"type": "array", "minItems": 1, "maxItems": 500, "items": reference("SpanCreate")});
        Some(Self {
            trace_create: compile(reference("TraceCreate"), &components),
            spans_create: compile(spans, &components),
            trace_update: compile(reference("TraceUpdate"), &components),
            score_create: compile(reference("CreateTraceScoreRequest"), &components),
            components,
        })
    }
}

fn contract() -> Option<&'static Contract> {
    static CONTRACT: OnceLock<Option<Contract>> = OnceLock::new();
    CONTRACT.get_or_init(Contract::load).as_ref()
}

fn check(validator: fn(&Contract) -> &Validator, body: &Value) -> Result<(), String> {
    let contract = contract().ok_or("the contract is not here")?;
    findings(validator(contract), body)
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn findings(validator: &Validator, body: &Value) -> Result<(), String> {
    let findings: Vec<String> =
        validator.iter_errors(body).map(|error| format!("{}: {error}", error.instance_path())).collect();
    if findings.is_empty() { Ok(()) } else { Err(findings.join("\n")) }
}

fn compile(mut schema: Value, components: &Value) -> Validator {
    schema["components"] = components.clone();
    jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .should_validate_formats(true)
        .build(&schema)
        .expect("the contract's schemas compile")
}

/// Forbids unlisted properties wherever properties are listed and nothing is said about others.
fn close_objects(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if lists_properties(object) {
                object.entry("additionalProperties").or_insert(Value::Bool(false));
            }
            object.values_mut().for_each(close_objects);
        }
        Value::Array(items) => items.iter_mut().for_each(close_objects),
        _ => {}
    }
}

fn lists_properties(schema: &Map<String, Value>) -> bool {
    schema.get("type").is_some_and(|kind| kind == "object")
        && schema.get("properties").is_some_and(Value::is_object)
}

//! What the backend keeps, and how a later request changes it.

use std::time::Instant;

use serde_json::{Map, Value, json};
use uuid::Uuid;

type Object = Map<String, Value>;

/// Traces in the order of their first POST, and scores.
#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    traces: Vec<Stored>,
    scores: Vec<Value>,
}

#[derive(Clone, Debug)]
struct Stored {
    id: String,
    trace: Object,
    visible_at: Instant,
}

const TRACE_OVERWRITTEN: &[(&str, Value)] =
    &[("name", Value::Null), ("started_at", Value::Null), ("input", Value::Null), ("output", Value::Null)];
const TRACE_KEPT: &[&str] = &["ended_at", "session_id", "user_id", "environment", "release"];

const SPAN_OVERWRITTEN: &[(&str, Value)] = &[
    ("name", Value::Null),
    ("started_at", Value::Null),
    ("input", Value::Null),
    ("output", Value::Null),
    ("token_usage", Value::Null),
    ("cost", Value::Null),
    ("model_parameters", Value::Null),
];
const SPAN_KEPT: &[&str] = &["parent_span_id", "model", "ended_at", "error", "completion_start_time"];

impl Store {
    /// How many traces there are.
    pub(super) fn len(&self) -> usize {
        self.traces.len()
    }

    /// The traces as stored, visible to other requests or not.
    pub(super) fn traces(&self) -> Vec<Value> {
        self.traces.iter().map(|stored| Value::Object(stored.trace.clone())).collect()
    }

    pub(super) fn trace(&self, id: &str) -> Option<Value> {
        let stored = self.traces.iter().find(|stored| stored.id == id)?;
        Some(Value::Object(stored.trace.clone()))
    }

    pub(super) fn scores(&self) -> &[Value] {
        &self.scores
    }

    pub(super) fn is_visible(&self, id: &str) -> bool {
        let now = Instant::now();
        self.traces.iter().any(|stored| stored.id == id && stored.visible_at <= now)
    }

    /// Creates or changes a trace; returns its id. A new one becomes visible at `visible_at`.
    pub(super) fn post_trace(&mut self, body: &Value, visible_at: Instant) -> String {
        let id = id_of(body, "trace_id");
        let index = self.traces.iter().position(|stored| stored.id == id);
        let index = index.unwrap_or_else(|| {
            let trace = new_object("trace_id", &id, &["tags", "spans"]);
            self.traces.push(Stored { id: id.clone(), trace, visible_at });
            self.traces.len() - 1
        });
        let trace = &mut self.traces[index].trace;
        overwrite(trace, body, TRACE_OVERWRITTEN);
        overwrite(trace, body, &[("status", json!("COMPLETED"))]);
        keep(trace, body, TRACE_KEPT);
        merge_metadata(trace, &body["metadata"]);
        merge_tags(trace, &body["tags"]);
        merge_spans(trace, &body["spans"]);
        id
    }

    /// Adds spans to a trace that is there; returns their ids.
    pub(super) fn post_spans(&mut self, id: &str, body: &Value) -> Vec<String> {
        let stored = self.traces.iter_mut().find(|stored| stored.id == id);
        stored.map_or_else(Vec::new, |stored| merge_spans(&mut stored.trace, body))
    }

    /// Changes the fields sent of a trace that is there; returns the trace.
    pub(super) fn patch(&mut self, id: &str, body: &Value) -> Option<Value> {
        let stored = self.traces.iter_mut().find(|stored| stored.id == id)?;
        for (key, value) in body.as_object()? {
            match key.as_str() {
                "metadata" => merge_metadata(&mut stored.trace, value),
                "name" | "tags" | "status" if value.is_null() => {}
                _ => {
                    stored.trace.insert(key.clone(), value.clone());
                }
            }
        }
        Some(Value::Object(stored.trace.clone()))
    }

    /// Adds a score, even if there is one like it; returns it.
    pub(super) fn post_score(&mut self, body: &Value) -> Value {
        let mut score = json!({
            "score_id": Uuid::new_v4().to_string(),
            "data_type": "NUMERIC",
            "source": "ANNOTATION",
            "reason": null,
            "metadata": {},
        });
        for (key, value) in body.as_object().into_iter().flatten() {
            score[key] = value.clone();
        }
        self.scores.push(score.clone());
        score
    }
}

fn id_of(body: &Value, key: &str) -> String {
    let sent = body[key].as_str().map(str::to_lowercase);
    sent.unwrap_or_else(|| Uuid::new_v4().to_string())
}

fn new_object(id_key: &str, id: &str, lists: &[&str]) -> Object {
    let mut object = Object::new();
    object.insert(id_key.to_owned(), json!(id));
    object.insert("metadata".to_owned(), json!({}));
    for list in lists {
        object.insert((*list).to_owned(), json!([]));
    }
    object
}

/// Takes these fields as sent, or their default where absent.
fn overwrite(stored: &mut Object, sent: &Value, fields: &[(&str, Value)]) {
    for (key, default) in fields {
        let value = sent.get(key).unwrap_or(default);
        stored.insert((*key).to_owned(), value.clone());
    }
}

/// Takes these fields where sent, and leaves the stored ones where absent or null.
fn keep(stored: &mut Object, sent: &Value, fields: &[&str]) {
    for key in fields {
        let value = &sent[*key];
        if !value.is_null() || !stored.contains_key(*key) {
            stored.insert((*key).to_owned(), value.clone());
        }
    }
}

fn merge_metadata(stored: &mut Object, sent: &Value) {
    if let (Some(Value::Object(metadata)), Value::Object(sent)) = (stored.get_mut("metadata"), sent) {
        metadata.extend(sent.clone());
    }
}

/// The first tags stay as sent; later ones make a sorted union.
fn merge_tags(stored: &mut Object, sent: &Value) {
    let (Some(Value::Array(tags)), Value::Array(sent)) = (stored.get_mut("tags"), sent) else {
        return;
    };
    if tags.is_empty() {
        tags.clone_from(sent);
        return;
    }
    tags.extend(sent.iter().cloned());
    tags.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    tags.dedup();
}

fn merge_spans(trace: &mut Object, sent: &Value) -> Vec<String> {
    let (Some(Value::Array(spans)), Value::Array(sent)) = (trace.get_mut("spans"), sent) else {
        return Vec::new();
    };
    sent.iter().map(|span| merge_span(spans, span)).collect()
}

fn merge_span(spans: &mut Vec<Value>, sent: &Value) -> String {
    let id = id_of(sent, "span_id");
    let index = spans.iter().position(|span| span["span_id"] == id);
    let index = index.unwrap_or_else(|| {
        spans.push(Value::Object(new_object("span_id", &id, &[])));
        spans.len() - 1
    });
    if let Value::Object(span) = &mut spans[index] {
        overwrite(span, sent, SPAN_OVERWRITTEN);
        overwrite(span, sent, &[("kind", json!("OTHER")), ("status", json!("UNSET"))]);
        keep(span, sent, SPAN_KEPT);
        merge_metadata(span, &sent["metadata"]);
    }
    id
}

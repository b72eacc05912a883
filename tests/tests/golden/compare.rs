//! Compares what this SDK posted with what the reference SDK posted for the same scenario.
//!
//! Ids and clock readings differ from run to run: of those the presence and the form are compared. Everything else
//! is compared to the last field. What differs is named by a concrete path such as
//! `traces[0].spans[1].output.messages[0].refusal`. `traces` are in the order of the recording. `spans` are sorted by
//! the path of their names, then by kind, then by status, in both; the two sides are paired by path and kind, those
//! of the same status first.
#![expect(clippy::expect_used, reason = "a test's helpers fail the test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use pandaprobe::Config;
use pandaprobe_tests::{
    Recorded,
    backend::Backend,
    golden::{self, Golden},
    shared,
};
use serde_json::{Map, Value};

use crate::deliberate::{DELIBERATE, Deliberate};

const API_KEY: &str = "sk_pp_golden";
const PROJECT: &str = "golden-project";

/// A recorded scenario; `None`, told in one line, where the recordings are not here.
pub(crate) fn recorded(number: u32) -> Option<Golden> {
    shared::require("shared", golden::available())
        .then(|| golden::load(number).expect("the file of this scenario"))
}

/// What the recordings were made with.
pub(crate) fn config(backend: &Backend) -> Config {
    backend.expect_key(API_KEY);
    let config = Config::new().api_key(API_KEY).project_name(PROJECT);
    config.endpoint(backend.url()).expect("the URL of the backend")
}

/// Fails with everything that differs and is not in [`DELIBERATE`], and with every entry of it that is not needed.
///
/// `golden` are requests of the recording, each with its place in it.
pub(crate) fn compare<'a>(
    file: &str,
    golden: impl IntoIterator<Item = (usize, &'a Value)>,
    ours: &[Recorded],
) {
    let golden: Vec<(usize, &Value)> = golden.into_iter().collect();
    let mut faults = Vec::new();
    let seen: Vec<&str> = ours.iter().map(|request| request.path.as_str()).collect();
    if golden.len() != ours.len() {
        faults.push(format!(
            "{} requests are recorded and {} were posted: {seen:?}",
            golden.len(),
            ours.len()
        ));
    }
    let mut ours: Vec<&Recorded> = ours.iter().collect();
    // The reference posts one at a time, in the order in which traces end. Here several are under way at once.
    ours.sort_by_key(|request| order_of_end(request));
    let mut differences = order(&golden, &ours);
    let ours = by_name(&golden, ours);
    let ids = TraceIds::of(&golden, &ours);
    for ((place, golden), ours) in golden.iter().zip(&ours) {
        envelope(*place, golden, ours, &mut faults);
        let ours = ours.json.as_ref().unwrap_or(&Value::Null);
        let place = format!("traces[{place}]");
        trace(&place, &Side::of(&golden["body"], None), &Side::of(ours, Some(&ids)), &mut differences);
    }
    let request_ids: BTreeSet<_> = ours.iter().map(|request| request.header("x-request-id")).collect();
    if request_ids.len() != ours.len() {
        faults.push(format!("requests share an id: {request_ids:?}"));
    }
    faults.extend(unexplained(file, &differences));
    assert!(faults.is_empty(), "golden {file}:\n{}\n", faults.join("\n"));
}

/// When a trace ended, in the one form in which this SDK writes it.
fn order_of_end(request: &Recorded) -> (String, String) {
    let body = request.json.as_ref().unwrap_or(&Value::Null);
    // What does not end, such as a score, comes after the trace that it is about.
    let ended_at = if body["ended_at"].is_null() { "later".to_owned() } else { text(body, "ended_at") };
    (ended_at, text(body, "started_at"))
}

fn name_of(request: &Recorded) -> String {
    text(request.json.as_ref().unwrap_or(&Value::Null), "name")
}

/// The difference at `traces`, if they end in another order.
fn order(golden: &[(usize, &Value)], ours: &[&Recorded]) -> Vec<Difference> {
    let golden: Value = golden.iter().map(|(_, request)| request["body"]["name"].clone()).collect();
    let ours: Value = ours.iter().map(|request| name_of(request)).collect();
    let differs = golden != ours;
    let difference = || Difference { path: "traces".to_owned(), golden: Some(golden), ours: Some(ours) };
    differs.then(difference).into_iter().collect()
}

/// Ours in the order of the recording: for each of its traces the next of that name, and what is left over wherever
/// there is none.
fn by_name<'a>(golden: &[(usize, &Value)], mut ours: Vec<&'a Recorded>) -> Vec<&'a Recorded> {
    let mut matched = Vec::new();
    for (_, request) in golden {
        let named = ours.iter().position(|ours| request["body"]["name"] == *name_of(ours));
        matched.push(named.map(|at| ours.remove(at)));
    }
    let mut left = ours.into_iter();
    matched.into_iter().filter_map(|found| found.or_else(|| left.next())).collect()
}

/// Differences that no entry explains, and entries that explain none.
fn unexplained(file: &str, differences: &[Difference]) -> Vec<String> {
    let entries: Vec<&Deliberate> = DELIBERATE.iter().filter(|entry| entry.file == file).collect();
    let mut used = BTreeSet::new();
    let mut faults = Vec::new();
    for difference in differences {
        let entry = entries.iter().find(|entry| entry.path == difference.path);
        match entry {
            Some(entry) => {
                used.insert(entry.path);
                if expected(entry) != difference.ours {
                    faults.push(format!("{difference}\n  but {:?} asks for:  {}", entry.rule, entry.ours));
                }
            }
            None => faults.push(format!("not deliberate: {difference}")),
        }
    }
    let unused = entries.iter().filter(|entry| !used.contains(entry.path));
    faults.extend(unused.map(|entry| format!("no such difference: {} ({:?})", entry.path, entry.rule)));
    faults
}

/// What an entry says we post; `None` if that is nothing.
fn expected(entry: &Deliberate) -> Option<Value> {
    let parse = |text: &str| serde_json::from_str(text).expect("`ours` is JSON or empty");
    (!entry.ours.is_empty()).then(|| parse(entry.ours))
}

/// The recordings that tests compare with.
const COMPARED: [&str; 17] =
    ["01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "20", "21", "22", "24", "25"];

/// Checks that the table has each path once.
pub(crate) fn table_is_well_formed() {
    let mut paths = BTreeSet::new();
    for entry in DELIBERATE {
        expected(entry);
        assert!(COMPARED.contains(&entry.file), "no test compares golden {}", entry.file);
        assert!(paths.insert((entry.file, entry.path)), "twice: {} {}", entry.file, entry.path);
        assert!(!entry.path.contains('*'), "paths are concrete: {}", entry.path);
    }
}

/// Method, path and headers.
fn envelope(place: usize, golden: &Value, ours: &Recorded, faults: &mut Vec<String>) {
    let mut fault = |what: &str, golden: &Value, ours: Option<&str>| {
        faults.push(format!("request {place}: {what}\n  golden: {golden}\n  ours:   {ours:?}"));
    };
    for (what, value) in [("method", &ours.method), ("path", &ours.path)] {
        if golden[what] != **value {
            fault(what, &golden[what], Some(value));
        }
    }
    let headers = &golden["headers"];
    for name in ["x-api-key", "x-project-name", "content-type", "accept"] {
        if headers[name].as_str() != ours.header(name) {
            fault(name, &headers[name], ours.header(name));
        }
    }
    if !ours.header("x-request-id").is_some_and(is_uuid) {
        fault("x-request-id is no UUID", &headers["x-request-id"], ours.header("x-request-id"));
    }
    let agent = ours.header("user-agent").unwrap_or_default();
    if !agent.strip_prefix("pandaprobe-rust/").is_some_and(|version| version.contains('.')) {
        fault("user-agent is not our own", &headers["user-agent"], Some(agent));
    }
    if ours.header("authorization").is_some() || ours.query.is_some() {
        fault("authorization or query", &Value::Null, ours.query.as_deref());
    }
    if golden["response_status"].as_u64() != ours.status.map(u64::from) {
        fault("response_status", &golden["response_status"], Some(&format!("{:?}", ours.status)));
    }
}

/// One field that is not the same.
#[derive(Debug)]
struct Difference {
    path: String,
    golden: Option<Value>,
    ours: Option<Value>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &Option<Value>| value.as_ref().map_or("(absent)".to_owned(), Value::to_string);
        write!(f, "{}\n  golden: {}\n  ours:   {}", self.path, text(&self.golden), text(&self.ours))
    }
}

/// The trace ids of one run, so that a reference to one of them can be told from any other id.
struct TraceIds(BTreeMap<String, String>);

impl TraceIds {
    fn of(golden: &[(usize, &Value)], ours: &[&Recorded]) -> Self {
        let places = golden.iter().map(|(place, _)| place);
        let ids = ours.iter().map(|request| text(request.json.as_ref().unwrap_or(&Value::Null), "trace_id"));
        Self(ids.zip(places).map(|(id, place)| (id, format!("<id of traces[{place}]>"))).collect())
    }

    fn named(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => {
                self.0.get(text).map_or_else(|| value.clone(), |name| name.as_str().into())
            }
            Value::Array(items) => items.iter().map(|item| self.named(item)).collect(),
            Value::Object(fields) => {
                fields.iter().map(|(key, value)| (key.clone(), self.named(value))).collect()
            }
            other => other.clone(),
        }
    }
}

/// One trace of one side, made comparable.
struct Side {
    fields: Value,
    spans: BTreeMap<Key, Vec<Value>>,
}

/// The names from the root to the span, and its kind.
type Key = (Vec<String>, String);

impl Side {
    fn of(body: &Value, ids: Option<&TraceIds>) -> Self {
        let mut fields = comparable(body, ids);
        let all = body["spans"].as_array().cloned().unwrap_or_default();
        if let Some(fields) = fields.as_object_mut()
            && !all.is_empty()
        {
            fields.remove("spans");
        }
        let mut spans: BTreeMap<Key, Vec<Value>> = BTreeMap::new();
        for span in &all {
            let mut fields = comparable(span, ids);
            // Where a span is in the tree is its key.
            fields.as_object_mut().and_then(|fields| fields.remove("parent_span_id"));
            spans.entry((path_of(span, &all), text(span, "kind"))).or_default().push(fields);
        }
        spans.values_mut().for_each(|same| same.sort_by_key(|span| text(span, "status")));
        Self { fields, spans }
    }
}

/// The names from the root to a span.
fn path_of(span: &Value, all: &[Value]) -> Vec<String> {
    let mut path = vec![text(span, "name")];
    let mut at = span;
    while let Some(id) = at.get("parent_span_id") {
        let parent = all.iter().find(|span| span.get("span_id") == Some(id));
        path.push(parent.map_or_else(|| "(unknown)".to_owned(), |parent| text(parent, "name")));
        match parent {
            Some(parent) if path.len() <= all.len() => at = parent,
            _ => break,
        }
    }
    path.reverse();
    path
}

/// The fields with ids and clock readings replaced by their form.
fn comparable(fields: &Value, ids: Option<&TraceIds>) -> Value {
    let replace = |(key, value): (&String, &Value)| {
        let form = match key.as_str() {
            "trace_id" | "span_id" => value.as_str().filter(|id| is_uuid(id)).map(|_| "<UUID>"),
            "started_at" | "ended_at" | "completion_start_time" => {
                value.as_str().filter(|t| is_utc(t)).map(|_| "<time>")
            }
            _ => None,
        };
        let value = match (form, ids) {
            (Some(form), _) => form.into(),
            (None, Some(ids)) => ids.named(value),
            (None, None) => value.clone(),
        };
        (key.clone(), value)
    };
    fields
        .as_object()
        .map_or_else(|| fields.clone(), |fields| fields.iter().map(replace).collect::<Map<_, _>>().into())
}

fn trace(path: &str, golden: &Side, ours: &Side, differences: &mut Vec<Difference>) {
    diff(path, Some(&golden.fields), Some(&ours.fields), differences);
    let keys: BTreeSet<&Key> = golden.spans.keys().chain(ours.spans.keys()).collect();
    let mut place = 0;
    for key in keys {
        let spans = |side: &Side| side.spans.get(key).cloned().unwrap_or_default();
        for (golden, ours) in paired(spans(golden), spans(ours)) {
            let path = format!("{path}.spans[{place}]");
            place += 1;
            if golden.is_some() && ours.is_some() {
                diff(&path, golden.as_ref(), ours.as_ref(), differences);
            } else {
                differences.push(Difference { path, golden, ours });
            }
        }
    }
}

/// Spans of the same path and kind: first those that have the same status, then the others as they come.
fn paired(golden: Vec<Value>, mut ours: Vec<Value>) -> Vec<(Option<Value>, Option<Value>)> {
    let same = |golden: &Value, ours: &mut Vec<Value>| {
        let at = ours.iter().position(|span| span["status"] == golden["status"])?;
        Some(ours.remove(at))
    };
    let mut pairs: Vec<_> = golden.into_iter().map(|span| (same(&span, &mut ours), span)).collect();
    let mut left = ours.into_iter();
    pairs.iter_mut().filter(|(ours, _)| ours.is_none()).for_each(|(ours, _)| *ours = left.next());
    let pairs = pairs.into_iter().map(|(ours, golden)| (Some(golden), ours));
    pairs.chain(left.map(|span| (None, Some(span)))).collect()
}

fn diff(path: &str, golden: Option<&Value>, ours: Option<&Value>, differences: &mut Vec<Difference>) {
    let none = Map::new();
    let fields = match (golden, ours) {
        (Some(Value::Object(golden)), Some(Value::Object(ours))) => Some((golden, ours)),
        // What is in an object that is absent on one side is named field by field. An empty one is not absent.
        (Some(Value::Object(golden)), None) if !golden.is_empty() => Some((golden, &none)),
        (None, Some(Value::Object(ours))) if !ours.is_empty() => Some((&none, ours)),
        _ => None,
    };
    if let Some((golden, ours)) = fields {
        let keys: BTreeSet<&String> = golden.keys().chain(ours.keys()).collect();
        for key in keys {
            let is_word = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            let path = if is_word { format!("{path}.{key}") } else { format!("{path}[{key:?}]") };
            diff(&path, golden.get(key), ours.get(key), differences);
        }
        return;
    }
    match (golden, ours) {
        (Some(Value::Array(golden)), Some(Value::Array(ours))) => {
            for at in 0..golden.len().max(ours.len()) {
                diff(&format!("{path}[{at}]"), golden.get(at), ours.get(at), differences);
            }
        }
        _ if golden == ours => {}
        _ => differences.push(Difference {
            path: path.to_owned(),
            golden: golden.cloned(),
            ours: ours.cloned(),
        }),
    }
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

/// A random UUID in the form that the API writes.
fn is_uuid(text: &str) -> bool {
    let at = |place: usize, one_of: &str| text.get(place..=place).is_some_and(|c| one_of.contains(c));
    let hyphens = [8, 13, 18, 23];
    let digits = |(place, c): (usize, char)| hyphens.contains(&place) || matches!(c, '0'..='9' | 'a'..='f');
    let shape =
        text.len() == 36 && hyphens.iter().all(|place| at(*place, "-")) && text.char_indices().all(digits);
    shape && at(14, "4") && at(19, "89ab")
}

/// ISO 8601, UTC. Without a fraction, or with six digits of it.
fn is_utc(text: &str) -> bool {
    let Some(local) = text.strip_suffix('Z').or_else(|| text.strip_suffix("+00:00")) else {
        return false;
    };
    let form: String = local.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    matches!(form.as_str(), "0000-00-00T00:00:00" | "0000-00-00T00:00:00.000000")
}

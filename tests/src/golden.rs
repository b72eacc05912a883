//! Recorded scenarios: what a provider said and what a reference SDK sent for it.

use std::{fs, path::PathBuf};

use serde_json::Value;

use crate::shared::shared_dir;

/// One recorded scenario.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Golden {
    /// The file's name without its extension.
    pub name: String,
    /// The provider's traffic, each with `request` and `response`.
    pub provider_exchanges: Vec<Value>,
    /// The requests sent to PandaProbe, each with `method`, `path`, `headers` and `body`.
    pub pandaprobe_requests: Vec<Value>,
}

/// Whether the scenarios are here.
#[must_use]
pub fn available() -> bool {
    directory().is_some()
}

/// The scenario of this number; `None` if it is not here.
///
/// Where a number has several files, for several versions of a library, it is the one without a version in its name.
///
/// # Panics
///
/// If the file is not valid JSON.
#[must_use]
pub fn load(number: u32) -> Option<Golden> {
    let prefix = format!("{number:02}_");
    let entries = fs::read_dir(directory()?).ok()?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let name =
        names.filter(|name| name.starts_with(&prefix) && name.ends_with(".json")).min_by_key(String::len)?;
    load_named(name.trim_end_matches(".json"))
}

/// The scenario in the file of this name, without its extension; `None` if it is not here.
///
/// # Panics
///
/// If the file is not valid JSON.
#[must_use]
pub fn load_named(name: &str) -> Option<Golden> {
    let path = directory()?.join(format!("{name}.json"));
    let text = fs::read_to_string(path).ok()?;
    let mut scenario: Value = serde_json::from_str(&text).expect("a scenario is valid JSON");
    Some(Golden {
        name: name.to_owned(),
        provider_exchanges: list(scenario["provider_exchanges"].take()),
        pandaprobe_requests: list(scenario["pandaprobe_requests"].take()),
    })
}

fn directory() -> Option<PathBuf> {
    Some(shared_dir()?.join("golden")).filter(|path| path.is_dir())
}

fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

//! Keys that are changed on their way out. None of the values is lost for it.

use std::collections::{HashMap, HashSet};

/// The same fields, whose keys are told apart where they are the same.
fn unique<V>(fields: impl Iterator<Item = (String, V)>) -> impl Iterator<Item = (String, V)> {
    let mut taken = HashSet::new();
    let mut counts: HashMap<String, u64> = HashMap::new();
    fields.map(move |(key, value)| {
        let mut name = key.clone();
        while !taken.insert(name.clone()) {
            let count = counts.entry(key.clone()).or_insert(1);
            *count += 1;
            name = format!("{key} {count}");
        }
        (name, value)
    })
}

/// Gives each field the name that `f` has for it, if any.
pub(super) fn rename<M, V>(fields: &mut M, f: impl Fn(&str) -> Option<String>)
where
    M: Default + IntoIterator<Item = (String, V)> + FromIterator<(String, V)>,
{
    let renamed = std::mem::take(fields).into_iter().map(|(key, value)| (f(&key).unwrap_or(key), value));
    *fields = unique(renamed).collect();
}

//! Counts in answers.

use serde_json::Value;

/// A non-negative integer of an object.
pub(crate) fn count(object: &Value, key: &str) -> Option<u64> {
    integer(object.get(key)?)
}

/// The first of several places that has a count.
pub(crate) fn first(places: &[(&Value, &str)]) -> Option<u64> {
    places.iter().find_map(|(object, key)| count(object, key))
}

/// The sum of those that are given; none where none is.
pub(crate) fn sum(counts: &[Option<u64>]) -> Option<u64> {
    counts.iter().flatten().copied().reduce(u64::saturating_add)
}

/// A non-negative integer, also where it is written `12.0`.
pub(crate) fn integer(value: &Value) -> Option<u64> {
    let exact = |float: &f64| (0.0..=9_007_199_254_740_992.0).contains(float) && float.fract() == 0.0;
    value.as_u64().or_else(|| value.as_f64().filter(exact).map(|float| float as u64))
}

//! Recorded values: text as text, anything else as JSON, and no more of it than a page can take.

use std::{cell::Cell, collections::BTreeMap};

use maud::{Markup, html};
use serde_json::value::RawValue;

use super::{json, text};

/// How much of one text is shown, in bytes.
pub(super) const TEXT: usize = 32_000;
/// How much JSON is shown, in bytes.
const JSON: usize = 64_000;
/// How much is shown of one value in all, in bytes.
const WHOLE: usize = 500_000;
/// What something costs of that however short it is.
const LEAST: usize = 250;

/// Where a value is to be had whole, and how much of it may still be shown here.
pub(super) struct Way<'a> {
    pub(super) download: &'a str,
    left: Cell<usize>,
}

impl<'a> Way<'a> {
    pub(super) fn to(download: &'a str) -> Self {
        Self::within(download, WHOLE)
    }

    /// The way to a value of which only so much is shown.
    pub(super) fn within(download: &'a str, most: usize) -> Self {
        Self { download, left: Cell::new(most.clamp(LEAST, WHOLE)) }
    }

    /// How much may still be shown.
    pub(super) fn left(&self) -> usize {
        self.left.get()
    }

    /// Whether nothing more is shown.
    pub(super) fn is_spent(&self) -> bool {
        self.left.get() == 0
    }

    /// How much of something of that size is shown; `None`: nothing any more.
    pub(super) fn spend(&self, size: usize, most: usize) -> Option<usize> {
        let left = self.left.get();
        let part = size.min(most).min(left);
        self.left.set(left.saturating_sub(part.max(LEAST)));
        (left > 0).then_some(part)
    }
}

/// A value, if there is something in it.
pub(super) fn given(raw: Option<&RawValue>) -> Option<&str> {
    raw.map(RawValue::get).filter(|raw| !matches!(*raw, "null" | "{}"))
}

/// Why a trace failed, which its metadata says.
pub(super) fn error_of(metadata: Option<&RawValue>) -> Option<(String, bool)> {
    let all: BTreeMap<String, &RawValue> = serde_json::from_str(metadata?.get()).ok()?;
    json::string(all.get("pandaprobe.error")?.get(), 16_000)
}

/// What went wrong.
pub(super) fn failure(error: &str, is_all: bool, download: &str) -> Markup {
    html! {
        section.failure aria-label="Error" {
            div.heading {
                h3 { "Error" }
                button.quiet.copy type="button" data-copy-from=(download) { "Copy" }
            }
            (prose(error, is_all, download))
        }
    }
}

/// A value, shown for what it is.
pub(super) fn value(raw: &str, way: &Way<'_>) -> Markup {
    if !raw.trim_start().starts_with('"') {
        return block(raw, way);
    }
    let Some(most) = way.spend(raw.len(), TEXT) else {
        return html! {};
    };
    match json::string(raw, most.max(LEAST)) {
        Some((shown, is_all)) => prose(&shown, is_all, way.download),
        None => block(raw, way),
    }
}

/// JSON, laid out.
pub(super) fn block(raw: &str, way: &Way<'_>) -> Markup {
    // Laid out, JSON is about twice as long.
    let Some(most) = way.spend(raw.len().saturating_mul(2), JSON) else {
        return html! {};
    };
    let (shown, is_all) = json::show(raw, most.max(LEAST));
    html! {
        pre.json tabindex="0" { (shown) }
        @if !is_all { (rest(way.download)) }
    }
}

/// A text, as it was written.
pub(super) fn prose(shown: &str, is_all: bool, download: &str) -> Markup {
    html! {
        div.text dir="auto" { (text::shown(shown)) }
        @if !is_all { (rest(download)) }
    }
}

/// The way to all of it.
pub(super) fn rest(download: &str) -> Markup {
    html! { p.faint.rest { "There is more. " a href=(download) download { "Download all of it" } "." } }
}

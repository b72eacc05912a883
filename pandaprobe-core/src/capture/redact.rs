//! Takes out of everything that leaves what must not.

use std::{
    borrow::Cow,
    panic::{AssertUnwindSafe, catch_unwind},
};

use serde_json::Value;

use super::keys::rename;
use crate::{
    cut,
    model::{Object, ScoreData, SpanData, TraceData},
    pipeline::{shallow, shallow_object},
    report::{ReportKind, Reporter},
};

/// What stands in place of what could not be redacted.
const WITHHELD: &str = "[withheld by pandaprobe: redaction failed]";

/// Bytes at the end of a text that was cut, which may be a half of something.
const HALVED: usize = 256;

/// Takes out of what leaves the process what must not: see [`Config::redact`](crate::Config::redact).
///
/// It sees every text of a trace and of a score but the ids: inputs, outputs, errors, metadata, model parameters, tags,
/// names, models, environment, release, the values and reasons of scores; the keys of objects too, and whole numbers in
/// them as text. A panic withholds what it was called with, never the trace, and nothing passes unseen. Of a text that was cut when
/// it was recorded, the last 256 bytes do not leave: they may be a half of what would have been redacted.
///
/// The feature `redact` has ready rules. A function of a text will do:
///
/// ```
/// use std::borrow::Cow;
/// use pandaprobe_core::Config;
///
/// fn hide(text: &str) -> Cow<'_, str> {
///     match text.contains("Zaphod") {
///         true => text.replace("Zaphod", "[a name]").into(),
///         false => text.into(),
///     }
/// }
/// let config = Config::new().redact(hide as fn(&str) -> Cow<'_, str>);
/// ```
pub trait Redact: Send + Sync + 'static {
    /// The text, or what may leave of it.
    fn text<'t>(&self, text: &'t str) -> Cow<'t, str>;

    /// Changes an input, an output, or the metadata or parameters as a whole, before its texts are seen one by one.
    fn value(&self, value: &mut Value) {
        let _ = value;
    }
}

impl<F: Fn(&str) -> Cow<'_, str> + Send + Sync + 'static> Redact for F {
    fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self(text)
    }
}

pub(super) fn trace(redact: &dyn Redact, trace: &mut TraceData, reporter: &Reporter) {
    let guard = Guard { redact, reporter };
    guard.text(&mut trace.name);
    trace.input.iter_mut().chain(&mut trace.output).for_each(|value| guard.whole(value));
    guard.object(&mut trace.metadata);
    trace.tags.iter_mut().for_each(|tag| guard.text(tag));
    trace.environment.iter_mut().chain(&mut trace.release).for_each(|text| guard.text(text));
    trace.spans.iter_mut().for_each(|span| guard.span(span));
}

pub(super) fn score(redact: &dyn Redact, score: &mut ScoreData, reporter: &Reporter) {
    let guard = Guard { redact, reporter };
    guard.text(&mut score.name);
    if score.is_label() {
        guard.text(&mut score.value);
    }
    score.reason.iter_mut().for_each(|reason| guard.text(reason));
    guard.object(&mut score.metadata);
}

struct Guard<'a> {
    redact: &'a dyn Redact,
    reporter: &'a Reporter,
}

impl Guard<'_> {
    fn span(&self, span: &mut SpanData) {
        self.text(&mut span.name);
        span.input.iter_mut().chain(&mut span.output).for_each(|value| self.whole(value));
        span.error.iter_mut().chain(&mut span.model).for_each(|text| self.text(text));
        self.object(&mut span.metadata);
        span.model_parameters.iter_mut().for_each(|parameters| self.object(parameters));
        span.token_usage.iter_mut().for_each(|usage| rename(&mut usage.details, |key| self.redacted(key)));
        span.cost.iter_mut().for_each(|cost| rename(&mut cost.details, |key| self.redacted(key)));
    }

    fn object(&self, object: &mut Object) {
        let mut whole = Value::Object(std::mem::take(object));
        self.changed(&mut whole);
        *object = match whole {
            Value::Object(redacted) => redacted,
            other => Object::from_iter([("pandaprobe.redacted".to_owned(), other)]),
        };
        *object = shallow_object(std::mem::take(object));
        self.fields(object);
    }

    fn whole(&self, value: &mut Value) {
        self.changed(value);
        *value = shallow(value.take());
        self.texts(value);
    }

    fn changed(&self, value: &mut Value) {
        if catch_unwind(AssertUnwindSafe(|| self.redact.value(value))).is_err() {
            self.failed();
            *value = WITHHELD.into();
        }
    }

    fn texts(&self, value: &mut Value) {
        match value {
            Value::String(text) => self.text(text),
            Value::Number(number) if !number.is_f64() => {
                let text = number.to_string();
                if let Some(redacted) = self.redacted(&text) {
                    *value = redacted.into();
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.texts(item)),
            Value::Object(fields) => self.fields(fields),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn fields(&self, fields: &mut Object) {
        fields.values_mut().for_each(|value| self.texts(value));
        if fields.keys().any(|key| self.redacted(key).is_some()) {
            rename(fields, |key| self.redacted(key));
        }
    }

    fn text(&self, text: &mut String) {
        if let Some(redacted) = self.redacted(text) {
            *text = redacted;
        }
    }

    /// What may leave of a text; `None` if that is all of it.
    fn redacted(&self, text: &str) -> Option<String> {
        let mut left = String::new();
        let mut rest = text;
        while let Some((kept, mark, behind)) = cut::apart(rest) {
            let redacted = self.whole_redacted(kept);
            let redacted = redacted.as_deref().unwrap_or(kept);
            left += cut::head(redacted, redacted.len().saturating_sub(HALVED));
            left += mark;
            rest = behind;
        }
        match self.whole_redacted(rest) {
            Some(redacted) => Some(left + &redacted),
            None if rest.len() == text.len() => None,
            None => Some(left + rest),
        }
    }

    fn whole_redacted(&self, text: &str) -> Option<String> {
        let redacted = catch_unwind(AssertUnwindSafe(|| match self.redact.text(text) {
            Cow::Borrowed(same) if same == text => None,
            other => Some(other.into_owned()),
        }));
        redacted.unwrap_or_else(|_| {
            self.failed();
            Some(WITHHELD.to_owned())
        })
    }

    fn failed(&self) {
        self.reporter.report(ReportKind::Panicked, "redaction panicked: what it was to redact is withheld");
    }
}

use serde_json::Value;

use crate::{Usage, WireError, dialect::Answer, error};

use super::name;

/// What an answer says beside its output.
#[derive(Debug, Default)]
pub(super) struct Envelope {
    model: Option<String>,
    id: Option<String>,
    usage: Option<Usage>,
    error: Option<WireError>,
}

impl Envelope {
    /// Reads a blocking answer, with `usage` for its token counts.
    pub(super) fn read(&mut self, value: &Value, usage: fn(&Value) -> Option<Usage>) {
        self.model = name(value.get("model")).or(self.model.take());
        self.id = name(value.get("id")).or(self.id.take());
        self.usage = value.get("usage").and_then(usage).or(self.usage.take());
        self.fail(error::inside(value));
    }

    /// Reads an event of a stream.
    pub(super) fn event(&mut self, name: &str, value: &Value, usage: fn(&Value) -> Option<Usage>) {
        self.read(value, usage);
        if name == "error" {
            self.fail(Some(error::of_event(value)));
        }
    }

    /// The first error counts. The word `error` is the kind of an event and not one of errors.
    pub(super) fn fail(&mut self, error: Option<WireError>) {
        let error = error.map(|error| WireError { kind: error.kind.filter(|kind| kind != "error"), ..error });
        self.error = self.error.take().or(error);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.error.is_some()
    }

    /// An answer without output.
    pub(super) fn answer(&self) -> Answer {
        Answer {
            model: self.model.clone(),
            id: self.id.clone(),
            usage: self.usage.clone(),
            error: self.error.clone(),
            ..Answer::default()
        }
    }
}

/// The kind of an event: its `type`, else the name that the stream gives it.
pub(super) fn kind<'a>(name: &'a str, value: &'a Value) -> &'a str {
    value.get("type").and_then(Value::as_str).unwrap_or(name)
}

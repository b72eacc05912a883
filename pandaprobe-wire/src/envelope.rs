use serde_json::Value;

use crate::{Usage, WireError, dialect::Answer, error, fields::name};

/// What an answer says beside its output.
#[derive(Debug, Default)]
pub(crate) struct Envelope {
    model: Option<String>,
    id: Option<String>,
    usage: Option<Usage>,
    error: Option<WireError>,
}

impl Envelope {
    /// Reads a blocking answer, with `usage` for its token counts.
    pub(crate) fn read(&mut self, value: &Value, usage: fn(&Value) -> Option<Usage>) {
        self.model(value.get("model"));
        self.id(value.get("id"));
        self.usage(usage(value));
        self.fail(error::inside(value));
    }

    /// Reads an event of a stream.
    pub(crate) fn event(&mut self, name: &str, value: &Value, usage: fn(&Value) -> Option<Usage>) {
        self.read(value, usage);
        if name == "error" {
            self.fail(Some(error::of_event(value)));
        }
    }

    /// The last model counts.
    pub(crate) fn model(&mut self, model: Option<&Value>) {
        if self.model.as_deref() != model.and_then(Value::as_str) {
            self.model = name(model).or(self.model.take());
        }
    }

    /// The first id counts.
    pub(crate) fn id(&mut self, id: Option<&Value>) {
        if self.id.is_none() {
            self.id = name(id);
        }
    }

    /// The last usage counts.
    pub(crate) fn usage(&mut self, usage: Option<Usage>) {
        self.usage = usage.or(self.usage.take());
    }

    /// The first error counts. The word `error` is the kind of an event and not one of errors.
    pub(crate) fn fail(&mut self, error: Option<WireError>) {
        let error = error.map(|error| WireError { kind: error.kind.filter(|kind| kind != "error"), ..error });
        self.error = self.error.take().or(error);
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.error.is_some()
    }

    /// An answer without output.
    pub(crate) fn answer(&self) -> Answer {
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
pub(crate) fn kind<'a>(name: &'a str, value: &'a Value) -> &'a str {
    value.get("type").and_then(Value::as_str).unwrap_or(name)
}

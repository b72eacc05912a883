use serde_json::Value;

use crate::{
    Usage,
    content::weight,
    dialect::{Answer, Decoder},
    envelope::Envelope,
    error,
};

/// The decoder of an answer without messages, of which only a summary is kept.
#[derive(Debug)]
pub(crate) struct Summary {
    read: fn(&Value) -> Option<Value>,
    usage: fn(&Value) -> Option<Usage>,
    envelope: Envelope,
    body: Option<Value>,
}

impl Summary {
    /// A decoder that takes the summary with `read` and the token counts with `usage`.
    pub(crate) fn new(read: fn(&Value) -> Option<Value>, usage: fn(&Value) -> Option<Usage>) -> Self {
        Self { read, usage, envelope: Envelope::default(), body: None }
    }
}

impl Decoder for Summary {
    fn whole(&mut self, value: &Value) {
        self.event("", value);
    }

    fn event(&mut self, name: &str, value: &Value) -> bool {
        self.envelope.event(name, value, self.usage);
        self.body = (self.read)(value).or(self.body.take());
        false
    }

    fn error_text(&mut self, text: &[u8]) {
        self.envelope.fail(Some(error::of_text(text)));
    }

    fn is_complete(&self) -> bool {
        self.body.is_some()
    }

    fn is_full(&self) -> bool {
        false
    }

    fn held_bytes(&self) -> usize {
        self.body.as_ref().map_or(0, weight)
    }

    fn answer(&self) -> Answer {
        Answer { body: self.body.clone(), ..self.envelope.answer() }
    }
}

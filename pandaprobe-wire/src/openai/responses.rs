//! Responses, blocking and streamed.

use serde_json::{Map, Value};

use crate::{
    Usage, WireError,
    dialect::{Answer, Decoder, Request},
    error,
    fields::{name, word},
};

use super::{input::Input, output::Output, usage};

/// Request parameters that are recorded.
const PARAMETERS: [&str; 6] =
    ["max_output_tokens", "temperature", "top_p", "reasoning", "truncation", "service_tier"];

/// Reads a request.
pub(crate) fn request(mut map: Map<String, Value>) -> Request {
    let mut input = Input::default();
    input.instructions(map.remove("instructions").unwrap_or_default());
    input.items(map.remove("input").unwrap_or_default());
    Request::read(map, input.into_messages(), &PARAMETERS)
}

/// The decoder of an answer.
#[derive(Debug)]
pub(crate) struct Responses {
    model: Option<String>,
    id: Option<String>,
    output: Output,
    usage: Option<Usage>,
    finish: Option<String>,
    error: Option<WireError>,
    complete: bool,
}

impl Responses {
    /// A decoder that keeps `capacity` bytes of text.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            model: None,
            id: None,
            output: Output::new(capacity),
            usage: None,
            finish: None,
            error: None,
            complete: false,
        }
    }

    /// Reads what a response says beside its output.
    fn envelope(&mut self, response: &Value) {
        self.model = name(response.get("model")).or(self.model.take());
        self.id = self.id.take().or_else(|| name(response.get("id")));
        self.usage = response.get("usage").and_then(usage::responses).or(self.usage.take());
        self.fail(error::inside(response));
    }

    /// Reads a response that does not change any more. Says whether it brought output that no event had
    /// brought.
    fn finished(&mut self, response: &Value, status: Option<&str>) -> bool {
        let said = self.output.says_something();
        self.envelope(response);
        self.complete = true;
        let status = response.get("status").and_then(Value::as_str).or(status);
        let reason = response.get("incomplete_details").and_then(|details| details.get("reason"));
        let reason = reason.and_then(Value::as_str).filter(|_| status == Some("incomplete"));
        self.finish = reason.or(status).map(word);
        if status == Some("failed") {
            self.error.get_or_insert_default();
        }
        let items = response.get("output").and_then(Value::as_array);
        if let Some(items) = items.filter(|items| !items.is_empty()) {
            self.output.replace(items);
        }
        !said && self.output.says_something()
    }

    /// The first error counts, and ends the answer.
    fn fail(&mut self, error: Option<WireError>) {
        let error = error.map(|error| WireError { kind: error.kind.filter(|kind| kind != "error"), ..error });
        self.complete |= error.is_some();
        self.error = self.error.take().or(error);
    }
}

impl Decoder for Responses {
    fn whole(&mut self, value: &Value) {
        self.finished(value, None);
    }

    fn event(&mut self, event: &str, value: &Value) -> bool {
        let kind = value.get("type").and_then(Value::as_str).unwrap_or(event);
        let response = value.get("response").unwrap_or(&Value::Null);
        match kind {
            "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled" => {
                self.finished(response, kind.strip_prefix("response."))
            }
            "response.output_item.added" => self.output.added(value),
            "response.output_item.done" => self.output.done(value),
            _ if event == "error" || kind == "error" => {
                self.fail(Some(error::of_event(value)));
                false
            }
            _ if value.get("object").is_some_and(|object| object == "response") => self.finished(value, None),
            _ => {
                self.envelope(response);
                self.fail(error::inside(value));
                kind.strip_suffix(".delta").is_some_and(|stem| self.output.delta(stem, value))
            }
        }
    }

    fn error_text(&mut self, text: &[u8]) {
        self.fail(Some(error::of_text(text)));
    }

    fn is_complete(&self) -> bool {
        self.complete
    }

    fn is_full(&self) -> bool {
        self.output.is_full()
    }

    fn held_bytes(&self) -> usize {
        self.output.held_bytes()
    }

    fn answer(&self) -> Answer {
        let output: Vec<Value> = self.output.message().into_iter().collect();
        Answer {
            model: self.model.clone(),
            id: self.id.clone(),
            choices: output.len(),
            output,
            tools: self.output.tools(),
            reasoning: self.output.reasoning(),
            refusal: self.output.refusal(),
            usage: self.usage.clone(),
            finish_reason: self.finish.clone(),
            error: self.error.clone(),
            body: None,
        }
    }
}

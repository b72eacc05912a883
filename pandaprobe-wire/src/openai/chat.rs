//! Chat Completions, as OpenAI and the many servers that copy it speak it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{
    Usage, WireError,
    dialect::{Answer, Decoder, Request},
    error,
    fields::name,
    limits::Room,
    message,
};

use super::{choice::Choice, usage};

/// Request parameters that are recorded.
const PARAMETERS: [&str; 15] = [
    "temperature",
    "top_p",
    "max_tokens",
    "max_completion_tokens",
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "n",
    "response_format",
    "stop",
    "logprobs",
    "top_logprobs",
    "reasoning_effort",
    "stream_options",
    "service_tier",
];

/// Bytes charged for a choice beside its text.
const CHOICE_COST: usize = 512;

/// Reads a request.
pub(crate) fn request(mut map: Map<String, Value>) -> Request {
    let input = input(&mut map);
    Request::read(map, input, &PARAMETERS)
}

/// The messages of a request.
pub(super) fn input(request: &mut Map<String, Value>) -> Vec<Value> {
    match request.remove("messages").or_else(|| request.remove("prompt")) {
        None | Some(Value::Null) => vec![],
        Some(Value::Array(messages)) => messages.into_iter().map(message::normalise).collect(),
        Some(other) => vec![message::normalise(other)],
    }
}

/// The decoder of an answer.
#[derive(Debug)]
pub(crate) struct Chat {
    model: Option<String>,
    id: Option<String>,
    choices: BTreeMap<u64, Choice>,
    wanted: u64,
    usage: Option<Usage>,
    error: Option<WireError>,
    room: Room,
    capacity: usize,
}

impl Chat {
    /// A decoder that expects `wanted` choices and keeps `capacity` bytes of their text.
    pub(crate) fn new(wanted: u64, capacity: usize) -> Self {
        Self {
            model: None,
            id: None,
            choices: BTreeMap::new(),
            wanted: wanted.max(1),
            usage: None,
            error: None,
            room: Room::new(capacity),
            capacity,
        }
    }

    /// Reads all but the choices.
    fn envelope(&mut self, value: &Value) {
        let model = value.get("model").and_then(Value::as_str);
        if self.model.as_deref() != model {
            self.model = name(value.get("model")).or(self.model.take());
        }
        if self.id.is_none() {
            self.id = name(value.get("id"));
        }
        let nested = value.get("x_groq").and_then(|extra| extra.get("usage"));
        let usage = value.get("usage").and_then(usage::chat).or_else(|| usage::chat(nested?));
        self.usage = usage.or(self.usage.take());
        self.fail(error::inside(value));
    }

    /// The first error counts.
    fn fail(&mut self, error: Option<WireError>) {
        self.error = self.error.take().or(error);
    }

    /// The choice of an index, made where there is none yet.
    fn open(&mut self, index: u64, raw: &Value) -> Option<(&mut Choice, &mut Room)> {
        self.fail(raw.get("error").filter(|error| error.is_object()).and_then(|_| error::inside(raw)));
        if !self.choices.contains_key(&index) && !self.room.take(CHOICE_COST) {
            return None;
        }
        Some((self.choices.entry(index).or_default(), &mut self.room))
    }
}

impl Decoder for Chat {
    fn whole(&mut self, value: &Value) {
        self.envelope(value);
        let mut choices: Vec<&Value> = choices(value).collect();
        choices.sort_by_key(|choice| index(choice));
        for (position, raw) in choices.into_iter().enumerate() {
            if let Some((choice, room)) = self.open(position as u64, raw) {
                choice.whole(raw, room);
            }
        }
    }

    fn event(&mut self, name: &str, value: &Value) -> bool {
        self.envelope(value);
        if name == "error" {
            self.fail(Some(error::of_event(value)));
        }
        let mut token = false;
        for raw in choices(value) {
            if let Some((choice, room)) = self.open(index(raw), raw) {
                token |= choice.delta(raw, room);
            }
        }
        token
    }

    fn error_text(&mut self, text: &[u8]) {
        self.fail(Some(error::of_text(text)));
    }

    fn is_complete(&self) -> bool {
        let finished = self.choices.values().all(|choice| choice.finish_reason().is_some());
        finished && self.choices.len() as u64 >= self.wanted
    }

    fn is_full(&self) -> bool {
        self.room.is_full()
    }

    fn held_bytes(&self) -> usize {
        self.room.taken(self.capacity)
    }

    fn answer(&self) -> Answer {
        let first = self.choices.values().next();
        Answer {
            model: self.model.clone(),
            id: self.id.clone(),
            output: self.choices.values().map(Choice::message).collect(),
            reasoning: first.and_then(Choice::reasoning),
            refusal: first.and_then(Choice::refusal),
            usage: self.usage.clone(),
            finish_reason: first.and_then(Choice::finish_reason).map(str::to_owned),
            choices: self.choices.len(),
            error: self.error.clone(),
            ..Answer::default()
        }
    }
}

fn choices(value: &Value) -> impl Iterator<Item = &Value> {
    value.get("choices").and_then(Value::as_array).into_iter().flatten().filter(|choice| choice.is_object())
}

fn index(choice: &Value) -> u64 {
    choice.get("index").and_then(Value::as_u64).unwrap_or(0)
}

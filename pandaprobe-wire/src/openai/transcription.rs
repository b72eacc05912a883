//! Transcriptions and translations: audio in, text out.

use serde_json::{Map, Value, json};

use crate::{
    dialect::{Answer, Decoder, Raw, Request},
    envelope::{Envelope, kind},
    error,
    fields::name,
    limits::Room,
};

use super::usage;

/// Request parameters that are recorded.
const PARAMETERS: [&str; 4] = ["prompt", "language", "temperature", "response_format"];

/// What an answer says about the audio.
const FACTS: [&str; 2] = ["duration", "language"];

/// Reads a request that is JSON: OpenAI itself takes none, some servers do. One that is not a JSON object is
/// kept as it is.
pub(crate) fn request(map: Map<String, Value>) -> Request {
    Request::read(map, vec![], &PARAMETERS)
}

/// The decoder of an answer.
#[derive(Debug)]
pub(crate) struct Transcription {
    envelope: Envelope,
    /// The text, once there was any.
    text: Option<String>,
    facts: Map<String, Value>,
    done: bool,
    room: Room,
    capacity: usize,
}

impl Transcription {
    /// A decoder that keeps `capacity` bytes of text.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            envelope: Envelope::default(),
            text: None,
            facts: Map::new(),
            done: false,
            room: Room::new(capacity),
            capacity,
        }
    }

    fn append(&mut self, piece: &str) {
        self.room.append(self.text.get_or_insert_default(), piece);
    }

    /// Takes the whole text in place of its pieces.
    fn replace(&mut self, text: &str) {
        self.room = Room::new(self.capacity);
        self.text = None;
        self.append(text);
    }

    fn delta(&mut self, event: &Value) -> bool {
        let piece = event.get("delta").and_then(Value::as_str).unwrap_or_default();
        if !piece.is_empty() {
            self.append(piece);
        }
        !piece.is_empty()
    }

    /// Reads the last event. Says whether it brought text where no delta had brought any.
    fn finish(&mut self, event: &Value) -> bool {
        self.done = true;
        let said = self.text.is_some();
        match event.get("text").and_then(Value::as_str) {
            Some(text) if !said || !text.is_empty() => {
                self.replace(text);
                !said && !text.is_empty()
            }
            _ => false,
        }
    }

    fn learn_facts(&mut self, value: &Value) {
        let given = FACTS.iter().filter_map(|key| Some((*key, value.get(*key)?)));
        let scalars = given.filter(|(_, value)| value.is_number() || value.is_string());
        for (key, value) in scalars {
            let value = name(Some(value)).map_or_else(|| value.clone(), Value::from);
            self.facts.insert(key.to_owned(), value);
        }
    }
}

impl Decoder for Transcription {
    fn whole(&mut self, value: &Value) {
        self.envelope.read(value, usage::media);
        self.learn_facts(value);
        if let Some(text) = value.get("text").and_then(Value::as_str) {
            self.replace(text);
        }
    }

    fn raw(&mut self, raw: &Raw<'_>) -> bool {
        let is_whole = !raw.head.is_empty() && raw.head.len() as u64 == raw.bytes;
        if !is_whole || self.text.is_some() || self.envelope.has_failed() {
            return false;
        }
        let is_declared = raw.media_type.is_some_and(|media_type| media_type.starts_with("text/"));
        match std::str::from_utf8(raw.head) {
            Ok(text) if is_declared || !is_like_json(text) => self.replace(text),
            Err(_) if is_declared => self.replace(&String::from_utf8_lossy(raw.head)),
            _ => return false,
        }
        true
    }

    fn event(&mut self, name: &str, value: &Value) -> bool {
        self.envelope.event(name, value, usage::media);
        self.learn_facts(value);
        match kind(name, value) {
            "transcript.text.delta" => self.delta(value),
            "transcript.text.done" => self.finish(value),
            _ => false,
        }
    }

    fn error_text(&mut self, text: &[u8]) {
        self.envelope.fail(Some(error::of_text(text)));
    }

    fn is_complete(&self) -> bool {
        self.done || self.envelope.has_failed()
    }

    fn is_full(&self) -> bool {
        self.room.is_full()
    }

    fn held_bytes(&self) -> usize {
        self.room.taken(self.capacity)
    }

    fn answer(&self) -> Answer {
        let message = |text: &String| json!({"role": "assistant", "content": text});
        let facts = (!self.facts.is_empty()).then(|| Value::Object(self.facts.clone()));
        Answer { output: self.text.iter().map(message).collect(), body: facts, ..self.envelope.answer() }
    }
}

/// Whether a text that is no JSON object was meant to be one: a cut one says nothing.
fn is_like_json(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

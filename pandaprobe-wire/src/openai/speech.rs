//! Speech: text in, audio out. Of the audio only its kind and size are kept.

use serde_json::{Map, Value, json};

use crate::{
    dialect::{Answer, Decoder, Raw, Request},
    envelope::{Envelope, kind},
    error, media, texts,
};

use super::usage;

/// Request parameters that are recorded.
const PARAMETERS: [&str; 5] = ["voice", "response_format", "speed", "instructions", "stream_format"];

/// Reads a request.
pub(crate) fn request(mut map: Map<String, Value>) -> Request {
    let input = map.remove("input").unwrap_or_default();
    let is_sse = map.get("stream_format").is_some_and(|format| format == "sse");
    let request = Request::read(map, texts::messages(input), &PARAMETERS);
    Request { streaming: request.streaming || is_sse, ..request }
}

/// The decoder of an answer.
#[derive(Debug, Default)]
pub(crate) struct Speech {
    envelope: Envelope,
    media_type: Option<String>,
    /// Bytes of audio, once there was any.
    bytes: Option<u64>,
    done: bool,
}

impl Speech {
    fn delta(&mut self, event: &Value) -> bool {
        let audio = event.get("audio").and_then(Value::as_str).unwrap_or_default();
        if !audio.is_empty() {
            self.bytes = Some(self.bytes.unwrap_or(0).saturating_add(media::decoded_len(audio)));
        }
        !audio.is_empty()
    }

    fn message(&self) -> Option<Value> {
        let mut part = media::sized(self.media_type.as_deref(), self.bytes?);
        part.insert("type".into(), Value::from("audio"));
        Some(json!({"role": "assistant", "content": [part]}))
    }
}

impl Decoder for Speech {
    fn whole(&mut self, value: &Value) {
        self.envelope.read(value, usage::media);
    }

    fn raw(&mut self, raw: &Raw<'_>) -> bool {
        let is_audio = raw.bytes > 0 && !self.envelope.has_failed();
        if is_audio {
            self.bytes = Some(raw.bytes);
            self.media_type = raw.media_type.map(str::to_owned);
        }
        is_audio
    }

    fn event(&mut self, name: &str, value: &Value) -> bool {
        self.envelope.event(name, value, usage::media);
        match kind(name, value) {
            "speech.audio.delta" => return self.delta(value),
            "speech.audio.done" => self.done = true,
            _ => {}
        }
        false
    }

    fn error_text(&mut self, text: &[u8]) {
        self.envelope.fail(Some(error::of_text(text)));
    }

    fn is_complete(&self) -> bool {
        self.done || self.envelope.has_failed()
    }

    fn is_full(&self) -> bool {
        false
    }

    fn held_bytes(&self) -> usize {
        0
    }

    fn answer(&self) -> Answer {
        Answer { output: self.message().into_iter().collect(), ..self.envelope.answer() }
    }
}

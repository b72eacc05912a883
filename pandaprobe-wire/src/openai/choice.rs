use serde_json::{Map, Value, json};

use crate::{
    calls::Calls,
    content::{Content, Piece, pieces},
    fields::{list, text, word},
    limits::Room,
    media,
};

/// One choice of an answer, merged from its deltas or from its one message.
#[derive(Debug, Default)]
pub(super) struct Choice {
    content: Content,
    reasoning: String,
    /// Reasoning as `reasoning_details` has it: mostly the same text again.
    details: String,
    refusal: String,
    calls: Calls,
    audio: Option<Audio>,
    finish: Option<String>,
}

/// Spoken output, without its bytes.
#[derive(Debug, Default)]
struct Audio {
    id: Option<String>,
    bytes: u64,
    transcript: String,
}

impl Choice {
    /// Merges an element of a chunk's `choices`. Says whether it carried output.
    pub(super) fn delta(&mut self, choice: &Value, room: &mut Room) -> bool {
        let message = message(choice);
        let said = self.common(choice, message, room);
        self.calls.deltas(message, room) | said
    }

    /// Reads an element of a blocking answer's `choices`.
    pub(super) fn whole(&mut self, choice: &Value, room: &mut Room) {
        let message = message(choice);
        self.common(choice, message, room);
        self.calls.whole(message, room);
    }

    pub(super) fn finish_reason(&self) -> Option<&str> {
        self.finish.as_deref()
    }

    pub(super) fn reasoning(&self) -> Option<String> {
        let text = if self.reasoning.is_empty() { &self.details } else { &self.reasoning };
        (!text.is_empty()).then(|| text.clone())
    }

    pub(super) fn refusal(&self) -> Option<String> {
        (!self.refusal.is_empty()).then(|| self.refusal.clone())
    }

    /// The choice as a normalised message.
    pub(super) fn message(&self) -> Value {
        let mut message = Map::new();
        message.insert("role".into(), Value::from("assistant"));
        message.insert("content".into(), self.content_value());
        if !self.calls.is_empty() {
            message.insert("tool_calls".into(), self.calls.value());
        }
        Value::Object(message)
    }

    fn content_value(&self) -> Value {
        match &self.audio {
            Some(audio) => audio.content(self.content.value()),
            None if self.content.is_empty() && !self.refusal.is_empty() => Value::from(self.refusal.as_str()),
            None => self.content.value(),
        }
    }

    /// Reads all but the tool calls.
    fn common(&mut self, choice: &Value, message: &Value, room: &mut Room) -> bool {
        if let Some(finish) = text(choice, "finish_reason") {
            self.finish = Some(word(finish));
        }
        let mut said = self.add_content(choice, message, room);
        said |= self.add_reasoning(message, room);
        said |= self.add_media(message, room);
        let refusal = text(message, "refusal").unwrap_or_default();
        room.append(&mut self.refusal, refusal);
        said || !refusal.is_empty()
    }

    fn add_content(&mut self, choice: &Value, message: &Value, room: &mut Room) -> bool {
        let legacy = choice.get("text").filter(|_| message.is_null());
        let Some(value) = message.get("content").or(legacy) else {
            return false;
        };
        let mut said = false;
        pieces(value, |piece| {
            said |= !matches!(piece, Piece::Text("") | Piece::Thinking(""));
            match piece {
                Piece::Text(text) => self.content.text(text, room),
                Piece::Thinking(text) => room.append(&mut self.reasoning, text),
                Piece::Other(part) => self.content.other(part.clone(), room),
            }
        });
        said
    }

    fn add_reasoning(&mut self, message: &Value, room: &mut Room) -> bool {
        let names = ["reasoning_content", "reasoning", "reasoning_text"];
        let reasoning = names.iter().find_map(|name| text(message, name)).unwrap_or_default();
        room.append(&mut self.reasoning, reasoning);
        let mut said = !reasoning.is_empty();
        for detail in list(message, "reasoning_details") {
            let piece = text(detail, "text").or_else(|| text(detail, "summary")).unwrap_or_default();
            room.append(&mut self.details, piece);
            said |= !piece.is_empty();
        }
        said
    }

    /// Reads audio and generated images.
    fn add_media(&mut self, message: &Value, room: &mut Room) -> bool {
        for image in list(message, "images") {
            self.content.other(image.clone(), room);
        }
        match message.get("audio").filter(|audio| audio.is_object()) {
            Some(audio) => self.audio.get_or_insert_default().add(audio, room),
            None => list(message, "images").next().is_some(),
        }
    }
}

impl Audio {
    fn add(&mut self, audio: &Value, room: &mut Room) -> bool {
        if let (None, Some(id)) = (&self.id, text(audio, "id")) {
            room.append(self.id.insert(String::new()), id);
        }
        let (data, transcript) = (text(audio, "data"), text(audio, "transcript"));
        self.bytes += media::decoded_len(data.unwrap_or_default());
        room.append(&mut self.transcript, transcript.unwrap_or_default());
        data.is_some() || transcript.is_some()
    }

    /// The message's content: its text or else the transcript, and a reference to the audio.
    fn content(&self, given: Value) -> Value {
        let mut parts = match given {
            Value::Array(parts) => parts,
            Value::String(text) if !text.is_empty() => vec![json!({"type": "text", "text": text})],
            _ if self.transcript.is_empty() => vec![],
            _ => vec![json!({"type": "text", "text": self.transcript})],
        };
        let mut reference = json!({"type": "audio", "bytes": self.bytes});
        if let Some(id) = &self.id {
            reference["id"] = Value::from(id.as_str());
        }
        parts.push(reference);
        Value::Array(parts)
    }
}

/// The delta or message of a choice, whichever it has; null where it has neither.
fn message(choice: &Value) -> &Value {
    let object = |key| choice.get(key).filter(|value: &&Value| value.is_object());
    object("delta").or_else(|| object("message")).unwrap_or(&Value::Null)
}

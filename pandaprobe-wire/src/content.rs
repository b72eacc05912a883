use serde_json::{Value, json};

use crate::{limits::Room, media};

/// Bytes charged for a part that is not text.
const PART_COST: usize = 256;

/// The content of an answer's message, merged from whole values or from deltas.
#[derive(Debug, Default)]
pub(crate) struct Content {
    parts: Vec<Part>,
    given: bool,
}

#[derive(Debug)]
enum Part {
    Text(String),
    Other(Value),
}

/// What a piece of content is about.
pub(crate) enum Piece<'a> {
    Text(&'a str),
    Thinking(&'a str),
    Other(&'a Value),
}

impl Content {
    /// Appends text to the last text part.
    pub(crate) fn text(&mut self, piece: &str, room: &mut Room) {
        self.given = true;
        if piece.is_empty() {
            return;
        }
        if !matches!(self.parts.last(), Some(Part::Text(_))) {
            self.parts.push(Part::Text(String::new()));
        }
        if let Some(Part::Text(text)) = self.parts.last_mut() {
            room.append(text, piece);
        }
    }

    /// Appends a part that is not text, reduced to a reference.
    pub(crate) fn other(&mut self, part: Value, room: &mut Room) {
        let part = media::part(part);
        if room.take(PART_COST + weight(&part)) {
            self.parts.push(Part::Other(part));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// A string where there is only text, else the parts; null where nothing was given.
    pub(crate) fn value(&self) -> Value {
        match self.parts.as_slice() {
            [] if !self.given => Value::Null,
            [] => Value::from(""),
            [Part::Text(text)] => Value::from(text.as_str()),
            parts => parts.iter().map(Part::value).collect(),
        }
    }
}

impl Part {
    fn value(&self) -> Value {
        match self {
            Self::Text(text) => json!({"type": "text", "text": text}),
            Self::Other(value) => value.clone(),
        }
    }
}

/// Hands out the pieces of a message's `content`: a string, or an array of typed parts.
pub(crate) fn pieces<'a>(content: &'a Value, mut on_piece: impl FnMut(Piece<'a>)) {
    match content {
        Value::String(text) => on_piece(Piece::Text(text)),
        Value::Array(parts) => parts.iter().for_each(|part| piece(part, &mut on_piece)),
        _ => {}
    }
}

fn piece<'a>(part: &'a Value, on_piece: &mut impl FnMut(Piece<'a>)) {
    match (part.get("type").and_then(Value::as_str), part_text(part)) {
        (_, Some(text)) => on_piece(Piece::Text(text)),
        (Some("thinking"), None) => thinking(part, |text| on_piece(Piece::Thinking(text))),
        _ => on_piece(Piece::Other(part)),
    }
}

/// The text of a part that is text and nothing else.
pub(crate) fn part_text(part: &Value) -> Option<&str> {
    let is_text = match part.get("type") {
        None => true,
        Some(kind) => matches!(kind.as_str(), Some("text" | "input_text" | "output_text")),
    };
    let text = part.as_str().or_else(|| part.get("text").and_then(Value::as_str));
    text.filter(|_| is_text)
}

/// The texts of a `thinking` part: a string, or a list of text parts.
fn thinking<'a>(part: &'a Value, mut on_text: impl FnMut(&'a str)) {
    match part.get("thinking") {
        Some(Value::String(text)) => on_text(text),
        Some(Value::Array(parts)) => parts.iter().filter_map(part_text).for_each(on_text),
        _ => {}
    }
}

/// Approximate bytes that a value holds.
pub(crate) fn weight(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(weight).sum(),
            Value::Object(map) => map.iter().map(|(key, value)| key.len() + 24 + weight(value)).sum(),
            _ => 0,
        }
}

//! Images: generations, edits and variations. Of an image only its kind and size are kept.

use serde_json::{Map, Value, json};

use crate::{
    content::Content,
    dialect::{Answer, Decoder, Request},
    envelope::{Envelope, kind},
    error,
    fields::{name, text},
    limits::Room,
    media, texts,
};

use super::usage;

/// Request parameters that are recorded.
const PARAMETERS: [&str; 11] = [
    "n",
    "size",
    "quality",
    "style",
    "background",
    "moderation",
    FORMAT,
    "output_compression",
    "response_format",
    "input_fidelity",
    "partial_images",
];

/// The field that names the format of the images, in requests and in answers.
const FORMAT: &str = "output_format";

/// Reads a request.
pub(crate) fn request(mut map: Map<String, Value>) -> Request {
    let prompt = map.remove("prompt").filter(|prompt| !prompt.is_null());
    Request::read(map, prompt.map(texts::message).into_iter().collect(), &PARAMETERS)
}

/// The decoder of an answer.
#[derive(Debug)]
pub(crate) struct Images {
    envelope: Envelope,
    format: Option<String>,
    images: Content,
    /// Whether an image has come, be it a partial one.
    said: bool,
    finished: u64,
    wanted: u64,
    room: Room,
    capacity: usize,
}

impl Images {
    /// A decoder of the answer to `request` that keeps `capacity` bytes.
    pub(crate) fn new(request: &Request, capacity: usize) -> Self {
        Self {
            envelope: Envelope::default(),
            format: name(request.parameters.get(FORMAT)),
            images: Content::default(),
            said: false,
            finished: 0,
            wanted: request.choices.max(1),
            room: Room::new(capacity),
            capacity,
        }
    }

    fn learn_format(&mut self, value: &Value) {
        self.format = name(value.get(FORMAT)).or(self.format.take());
    }

    /// Takes an image that does not change any more. Says whether it is the first sign of one.
    fn finished(&mut self, image: &Value) -> bool {
        self.finished += 1;
        let Some(part) = part(image, self.format.as_deref()) else {
            return false;
        };
        self.images.other(part, &mut self.room);
        !std::mem::replace(&mut self.said, true)
    }

    fn partial(&mut self, event: &Value) -> bool {
        let is_image = text(event, "b64_json").is_some();
        self.said |= is_image;
        is_image
    }
}

impl Decoder for Images {
    fn whole(&mut self, value: &Value) {
        self.envelope.read(value, usage::media);
        self.learn_format(value);
        for image in value.get("data").and_then(Value::as_array).into_iter().flatten() {
            self.finished(image);
        }
    }

    fn event(&mut self, name: &str, value: &Value) -> bool {
        self.envelope.event(name, value, usage::media);
        self.learn_format(value);
        match kind(name, value) {
            "image_generation.partial_image" | "image_edit.partial_image" => self.partial(value),
            "image_generation.completed" | "image_edit.completed" => self.finished(value),
            _ => false,
        }
    }

    fn error_text(&mut self, text: &[u8]) {
        self.envelope.fail(Some(error::of_text(text)));
    }

    fn is_complete(&self) -> bool {
        self.finished >= self.wanted || self.envelope.has_failed()
    }

    fn is_full(&self) -> bool {
        self.room.is_full()
    }

    fn held_bytes(&self) -> usize {
        self.room.taken(self.capacity)
    }

    fn answer(&self) -> Answer {
        let message = json!({"role": "assistant", "content": self.images.value()});
        let output = if self.images.is_empty() { vec![] } else { vec![message] };
        Answer { output, ..self.envelope.answer() }
    }
}

/// An image as a part of a message; none where there is neither its base64 nor its URL.
fn part(image: &Value, format: Option<&str>) -> Option<Value> {
    let mut part = match (text(image, "b64_json"), text(image, "url")) {
        (Some(base64), _) if !base64.starts_with("data:") => {
            let bytes = media::decoded_len(base64);
            media::sized(format.map(|format| format!("image/{format}")).as_deref(), bytes)
        }
        (url, other) => media::link(url.or(other)?.to_owned()),
    };
    part.insert("type".into(), Value::from("image"));
    let prompt = text(image, "revised_prompt").map(|text| ("revised_prompt".to_owned(), Value::from(text)));
    part.extend(prompt);
    Some(Value::Object(part))
}

use serde_json::{Value, json};

use crate::{
    MAX_BODY, MAX_UNKNOWN_BODY, Operation, WireError,
    dialect::{Answer, Decoder, Raw},
    error, json as lenient,
    limits::{Notes, marked},
    media,
};

/// Bytes kept of a body that is too long to be decoded, or that is only counted.
const HEAD: usize = 16 << 10;

/// A body that is read when it is whole.
#[derive(Debug)]
pub(crate) struct Whole {
    bytes: Vec<u8>,
    total: u64,
    limit: usize,
}

impl Whole {
    /// A body that starts with `start`.
    pub(crate) fn new(operation: Operation, start: Vec<u8>) -> Self {
        let limit = match operation {
            Operation::Unknown => MAX_UNKNOWN_BODY,
            // Audio is counted; an error is short.
            Operation::Speech => HEAD,
            _ => MAX_BODY,
        };
        let mut whole = Self { bytes: Vec::new(), total: 0, limit };
        match start.len() <= limit {
            true => whole = Self { total: start.len() as u64, bytes: start, ..whole },
            false => whole.push(&start),
        }
        whole
    }

    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.total = self.total.saturating_add(piece.len() as u64);
        let fitting = piece.len().min(self.limit - self.bytes.len());
        self.bytes.extend_from_slice(&piece[..fitting]);
        if self.is_cut() && self.limit == MAX_BODY {
            self.limit = HEAD;
            self.bytes.truncate(HEAD);
            self.bytes.shrink_to_fit();
        }
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Decodes what has arrived. Says also whether it is a complete answer.
    pub(crate) fn read(
        &self,
        decoder: Option<Box<dyn Decoder>>,
        failed: Option<u16>,
        media_type: Option<&str>,
        notes: &mut Notes,
    ) -> (Answer, bool) {
        let (mut answer, complete) = match decoder {
            None => (Answer { body: self.generic(notes), ..Answer::default() }, true),
            Some(_) if failed.is_some() => (Answer::default(), true),
            Some(decoder) => self.decode(decoder, media_type, notes),
        };
        answer.error = failed.map(|status| self.error(status)).or(answer.error);
        (answer, complete)
    }

    fn is_cut(&self) -> bool {
        self.total > self.bytes.len() as u64
    }

    fn error(&self, status: u16) -> WireError {
        error::of_answer(status, &self.bytes)
    }

    fn decode(
        &self,
        mut decoder: Box<dyn Decoder>,
        media_type: Option<&str>,
        notes: &mut Notes,
    ) -> (Answer, bool) {
        let mut repairs = Notes::default();
        let object = self.object(&mut repairs);
        if let Ok(value) = &object {
            decoder.whole(value);
        }
        if decoder.raw(&Raw { head: &self.bytes, bytes: self.total, media_type }) {
            return (decoder.answer(), true);
        }
        notes.extend(&repairs);
        match object {
            Ok(_) => (decoder.answer(), true),
            Err(note) => {
                notes.add(note);
                (Answer::default(), self.is_cut())
            }
        }
    }

    /// The body as a JSON object, or why it is none.
    fn object(&self, notes: &mut Notes) -> Result<Value, String> {
        if self.is_cut() {
            return Err(format!("answer of {} bytes is too long to be decoded", self.total));
        }
        match lenient::parse(&self.bytes, notes) {
            Ok(value) if value.is_object() => Ok(value),
            Ok(_) => Err("answer is not a JSON object".to_owned()),
            Err(_) if self.bytes.is_empty() => Err("answer is empty".to_owned()),
            Err(error) => Err(format!("answer is not JSON: {error}")),
        }
    }

    /// The body as it is: JSON, else text, else no more than its size.
    fn generic(&self, notes: &mut Notes) -> Option<Value> {
        if self.is_cut() {
            notes.add(format!("answer of {} bytes was cut", self.total));
            return text_or_size(&self.bytes, self.total);
        }
        match lenient::parse(&self.bytes, notes) {
            Ok(value) => Some(media::reduce(value)),
            Err(_) => text_or_size(&self.bytes, self.total),
        }
    }
}

/// The start of a body of `total` bytes as text; only the size of what is no text; none where it is empty.
pub(crate) fn text_or_size(bytes: &[u8], total: u64) -> Option<Value> {
    let is_cut = |error: &std::str::Utf8Error| error.error_len().is_none();
    match std::str::from_utf8(bytes) {
        Ok("") => None,
        Ok(text) => Some(Value::from(marked(text, total))),
        Err(error) if is_cut(&error) => {
            let text = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            Some(Value::from(marked(&text, total)))
        }
        Err(_) => Some(json!({"type": "binary", "bytes": total})),
    }
}

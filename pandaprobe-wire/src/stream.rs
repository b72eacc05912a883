use crate::{
    dialect::{Answer, Decoder},
    error, json,
    limits::Notes,
    sse::{Event, Framer},
};

/// Bytes of the body kept for the message of a failed answer.
const HEAD: usize = 2 << 10;

/// A body that is an event stream.
#[derive(Debug)]
pub(crate) struct Stream {
    framer: Framer,
    decoder: Box<dyn Decoder>,
    head: Vec<u8>,
    done: bool,
    notes: Notes,
}

impl Stream {
    pub(crate) fn new(decoder: Box<dyn Decoder>) -> Self {
        Self { framer: Framer::new(), decoder, head: Vec::new(), done: false, notes: Notes::default() }
    }

    /// Takes the next bytes. Says whether they completed an event with output of the model.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> bool {
        let head = bytes.len().min(HEAD - self.head.len());
        self.head.extend_from_slice(&bytes[..head]);
        let Self { framer, decoder, done, notes, .. } = self;
        let mut token = false;
        framer.push(bytes, |event| token |= read(&event, &mut **decoder, done, notes));
        token
    }

    pub(crate) fn end(&mut self) {
        let Self { framer, decoder, done, notes, .. } = self;
        framer.end(|event| {
            read(&event, &mut **decoder, done, notes);
        });
        // An error says better why.
        if !self.is_terminal() && self.decoder.answer().error.is_none() {
            self.notes.add("the stream ended before the answer was complete");
        }
    }

    pub(crate) fn is_terminal(&self) -> bool {
        self.done || self.decoder.is_complete()
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.framer.held_bytes() + self.head.capacity() + self.decoder.held_bytes()
    }

    /// What was read so far; `failed` is the status of a non-2xx answer.
    pub(crate) fn answer(&self, failed: Option<u16>, notes: &mut Notes) -> Answer {
        notes.extend(&self.notes);
        if self.framer.skipped() > 0 {
            notes.add(format!("{} events were too long to be read", self.framer.skipped()));
        }
        if self.decoder.is_full() {
            notes.add("the answer is too long: the rest of its text was left out");
        }
        let mut answer = self.decoder.answer();
        if let Some(status) = failed {
            let error = answer.error.take().unwrap_or_else(|| error::of_answer(status, &self.head));
            answer.error = Some(crate::WireError { status: Some(status), ..error });
        }
        answer
    }
}

fn read(event: &Event<'_>, decoder: &mut dyn Decoder, done: &mut bool, notes: &mut Notes) -> bool {
    let data = event.data.trim_ascii();
    if data == b"[DONE]" {
        *done = true;
        return false;
    }
    match json::parse(data, notes) {
        Ok(value) => return decoder.event(&event.name, &value),
        Err(_) if data.is_empty() => {}
        Err(_) if event.name == "error" => decoder.error_text(data),
        Err(error) => notes.add(format!("an event is not JSON: {error}")),
    }
    false
}

use crate::{
    Operation,
    dialect::{Answer, Decoder},
    error, frames, json,
    limits::Notes,
    sse::{self, Event, MAX_EVENT},
    values,
};

/// Bytes of the body kept for the message of a failed answer.
const HEAD: usize = 2 << 10;

/// How a body is made of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Server-sent events.
    Events,
    /// JSON objects one after another.
    Values,
    /// Frames of Amazon's event streams.
    Frames,
}

impl Shape {
    /// The shape that a content type stands for, if it is one of streams.
    pub(crate) fn of_media_type(media_type: &str) -> Option<Self> {
        match media_type {
            "text/event-stream" => Some(Self::Events),
            "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/stream+json" => Some(Self::Values),
            "application/vnd.amazon.eventstream" => Some(Self::Frames),
            _ => None,
        }
    }

    /// The shape of streams of an operation that are not server-sent events, where it has such.
    pub(crate) fn of_operation(operation: Operation) -> Option<Self> {
        match operation {
            Operation::GeminiGenerate | Operation::OllamaChat | Operation::OllamaGenerate => {
                Some(Self::Values)
            }
            Operation::BedrockConverse | Operation::BedrockInvoke => Some(Self::Frames),
            _ => None,
        }
    }
}

/// The parser of a shape.
#[derive(Debug)]
enum Framer {
    Events(sse::Framer),
    Values(values::Framer),
    Frames(frames::Framer),
}

impl Framer {
    fn new(shape: Shape) -> Self {
        match shape {
            Shape::Events => Self::Events(sse::Framer::new()),
            Shape::Values => Self::Values(values::Framer::with_limit(MAX_EVENT)),
            Shape::Frames => Self::Frames(frames::Framer::with_limit(MAX_EVENT)),
        }
    }

    fn push(&mut self, bytes: &[u8], mut on_event: impl FnMut(Event<'_>)) {
        match self {
            Self::Events(framer) => framer.push(bytes, on_event),
            Self::Values(framer) => framer.push(bytes, |data| on_event(Event { name: "".into(), data })),
            Self::Frames(framer) => framer.push(bytes, on_event),
        }
    }

    fn end(&mut self, mut on_event: impl FnMut(Event<'_>)) {
        match self {
            Self::Events(framer) => framer.end(on_event),
            Self::Values(framer) => framer.end(|data| on_event(Event { name: "".into(), data })),
            Self::Frames(_) => {}
        }
    }

    fn skipped(&self) -> u64 {
        match self {
            Self::Events(framer) => framer.skipped(),
            Self::Values(framer) => framer.skipped(),
            Self::Frames(framer) => framer.skipped(),
        }
    }

    fn is_broken(&self) -> bool {
        matches!(self, Self::Frames(framer) if framer.is_broken())
    }

    fn held_bytes(&self) -> usize {
        match self {
            Self::Events(framer) => framer.held_bytes(),
            Self::Values(framer) => framer.held_bytes(),
            Self::Frames(framer) => framer.held_bytes(),
        }
    }
}

/// A body that is a stream of events.
#[derive(Debug)]
pub(crate) struct Stream {
    framer: Framer,
    decoder: Box<dyn Decoder>,
    head: Vec<u8>,
    done: bool,
    notes: Notes,
}

impl Stream {
    pub(crate) fn new(shape: Shape, decoder: Box<dyn Decoder>) -> Self {
        Self { framer: Framer::new(shape), decoder, head: Vec::new(), done: false, notes: Notes::default() }
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
        if self.framer.is_broken() {
            notes.add("the stream is not made of frames from some point on");
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

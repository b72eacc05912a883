//! Server-sent events: bytes in, cut anywhere; events out.

use std::borrow::Cow;

/// Bytes of one event that are held; a longer event is skipped and counted.
pub const MAX_EVENT: usize = 16 << 20;

/// Buffers larger than this are given back after use.
const KEEP: usize = 64 << 10;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// One event of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The `event` field; empty where there was none.
    pub name: Cow<'a, str>,
    /// The `data` lines, joined by line feeds. Usually UTF-8, but nothing ensures it.
    pub data: &'a [u8],
}

impl Event<'_> {
    /// The data as text, invalid UTF-8 replaced by U+FFFD.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.data)
    }
}

/// An incremental parser of `text/event-stream` by the WHATWG rules.
///
/// Lines end with CR, LF or CRLF, and a chunk may be cut anywhere, inside a CRLF or a UTF-8 character
/// too. Other than the rules say, a last event without its blank line is not lost: [`Framer::end`] yields it.
/// Every byte is looked at once, whatever the chunks are. At most [`MAX_EVENT`] bytes are held.
///
/// ```
/// use pandaprobe_wire::sse::Framer;
///
/// let mut framer = Framer::new();
/// let mut seen = Vec::new();
/// for chunk in ["data: o", "ne\r", "\n\r\nevent: x\ndata: two\n"] {
///     framer.push(chunk.as_bytes(), |event| seen.push(event.text().into_owned()));
/// }
/// assert_eq!(seen, ["one"]);
/// framer.end(|event| seen.push(event.text().into_owned()));
/// assert_eq!(seen, ["one", "two"]);
/// ```
#[derive(Debug)]
pub struct Framer {
    limit: usize,
    line: Vec<u8>,
    name: Vec<u8>,
    data: Option<Vec<u8>>,
    spare: Vec<u8>,
    after_cr: bool,
    past_first_line: bool,
    skipping: Option<Skip>,
    skipped: u64,
}

/// The line at hand of an event that is too long.
#[derive(Clone, Copy, Debug)]
struct Skip {
    line_is_empty: bool,
}

impl Default for Framer {
    fn default() -> Self {
        Self::with_limit(MAX_EVENT)
    }
}

impl Framer {
    /// A parser at the start of a stream, with [`MAX_EVENT`] as its limit.
    pub fn new() -> Self {
        Self::default()
    }

    /// A parser that skips events of more than `limit` bytes, field names included.
    pub fn with_limit(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            name: Vec::new(),
            data: None,
            spare: Vec::new(),
            after_cr: false,
            past_first_line: false,
            skipping: None,
            skipped: 0,
        }
    }

    /// Takes the next bytes of the stream and hands each event that they complete to `on_event`.
    pub fn push(&mut self, mut bytes: &[u8], mut on_event: impl FnMut(Event<'_>)) {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_cr) && bytes[0] == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = memchr::memchr2(b'\n', b'\r', bytes) else {
                self.hold(bytes);
                return;
            };
            self.after_cr = bytes[end] == b'\r';
            self.finish_line(&bytes[..end], &mut on_event);
            bytes = &bytes[end + 1..];
        }
    }

    /// Says that the stream has ended. Yields the last event if its blank line is missing, and
    /// leaves the parser ready for another stream.
    pub fn end(&mut self, mut on_event: impl FnMut(Event<'_>)) {
        self.finish_line(b"", &mut on_event);
        self.finish_line(b"", &mut on_event);
        self.after_cr = false;
        self.past_first_line = false;
    }

    /// How many events were skipped because they were too long.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Bytes held, of an event that is not complete yet and in spare buffers.
    pub fn held_bytes(&self) -> usize {
        let data = self.data.as_ref().map_or(0, Vec::capacity);
        self.line.capacity() + self.name.capacity() + self.spare.capacity() + data
    }

    /// Keeps the start of a line whose end has not arrived.
    fn hold(&mut self, piece: &[u8]) {
        if let Some(skip) = &mut self.skipping {
            skip.line_is_empty &= piece.is_empty();
        } else if self.fits(piece.len()) {
            self.line.extend_from_slice(piece);
        } else {
            self.skip_event();
        }
    }

    fn fits(&self, more: usize) -> bool {
        self.line.len() + self.data.as_ref().map_or(0, Vec::len) + more <= self.limit
    }

    fn skip_event(&mut self) {
        self.skipping = Some(Skip { line_is_empty: false });
        self.skipped += 1;
        self.past_first_line = true;
        self.line = Vec::new();
        self.data = None;
        self.name.clear();
    }

    /// Ends a line with its last `piece`; without a held start it is read in place.
    fn finish_line(&mut self, piece: &[u8], on_event: &mut impl FnMut(Event<'_>)) {
        let direct = self.line.is_empty() && self.skipping.is_none() && self.fits(piece.len());
        if direct {
            return self.read_line(piece, on_event);
        }
        self.hold(piece);
        if let Some(skip) = &mut self.skipping {
            if std::mem::replace(&mut skip.line_is_empty, true) {
                self.skipping = None;
            }
            return;
        }
        let mut line = std::mem::take(&mut self.line);
        self.read_line(&line, on_event);
        recycle(&mut line);
        self.line = line;
    }

    fn read_line(&mut self, line: &[u8], on_event: &mut impl FnMut(Event<'_>)) {
        let first = !std::mem::replace(&mut self.past_first_line, true);
        let line = line.strip_prefix(BOM).filter(|_| first).unwrap_or(line);
        if line.is_empty() {
            return self.dispatch(on_event);
        }
        let (field, value) = split_field(line);
        match field {
            b"data" => self.add_data(value),
            b"event" => value.clone_into(&mut self.name),
            _ => {}
        }
    }

    fn add_data(&mut self, value: &[u8]) {
        if let Some(data) = &mut self.data {
            data.push(b'\n');
            data.extend_from_slice(value);
        } else {
            let mut data = std::mem::take(&mut self.spare);
            data.extend_from_slice(value);
            self.data = Some(data);
        }
    }

    fn dispatch(&mut self, on_event: &mut impl FnMut(Event<'_>)) {
        if let Some(mut data) = self.data.take() {
            on_event(Event { name: String::from_utf8_lossy(&self.name), data: &data });
            recycle(&mut data);
            self.spare = data;
        }
        self.name.clear();
    }
}

/// Empties a buffer for its next use; a large one is given back.
fn recycle(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.shrink_to(KEEP);
}

/// Field and value of a line; a comment has an empty field.
fn split_field(line: &[u8]) -> (&[u8], &[u8]) {
    let Some(colon) = line.iter().position(|b| *b == b':') else {
        return (line, b"");
    };
    let value = &line[colon + 1..];
    (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
}

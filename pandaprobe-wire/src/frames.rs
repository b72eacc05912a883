//! Amazon's binary event streams (`application/vnd.amazon.eventstream`): bytes in, cut anywhere; events out.
//!
//! A frame is: length of all, length of the headers, checksum of both (each four bytes, big endian), headers,
//! payload, checksum. The checksums are not verified: a broken connection does not get past TLS and TCP.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::{Value, json};

use crate::sse::Event;

/// Bytes before the headers.
const PRELUDE: usize = 12;

/// Bytes of a frame with neither headers nor payload.
const LEAST: usize = PRELUDE + 4;

/// Buffers larger than this are given back after use.
const KEEP: usize = 64 << 10;

/// An incremental parser of frames.
#[derive(Debug)]
pub(crate) struct Framer {
    limit: usize,
    held: Vec<u8>,
    /// Bytes to come of a frame that is too long.
    skipping: usize,
    skipped: u64,
    broken: bool,
}

impl Framer {
    /// A parser that skips frames of more than `limit` bytes.
    pub(crate) fn with_limit(limit: usize) -> Self {
        Self { limit, held: Vec::new(), skipping: 0, skipped: 0, broken: false }
    }

    /// Takes the next bytes and hands each event that they complete to `on_event`.
    pub(crate) fn push(&mut self, mut bytes: &[u8], mut on_event: impl FnMut(Event<'_>)) {
        while !bytes.is_empty() && !self.broken {
            let skipped = self.skipping.min(bytes.len());
            self.skipping -= skipped;
            bytes = &bytes[skipped..];
            let wanted = self.frame_len().unwrap_or(PRELUDE) - self.held.len();
            let (piece, rest) = bytes.split_at(wanted.min(bytes.len()));
            self.held.extend_from_slice(piece);
            bytes = rest;
            match self.frame_len() {
                Some(length) if length == self.held.len() => self.finish(&mut on_event),
                Some(length) => self.check(length),
                None => {}
            }
        }
    }

    /// How many frames were skipped because they were too long.
    pub(crate) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Whether what has come is no frame, so that nothing after it can be read.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.held.capacity()
    }

    /// Bytes of the frame at hand, once its prelude is there.
    fn frame_len(&self) -> Option<usize> {
        let length = number(self.held.get(..PRELUDE)?, 0);
        // What is shorter is found to be broken when the prelude is checked.
        Some(length.max(LEAST))
    }

    /// Looks at a prelude.
    fn check(&mut self, length: usize) {
        if self.held.len() != PRELUDE {
            return;
        }
        if number(&self.held, 0) < LEAST || number(&self.held, 4) > length - LEAST {
            self.broken = true;
            self.held = Vec::new();
        } else if length > self.limit {
            self.skipped += 1;
            self.skipping = length - PRELUDE;
            self.held.clear();
        }
    }

    fn finish(&mut self, on_event: &mut impl FnMut(Event<'_>)) {
        let mut frame = std::mem::take(&mut self.held);
        let headers_end = PRELUDE + number(&frame, 4).min(frame.len() - LEAST);
        let headers = headers(&frame[PRELUDE..headers_end]);
        let payload = &frame[headers_end..frame.len() - 4];
        match headers.get(":message-type").map(AsRef::as_ref) {
            Some("exception" | "error") => {
                let failure = failure(&headers, payload);
                on_event(Event { name: "error".into(), data: failure.as_bytes() });
            }
            _ => {
                let name = headers.get(":event-type").cloned().unwrap_or_default();
                on_event(Event { name, data: payload });
            }
        }
        frame.clear();
        frame.shrink_to(KEEP);
        self.held = frame;
    }
}

/// An exception as the error event that other streams have.
fn failure(headers: &BTreeMap<Cow<'_, str>, Cow<'_, str>>, payload: &[u8]) -> String {
    let kind = headers.get(":exception-type").or_else(|| headers.get(":error-code"));
    let value: Value = serde_json::from_slice(payload).unwrap_or_default();
    let given = ["message", "Message"].iter().find_map(|key| value.get(*key)?.as_str());
    let message = match (given, headers.get(":error-message")) {
        (Some(message), _) => message.to_owned(),
        (None, Some(message)) => message.to_string(),
        (None, None) => String::from_utf8_lossy(payload).into_owned(),
    };
    json!({"error": {"type": kind, "message": message}}).to_string()
}

/// The headers that are strings, up to the first that cannot be read.
fn headers(mut bytes: &[u8]) -> BTreeMap<Cow<'_, str>, Cow<'_, str>> {
    let mut headers = BTreeMap::new();
    while let Some(Header { name, value, rest }) = header(bytes) {
        headers.extend(value.map(|value| (String::from_utf8_lossy(name), String::from_utf8_lossy(value))));
        bytes = rest;
    }
    headers
}

/// One header.
struct Header<'a> {
    name: &'a [u8],
    /// The value, if it is a string.
    value: Option<&'a [u8]>,
    rest: &'a [u8],
}

/// The header that `bytes` start with.
fn header(bytes: &[u8]) -> Option<Header<'_>> {
    const STRING: u8 = 7;
    let (length, bytes) = bytes.split_first()?;
    let (name, bytes) = bytes.split_at_checked(usize::from(*length))?;
    let (kind, bytes) = bytes.split_first()?;
    let (length, bytes) = match kind {
        0 | 1 => (0, bytes),
        2 => (1, bytes),
        3 => (2, bytes),
        4 => (4, bytes),
        5 | 8 => (8, bytes),
        9 => (16, bytes),
        6 | &STRING => {
            let (length, bytes) = bytes.split_at_checked(2)?;
            (usize::from(u16::from_be_bytes([length[0], length[1]])), bytes)
        }
        _ => return None,
    };
    let (value, rest) = bytes.split_at_checked(length)?;
    Some(Header { name, value: (*kind == STRING).then_some(value), rest })
}

/// The four bytes at `at` as a number.
fn number(bytes: &[u8], at: usize) -> usize {
    let digits = bytes.iter().skip(at).take(4);
    digits.fold(0, |number, digit| number << 8 | usize::from(*digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(headers: &[u8], payload: &[u8]) -> Vec<u8> {
        let length = (LEAST + headers.len() + payload.len()) as u32;
        let prelude = [length.to_be_bytes(), (headers.len() as u32).to_be_bytes(), [0; 4]].concat();
        [&prelude[..], headers, payload, &[0; 4]].concat()
    }

    fn string(name: &str, value: &str) -> Vec<u8> {
        let length = (value.len() as u16).to_be_bytes();
        [&[name.len() as u8], name.as_bytes(), &[7], &length, value.as_bytes()].concat()
    }

    fn events(framer: &mut Framer, bytes: &[u8], step: usize) -> Vec<(String, String)> {
        let mut events = Vec::new();
        for piece in bytes.chunks(step) {
            framer.push(piece, |event| events.push((event.name.to_string(), event.text().into_owned())));
        }
        events
    }

    #[test]
    fn frames_are_the_same_however_they_are_cut() {
        let other = [&[1, b'n', 4, 0, 0, 0, 1][..], &[1, b'u', 9], &[0; 16], &[1, b'b', 0]].concat();
        let stream = [
            frame(&[other, string(":event-type", "contentBlockDelta")].concat(), b"{\"a\":1}"),
            frame(&[], b""),
            frame(
                &[string(":message-type", "exception"), string(":exception-type", "throttlingException")]
                    .concat(),
                b"{\"message\":\"slow\"}",
            ),
        ]
        .concat();
        // The order of the keys is as other crates of the build want it of `serde_json`.
        let json = |data: &str| serde_json::from_str::<Value>(data).unwrap_or_default();
        let failure = json!({"error": {"message": "slow", "type": "throttlingException"}});
        let expected = [("contentBlockDelta", json!({"a": 1})), ("", Value::Null), ("error", failure)];
        for step in [1, 2, 11, 12, 13, 1000] {
            let mut framer = Framer::with_limit(1000);
            let found = events(&mut framer, &stream, step);
            let found: Vec<(&str, Value)> = found.iter().map(|(name, data)| (&**name, json(data))).collect();
            assert_eq!(found, expected, "pieces of {step}");
            assert!(!framer.is_broken() && framer.skipped() == 0);
        }
    }

    #[test]
    fn a_frame_that_is_too_long_is_skipped() {
        let stream = [frame(&[], &[b'x'; 200]), frame(&[], b"1")].concat();
        for step in [1, 12, 50, 1000] {
            let mut framer = Framer::with_limit(100);
            assert_eq!(events(&mut framer, &stream, step), [(String::new(), "1".to_owned())]);
            assert!(framer.skipped() == 1 && framer.held_bytes() <= 200);
        }
    }

    #[test]
    fn what_is_no_frame_ends_the_stream() {
        let too_short = [0, 0, 0, 3].repeat(10);
        let headers_too_long = [&[0, 0, 0, 20, 0, 0, 0, 5][..], &[0; 40]].concat();
        for stream in [too_short, headers_too_long] {
            let mut framer = Framer::with_limit(1000);
            assert!(events(&mut framer, &stream, 1).is_empty());
            assert!(framer.is_broken() && framer.held_bytes() == 0);
        }
    }
}

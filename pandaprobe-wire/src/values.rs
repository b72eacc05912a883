//! JSON objects one after another, as lines (NDJSON) or as the elements of one array that arrives in pieces:
//! bytes in, cut anywhere; objects out.

/// Buffers larger than this are given back after use.
const KEEP: usize = 64 << 10;

/// An incremental parser that tells objects apart without reading them.
#[derive(Debug)]
pub(crate) struct Framer {
    limit: usize,
    held: Vec<u8>,
    place: Place,
    skipping: bool,
    skipped: u64,
}

/// Where in the stream the next byte is.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Between objects.
    Between,
    /// In an object, this deep.
    Object(usize),
    /// In a string of an object this deep.
    Text(usize),
    /// After a backslash in such a string.
    Escape(usize),
    /// In a line that is no object.
    Other,
}

impl Framer {
    /// A parser that skips objects of more than `limit` bytes.
    pub(crate) fn with_limit(limit: usize) -> Self {
        Self { limit, held: Vec::new(), place: Place::Between, skipping: false, skipped: 0 }
    }

    /// Takes the next bytes and hands each object that they complete to `on_value`, and each line that is
    /// no object.
    pub(crate) fn push(&mut self, mut bytes: &[u8], mut on_value: impl FnMut(&[u8])) {
        loop {
            if matches!(self.place, Place::Between) {
                bytes = &bytes[bytes.iter().take_while(|byte| is_gap(**byte)).count()..];
            }
            match self.scan(bytes) {
                Some(length) => {
                    self.finish(&bytes[..length], &mut on_value);
                    bytes = &bytes[length..];
                }
                None => return self.hold(bytes),
            }
        }
    }

    /// Says that the stream has ended. Yields what is held of an object that was cut off.
    pub(crate) fn end(&mut self, mut on_value: impl FnMut(&[u8])) {
        if !matches!(self.place, Place::Between) {
            self.finish(&[], &mut on_value);
        }
        self.place = Place::Between;
    }

    /// How many objects were skipped because they were too long.
    pub(crate) fn skipped(&self) -> u64 {
        self.skipped
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.held.capacity()
    }

    /// Bytes up to the end of what is at hand; none where the end has not come.
    fn scan(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            // All bytes up to the next one that can change the place are of no interest.
            at += match self.place {
                Place::Object(_) => bytes[at..].iter().position(|byte| matches!(byte, b'{' | b'}' | b'"'))?,
                Place::Text(_) => memchr::memchr2(b'"', b'\\', &bytes[at..])?,
                Place::Other => memchr::memchr(b'\n', &bytes[at..])?,
                Place::Between | Place::Escape(_) => 0,
            };
            self.place = match (self.place, bytes[at]) {
                (Place::Between, b'{') => Place::Object(1),
                (Place::Between, _) => Place::Other,
                (Place::Object(1), b'}') | (Place::Other, b'\n') => {
                    self.place = Place::Between;
                    return Some(at + 1);
                }
                (Place::Object(depth), b'}') => Place::Object(depth - 1),
                (Place::Object(depth), b'{') => Place::Object(depth + 1),
                (Place::Object(depth), b'"') => Place::Text(depth),
                (Place::Text(depth), b'"') => Place::Object(depth),
                (Place::Text(depth), b'\\') => Place::Escape(depth),
                (Place::Escape(depth), _) => Place::Text(depth),
                (place, _) => place,
            };
            at += 1;
        }
        None
    }

    fn hold(&mut self, piece: &[u8]) {
        if self.skipping {
            return;
        }
        if self.held.len() + piece.len() > self.limit {
            self.skipping = true;
            self.skipped += 1;
            self.held = Vec::new();
        } else {
            self.held.extend_from_slice(piece);
        }
    }

    /// Ends an object with its last `piece`; without a held start it is handed on in place.
    fn finish(&mut self, piece: &[u8], on_value: &mut impl FnMut(&[u8])) {
        if self.held.is_empty() && !self.skipping && piece.len() <= self.limit {
            return on_value(piece);
        }
        self.hold(piece);
        if !std::mem::take(&mut self.skipping) {
            on_value(&self.held);
        }
        self.held.clear();
        self.held.shrink_to(KEEP);
    }
}

/// Bytes that stand between objects: white space, byte order marks, record separators, and what an array is
/// made of.
fn is_gap(byte: u8) -> bool {
    byte.is_ascii_whitespace() || b",[]\x1E\xEF\xBB\xBF".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(framer: &mut Framer, stream: &[u8], step: usize) -> Vec<String> {
        let mut values = Vec::new();
        let mut keep = |value: &[u8]| values.push(String::from_utf8_lossy(value).trim().to_owned());
        stream.chunks(step).for_each(|piece| framer.push(piece, &mut keep));
        framer.end(&mut keep);
        values
    }

    #[test]
    fn lines_and_arrays_give_the_same_objects_however_they_are_cut() {
        let objects = [r#"{"a":{"b":[1,{}]}}"#, r#"{"c":"}{\"\\"}"#, "{}"];
        let streams = [
            objects.join("\n") + "\n",
            objects.concat(),
            format!("\u{feff}[{}\n]\n", objects.join(",\r\n")),
            objects.map(|object| format!("\x1E{object}\n")).concat(),
        ];
        for stream in streams {
            for step in [1, 2, 3, 7, 1000] {
                let mut framer = Framer::with_limit(100);
                assert_eq!(values(&mut framer, stream.as_bytes(), step), objects, "{stream} by {step}");
                assert_eq!(framer.skipped(), 0);
            }
        }
    }

    #[test]
    fn an_object_that_is_too_long_is_skipped() {
        let stream = format!("{{\"a\":\"{}\"}}\n{{\"b\":1}}\n", "x".repeat(200));
        for step in [1, 150, 1000] {
            let mut framer = Framer::with_limit(100);
            assert_eq!(values(&mut framer, stream.as_bytes(), step), ["{\"b\":1}"]);
            assert!(framer.skipped() == 1 && framer.held_bytes() <= 200);
        }
    }

    #[test]
    fn what_is_no_object_and_what_is_cut_off_are_handed_on() {
        for step in [1, 4, 1000] {
            let mut framer = Framer::with_limit(100);
            let stream = b"<html>\n{\"a\":1}\nnull\n{\"b\":";
            assert_eq!(values(&mut framer, stream, step), ["<html>", "{\"a\":1}", "null", "{\"b\":"]);
        }
    }
}

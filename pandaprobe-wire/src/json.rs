//! Lenient JSON: what real servers send and `serde_json` refuses is repaired.

use serde_json::Value;

use crate::limits::{Notes, head_bytes, marked};

/// Containers nested deeper than this become text.
const MAX_DEPTH: usize = 100;

/// Bytes of that text.
const MAX_FLAT: usize = 16 << 10;

/// Parses JSON; says in `notes` what had to be repaired.
///
/// Repaired are: invalid UTF-8, lone surrogate escapes, raw control characters in strings,
/// `NaN` and `Infinity`, and nesting beyond [`MAX_DEPTH`].
///
/// # Errors
///
/// The parser's message, for what is not JSON nonetheless.
pub(crate) fn parse(bytes: &[u8], notes: &mut Notes) -> Result<Value, String> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    // All at once is faster than string by string.
    let parsed = match std::str::from_utf8(bytes) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_slice(bytes),
    };
    match parsed {
        Ok(value) => Ok(value),
        Err(error) if error.is_eof() => Err(error.to_string()),
        Err(error) => repaired(bytes, notes).ok_or_else(|| error.to_string()),
    }
}

fn repaired(bytes: &[u8], notes: &mut Notes) -> Option<Value> {
    let text = String::from_utf8_lossy(bytes);
    let mut repair = Repair::new(&text);
    repair.run();
    let value = serde_json::from_slice(&repair.out).ok()?;
    if matches!(text, std::borrow::Cow::Owned(_)) {
        notes.add("invalid UTF-8 replaced");
    }
    notes.extend(&repair.notes);
    Some(value)
}

/// One pass over the text, copying it with the repairs.
struct Repair<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    out: Vec<u8>,
    notes: Notes,
}

impl<'a> Repair<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0, out: Vec::with_capacity(text.len()), notes: Notes::default() }
    }

    fn run(&mut self) {
        while let Some(byte) = self.peek(0) {
            match byte {
                b'"' => self.string(),
                b'{' | b'[' if self.depth == MAX_DEPTH => self.flatten(),
                b'{' | b'[' => self.nest(self.depth + 1),
                b'}' | b']' => self.nest(self.depth.saturating_sub(1)),
                b'N' | b'I' | b'-' => self.number(),
                _ => self.copy(1),
            }
        }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    fn copy(&mut self, bytes: usize) {
        let piece = &self.rest()[..bytes.min(self.rest().len())];
        self.out.extend_from_slice(piece);
        self.at += piece.len();
    }

    fn replace(&mut self, bytes: usize, by: &[u8], note: &'static str) {
        self.out.extend_from_slice(by);
        self.at += bytes;
        self.notes.add(note);
    }

    fn nest(&mut self, depth: usize) {
        self.depth = depth;
        self.copy(1);
    }

    fn number(&mut self) {
        let words: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];
        match words.iter().find(|word| self.rest().starts_with(word)) {
            Some(word) => self.replace(word.len(), b"null", "non-finite numbers left out"),
            None => self.copy(1),
        }
    }

    fn string(&mut self) {
        self.copy(1);
        while let Some(byte) = self.peek(0) {
            match byte {
                b'"' => return self.copy(1),
                b'\\' => self.escape(),
                0..0x20 => self.control(byte),
                _ => self.copy(1),
            }
        }
    }

    fn control(&mut self, byte: u8) {
        let escaped = format!("\\u{byte:04x}");
        self.replace(1, escaped.as_bytes(), "raw control characters escaped");
    }

    fn escape(&mut self) {
        match self.unit(0) {
            Some(0xD800..0xDC00) if matches!(self.unit(6), Some(0xDC00..0xE000)) => self.copy(12),
            Some(0xD800..0xE000) => self.replace(6, b"\\ufffd", "lone surrogates replaced"),
            _ => self.copy(2),
        }
    }

    /// The UTF-16 unit of a `\uXXXX` escape that starts `ahead`.
    fn unit(&self, ahead: usize) -> Option<u16> {
        let escape = self.rest().get(ahead..ahead + 6)?;
        let digits = std::str::from_utf8(escape.strip_prefix(b"\\u")?).ok()?;
        u16::from_str_radix(digits, 16).ok()
    }

    /// Turns the container at hand into a string of its own text.
    fn flatten(&mut self) {
        let length = container_len(self.rest());
        let text = head_bytes(&self.text[self.at..self.at + length], MAX_FLAT);
        let string = Value::from(marked(text, length as u64)).to_string();
        self.replace(length, string.as_bytes(), "deep nesting turned into text");
    }
}

/// Bytes of the container that `text` starts with; all of it if the end is missing.
fn container_len(text: &[u8]) -> usize {
    let (mut depth, mut quoted, mut at) = (0_usize, false, 0);
    while let Some(byte) = text.get(at) {
        at += 1;
        match byte {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth += 1,
            b'}' | b']' if !quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lenient(text: &[u8]) -> (Result<Value, String>, Vec<String>) {
        let mut notes = Notes::default();
        (parse(text, &mut notes), notes.into_vec())
    }

    #[test]
    fn lone_surrogates_are_replaced_and_pairs_kept() {
        let (value, notes) =
            lenient(br#"["\ud800","\udc00x","\ud83d\ude00","\ud800\ud83d\ude00","\\ud800"]"#);
        assert_eq!(value, Ok(serde_json::json!(["\u{fffd}", "\u{fffd}x", "😀", "\u{fffd}😀", "\\ud800"])));
        assert_eq!(notes, ["lone surrogates replaced"]);
    }

    #[test]
    fn nul_escape_is_kept() {
        assert_eq!(lenient(br#""a\u0000b""#), (Ok(Value::from("a\0b")), vec![]));
    }

    #[test]
    fn non_finite_numbers_and_control_characters_are_repaired() {
        let (value, notes) = lenient(b"{\"a\":[NaN,-Infinity,Infinity,-1],\"NaN\":\"x\ny\"}");
        assert_eq!(value, Ok(serde_json::json!({"a": [null, null, null, -1], "NaN": "x\ny"})));
        assert_eq!(notes.len(), 2);
    }

    #[test]
    fn invalid_utf8_is_replaced() {
        let (value, notes) = lenient(b"[\"a\xFFb\"]");
        assert_eq!(value, Ok(serde_json::json!(["a\u{fffd}b"])));
        assert_eq!(notes, ["invalid UTF-8 replaced"]);
    }

    #[test]
    fn deep_nesting_becomes_text_and_its_neighbours_stay() {
        let text = format!(r#"{{"a":{}"]"{},"b":1}}"#, "[".repeat(5000), "]".repeat(5000));
        let (value, notes) = lenient(text.as_bytes());
        let value = value.unwrap();
        assert_eq!(value["b"], 1);
        assert!(value["a"].is_array());
        assert_eq!(notes, ["deep nesting turned into text"]);
    }

    #[test]
    fn brackets_in_strings_do_not_end_a_deep_container() {
        let nested = |depth: usize, inner: &str| "[".repeat(depth) + inner + &"]".repeat(depth);
        let inner = format!(r#"["]\"]",{}]"#, nested(50, ""));
        let mut value = lenient(nested(MAX_DEPTH, &inner).as_bytes()).0.unwrap();
        for _ in 0..MAX_DEPTH {
            value = value[0].take();
        }
        assert_eq!(value, inner);
    }

    #[test]
    fn what_is_not_json_stays_an_error() {
        for text in ["", "{", "<html>", "{\"a\":1,}", "\"\\ud8", "\"\\", &"[".repeat(5000)] {
            assert!(lenient(text.as_bytes()).0.is_err(), "{text:.20}");
        }
    }
}

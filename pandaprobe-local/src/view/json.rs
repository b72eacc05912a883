//! JSON as text, laid out over lines. It may be of any depth, so nothing here calls itself.

use maud::{Markup, html};

use super::text;

/// Deeper than this, JSON is not laid out any more.
const DEPTH: usize = 60;

/// What a piece of JSON is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Plain,
    Key,
    Text,
    Word,
}

/// JSON, up to `limit` bytes of it, and whether that is all.
pub(super) fn show(raw: &str, limit: usize) -> (Markup, bool) {
    let mut layout = Layout { rest: raw, depth: 0, limit, written: 0, pieces: Vec::new() };
    let is_all = layout.run();
    let markup = html! {
        @for (kind, piece) in &layout.pieces {
            @match kind {
                Kind::Plain => (text::shown(piece)),
                Kind::Key => bdi.k { (text::shown(piece)) },
                Kind::Text => bdi.s { (text::shown(piece)) },
                Kind::Word => span.n { (text::shown(piece)) },
            }
        }
    };
    (markup, is_all)
}

struct Layout<'a> {
    rest: &'a str,
    depth: usize,
    limit: usize,
    written: usize,
    pieces: Vec<(Kind, String)>,
}

impl Layout<'_> {
    /// Whether all of it fitted in.
    fn run(&mut self) -> bool {
        loop {
            self.rest = self.rest.trim_start();
            let Some(first) = self.rest.chars().next() else {
                return true;
            };
            if self.written >= self.limit {
                return false;
            }
            match first {
                '{' | '[' => self.open(first),
                '}' | ']' => self.close(first),
                ',' => self.comma(),
                ':' => self.mark(": "),
                '"' => self.string(),
                _ => self.word(),
            }
        }
    }

    fn put(&mut self, kind: Kind, piece: &str) {
        self.written += piece.len();
        match self.pieces.last_mut() {
            Some((last, text)) if *last == kind && kind == Kind::Plain => text.push_str(piece),
            _ => self.pieces.push((kind, piece.to_owned())),
        }
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn mark(&mut self, mark: &str) {
        self.put(Kind::Plain, mark);
        self.skip(1);
    }

    fn line(&mut self) {
        if self.depth <= DEPTH {
            let line = format!("\n{}", "  ".repeat(self.depth));
            self.put(Kind::Plain, &line);
        }
    }

    fn open(&mut self, bracket: char) {
        self.mark(if bracket == '{' { "{" } else { "[" });
        self.depth += 1;
        self.rest = self.rest.trim_start();
        if !self.rest.starts_with(['}', ']']) {
            self.line();
        } else if let Some(bracket) = self.rest.chars().next() {
            self.depth -= 1;
            self.mark(if bracket == '}' { "}" } else { "]" });
        }
    }

    fn close(&mut self, bracket: char) {
        // The line of a bracket is that of what it closes.
        if self.depth <= DEPTH {
            self.depth = self.depth.saturating_sub(1);
            self.line();
        } else {
            self.depth -= 1;
        }
        self.mark(if bracket == '}' { "}" } else { "]" });
    }

    fn comma(&mut self) {
        self.mark(",");
        if self.depth > DEPTH {
            self.put(Kind::Plain, " ");
        }
        self.line();
    }

    fn string(&mut self) {
        let end = end_of_string(self.rest);
        let (string, after) = self.rest.split_at(end);
        let is_key = after.trim_start().starts_with(':');
        let (shown, is_cut) = text::head(string, self.limit.saturating_sub(self.written).max(64));
        let shown = shown.to_owned();
        self.put(if is_key { Kind::Key } else { Kind::Text }, &shown);
        if is_cut {
            self.put(Kind::Plain, "…");
        }
        self.skip(end);
    }

    fn word(&mut self) {
        let ends = |character: char| "{}[],:\"".contains(character) || character.is_whitespace();
        let end = self.rest.find(ends).unwrap_or(self.rest.len()).max(1);
        let word = text::head(self.rest.get(..end).unwrap_or_default(), 256).0.to_owned();
        self.put(Kind::Word, &word);
        self.skip(end);
    }
}

/// Where the string ends that `text` begins with.
fn end_of_string(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The text of a JSON string, up to `limit` bytes of it, and whether that is all. `None`: it is no string.
pub(super) fn string(raw: &str, limit: usize) -> Option<(String, bool)> {
    let raw = raw.trim();
    if !raw.starts_with('"') {
        return None;
    }
    if raw.len() <= limit {
        return Some((serde_json::from_str(raw).ok()?, true));
    }
    // Cut where no escape is cut, which takes a few attempts at most.
    (0..16).find_map(|back| {
        let head = text::head(raw, limit.saturating_sub(back)).0;
        let whole: String = serde_json::from_str(&format!("{head}\"")).ok()?;
        Some((whole, false))
    })
}

#[cfg(test)]
mod tests {
    use super::{show, string};

    fn plain(raw: &str, limit: usize) -> String {
        let page = show(raw, limit).0.into_string();
        let mut out = String::new();
        let mut is_tag = false;
        for character in page.chars() {
            match character {
                '<' => is_tag = true,
                '>' => is_tag = false,
                other if !is_tag => out.push(other),
                _ => {}
            }
        }
        out
    }

    #[test]
    fn json_is_laid_out() {
        assert_eq!(
            plain(r#"{"a":[1,{}, []],"b":{"c":null}}"#, 1000),
            "{\n  &quot;a&quot;: [\n    1,\n    {},\n    []\n  ],\n  &quot;b&quot;: {\n    &quot;c&quot;: null\n  }\n}"
        );
    }

    #[test]
    fn depth_and_size_have_limits() {
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(plain(&deep, 400_000).len() < 210_000);
        let long = format!("[{}1]", "1,".repeat(1_000_000));
        let (_, is_all) = show(&long, 10_000);
        assert!(!is_all);
        // What is no JSON breaks nothing.
        for wrong in ["}}]]", "\"", "\"\\", "{\"a\"", ":::", "é\"", ""] {
            show(wrong, 100);
        }
    }

    #[test]
    fn strings_are_cut_between_escapes() {
        assert_eq!(string(r#""a\nb""#, 100), Some(("a\nb".to_owned(), true)));
        assert_eq!(string(r#""abcd\u00e9fgh""#, 9), Some(("abcd".to_owned(), false)));
        assert_eq!(string("12", 9), None);
        let (cut, is_all) = string(&format!("\"{}\"", "ä\\n".repeat(9_000)), 1_000).unwrap();
        assert!(cut.len() > 700 && !is_all);
    }
}

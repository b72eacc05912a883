//! The start of a JSON text, made whole: what is cut off is said where it is missing.

use serde_json::Value;

/// The value that the text starts, with `mark` where it ends too early; `None` if that cannot be said.
pub(super) fn mend(start: &str, mark: &str) -> Option<Value> {
    let mut scan = Scan::default();
    start.bytes().enumerate().for_each(|(at, byte)| scan.take(at, byte));
    let marked = |text: &str| Value::from(format!("{text}{mark}")).to_string();
    let mut json = match scan.text {
        // Inside of a text, which may end inside of an escape: it goes on without that.
        Some(begin) if !scan.is_key() => {
            let held = &start[begin..];
            let whole = (0..=held.len()).rev().take(12).filter(|end| held.is_char_boundary(*end));
            let mut texts = whole.map(|end| serde_json::from_str::<String>(&format!("{}\"", &held[..end])));
            format!("{}{}", &start[..begin], marked(&texts.find_map(Result::ok)?))
        }
        _ => {
            let whole = &start[..scan.whole];
            let comma = if whole.ends_with(['[', '{']) { "" } else { "," };
            let key = if scan.open.last() == Some(&b'}') { "\"pandaprobe.cut\":" } else { "" };
            format!("{whole}{comma}{key}{}", marked(""))
        }
    };
    json.extend(scan.open.iter().rev().map(|close| char::from(*close)));
    serde_json::from_str(&json).ok()
}

/// How far a text of JSON has come. It is one that a serialiser writes: there is no space between its signs.
#[derive(Default)]
struct Scan {
    /// What closes the arrays and objects that are open.
    open: Vec<u8>,
    /// Where the last thing ended that is whole.
    whole: usize,
    /// Where the text at hand begins.
    text: Option<usize>,
    escaped: bool,
    /// What comes next in an object is a value.
    after_colon: bool,
}

impl Scan {
    fn is_key(&self) -> bool {
        self.open.last() == Some(&b'}') && !self.after_colon
    }

    fn take(&mut self, at: usize, byte: u8) {
        if self.text.is_some() {
            self.take_text(at, byte);
            return;
        }
        match byte {
            b'"' => self.text = Some(at),
            b':' => self.after_colon = true,
            b',' => (self.whole, self.after_colon) = (at, false),
            b'[' | b'{' => {
                self.open.push(byte + 2);
                (self.whole, self.after_colon) = (at + 1, false);
            }
            b']' | b'}' => {
                self.open.pop();
                self.whole = at + 1;
            }
            _ => {}
        }
    }

    fn take_text(&mut self, at: usize, byte: u8) {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' => self.escaped = true,
            b'"' => {
                if !self.is_key() {
                    self.whole = at + 1;
                }
                self.text = None;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const WHOLE: &str =
        r#"{"a":[1,-2.5e3,true,null,"x\"y\\z\u00e9é",{"k":"v"},[]],"deep":{"er":[{"n":12345}]}}"#;

    #[test]
    fn every_start_becomes_a_value_that_says_that_it_was_cut() {
        for end in 1..WHOLE.len() {
            let Some(start) = WHOLE.get(..end) else {
                continue;
            };
            let value = mend(start, " …").unwrap_or_else(|| panic!("{start}"));
            assert!(value.to_string().contains(" …"), "{start}: {value}");
        }
    }

    #[test]
    fn what_is_whole_stays_in_its_place() {
        assert_eq!(mend(&WHOLE[..15], "…"), Some(json!({"a": [1, -2500.0, "…"]})));
        assert_eq!(mend(r#"{"a":"x","text":"it goes \"#, "…"), Some(json!({"a": "x", "text": "it goes …"})));
        assert_eq!(mend(r#"{"a":"x","te"#, "…"), Some(json!({"a": "x", "pandaprobe.cut": "…"})));
        assert_eq!(mend(r#"{"a":"x","text":"#, "…"), Some(json!({"a": "x", "pandaprobe.cut": "…"})));
        assert_eq!(mend(r#""all of it is te"#, "…"), Some(json!("all of it is te…")));
        assert_eq!(mend("[", "…"), Some(json!(["…"])));
    }
}

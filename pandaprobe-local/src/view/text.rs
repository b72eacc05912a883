//! Numbers, times and recorded text, as pages show them.

use std::borrow::Cow;

use maud::{Markup, html};

use crate::time::Micros;

/// What stands where there is nothing.
pub(super) const NONE: &str = "–";

/// A text in which what cannot be seen can be: control characters as their pictures, those that override the direction of
/// writing by number.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            _ if !is_hidden(character) => out.push(character),
            '\u{7f}' => out.push('\u{2421}'),
            '\0'..='\u{1f}' => out.extend(char::from_u32(0x2400 + u32::from(character))),
            other => out.push_str(&format!("[U+{:04X}]", u32::from(other))),
        }
    }
    Cow::Owned(out)
}

fn is_hidden(character: char) -> bool {
    matches!(character,
        '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{202a}'..='\u{202e}')
}

/// The beginning of a text, in so many characters.
pub(super) fn cut(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((end, _)) => Cow::Owned(format!("{}…", shown(&text[..end]))),
        None => shown(text),
    }
}

/// The beginning of a text, in so many bytes, and whether that is not all.
pub(super) fn head(text: &str, most: usize) -> (&str, bool) {
    if text.len() <= most {
        return (text, false);
    }
    let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    (&text[..end], true)
}

/// A short recorded text on a line of its own direction.
pub(super) fn name(text: &str, most: usize) -> Markup {
    html! { bdi { (cut(text, most).replace(['\n', '\r', '\t'], " ")) } }
}

/// A duration in milliseconds.
pub(super) fn millis(millis: f64) -> String {
    match millis.abs() {
        _ if !millis.is_finite() => NONE.to_owned(),
        ms if millis < 0.0 => format!("−{}", self::millis(ms)),
        ms if ms < 1.0 => format!("{:.0} µs", millis * 1e3),
        ms if ms < 10.0 => format!("{millis:.1} ms"),
        ms if ms < 1e3 => format!("{millis:.0} ms"),
        ms if ms < 6e4 => format!("{:.2} s", millis / 1e3),
        ms if ms < 3.6e6 => {
            format!("{:.0} m {:02.0} s", (millis / 6e4).trunc(), (millis % 6e4 / 1e3).trunc())
        }
        ms if ms < 1.728e8 => {
            format!("{:.0} h {:02.0} m", (millis / 3.6e6).trunc(), (millis % 3.6e6 / 6e4).trunc())
        }
        _ => format!("{:.0} days", millis / 8.64e7),
    }
}

pub(super) fn maybe_millis(value: Option<f64>) -> String {
    value.map_or_else(|| NONE.to_owned(), millis)
}

/// A whole number, in groups of three digits.
pub(super) fn count(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut out = String::from(if number < 0 { "−" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number that may be zero, which is then not worth a look.
pub(super) fn some(number: i64) -> String {
    if number == 0 { NONE.to_owned() } else { count(number) }
}

/// What something cost.
pub(super) fn cost(dollars: f64) -> String {
    match dollars.abs() {
        0.0 => NONE.to_owned(),
        _ if !dollars.is_finite() => NONE.to_owned(),
        cost if cost < 0.01 => format!("${dollars:.5}"),
        cost if cost < 100.0 => format!("${dollars:.3}"),
        cost if cost < 1e9 => format!("${dollars:.0}"),
        _ => format!("${dollars:.1e}"),
    }
}

/// A size in bytes.
#[expect(clippy::cast_precision_loss, reason = "it is rounded anyway")]
pub(super) fn bytes(size: usize) -> String {
    match size {
        0..1_000 => format!("{size} B"),
        1_000..1_000_000 => format!("{:.1} kB", size as f64 / 1e3),
        _ => format!("{:.1} MB", size as f64 / 1e6),
    }
}

/// A share in percent.
#[expect(clippy::cast_precision_loss, reason = "it is rounded anyway")]
pub(super) fn share(part: i64, of: i64) -> String {
    match (part, of) {
        (0, _) | (_, 0) => NONE.to_owned(),
        _ => format!("{:.1} %", part as f64 * 100.0 / of as f64),
    }
}

/// A point in time. The page's script shows it in the reader's own time zone.
pub(super) fn time(at: Micros) -> Markup {
    let full = at.to_string();
    let short = full.get(..19).unwrap_or(&full).replacen('T', " ", 1);
    html! { time datetime=(full) title=(full) { (short) } }
}

#[cfg(test)]
mod tests {
    use super::{bytes, cost, count, cut, head, millis, share, shown};

    #[test]
    fn numbers() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567, -1_234].map(count),
            ["0", "999", "1,000", "1,234,567", "−1,234"]
        );
        let durations = [0.42, 4.2, 420.0, 4_200.0, 192_000.0, 7_500_000.0, f64::NAN].map(millis);
        assert_eq!(durations, ["420 µs", "4.2 ms", "420 ms", "4.20 s", "3 m 12 s", "2 h 05 m", "–"]);
        assert_eq!([0.0, 0.000_12, 1.5, 1234.0].map(cost), ["–", "$0.00012", "$1.500", "$1234"]);
        assert_eq!([999, 1_500, 20_000_000].map(bytes), ["999 B", "1.5 kB", "20.0 MB"]);
        assert_eq!(share(1, 8), "12.5 %");
    }

    #[test]
    fn hidden_characters_are_seen() {
        assert_eq!(shown("a\0b\u{202e}c\n"), "a\u{2400}b[U+202E]c\n");
        assert_eq!(shown("שלום"), "שלום");
    }

    #[test]
    fn cuts_are_between_characters() {
        assert_eq!(cut("äöü", 2), "äö…");
        assert_eq!(head("äö", 3), ("ä", true));
    }
}

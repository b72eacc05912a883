//! Texts that were cut say so, and how long they were.

const MARK: &str = "… [cut by pandaprobe: ";
const END: &str = " bytes in all]";

/// The longest start of `text` that has at most `most` bytes.
pub(crate) fn head(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or_default()]
}

/// A text of which `kept` is kept. One that was cut before says how long it was then.
pub(crate) fn cut(text: &str, kept: &str) -> String {
    let before = text.rfind(MARK).map(|at| &text[at..]).filter(|mark| mark_len(mark) == Some(mark.len()));
    format!("{kept}{}", before.map_or_else(|| format!("{MARK}{}{END}", text.len()), str::to_owned))
}

/// What stands behind a start of something whose length nobody knows but that it is more than `most` bytes.
pub(crate) fn longer_than(most: usize) -> String {
    format!("{MARK}more than {most}{END}")
}

/// What was kept of the first text in `text` that was cut, what says so, and what follows.
pub(crate) fn apart(text: &str) -> Option<(&str, &str, &str)> {
    let (at, length) = text.match_indices(MARK).find_map(|(at, _)| Some((at, mark_len(&text[at..])?)))?;
    let (mark, rest) = text[at..].split_at(length);
    Some((&text[..at], mark, rest))
}

/// Bytes of the mark that `text` starts with.
fn mark_len(text: &str) -> Option<usize> {
    let said = text.strip_prefix(MARK)?;
    let count = said.strip_prefix("more than ").unwrap_or(said);
    let rest = count.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix(END)?;
    Some(text.len() - rest.len())
}

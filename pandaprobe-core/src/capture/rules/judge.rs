//! Which parts of what a pattern found are what its rule is about.

use std::ops::Range;

use uuid::Uuid;

/// All of it.
pub(super) fn all(_: &str, found: Range<usize>) -> Vec<Range<usize>> {
    vec![found]
}

/// Keys and tokens, but not identifiers made of words.
pub(super) fn by_chance(text: &str, found: Range<usize>) -> Vec<Range<usize>> {
    if is_by_chance(&text[found.clone()]) { vec![found] } else { Vec::new() }
}

/// Whether chance made it: it is long, and a part of it has digits, or a capital letter in its midst.
pub(super) fn is_by_chance(text: &str) -> bool {
    const LONG: usize = 12;
    const LONG_PART: usize = 10;
    let mixed = |part: &str| {
        let capital_within = part.as_bytes().windows(2).any(|pair| {
            matches!(pair, [before, after] if before.is_ascii_lowercase() && after.is_ascii_uppercase())
        });
        part.len() >= LONG_PART && (capital_within || part.bytes().any(|b| b.is_ascii_digit()))
    };
    let mut parts = text.split(['-', '_', '.', '/']);
    text.len() >= LONG && (text.ends_with('=') || parts.any(mixed))
}

/// What stands after a word such as `password`. Without quotes it ends where a list goes on, and may be a piece of code.
pub(super) fn password(text: &str, found: Range<usize>) -> Vec<Range<usize>> {
    let is_quoted = text[..found.start].ends_with(['"', '\'']);
    let given = &text[found.clone()];
    let kept = if is_quoted { given } else { alone(given) };
    let is_meant = is_password(kept) && (is_quoted || !is_code(kept));
    let meant = found.start..found.start + kept.len();
    if is_meant { vec![meant] } else { Vec::new() }
}

/// Without the `,name=value` that follows it, and without the punctuation of a sentence.
fn alone(given: &str) -> &str {
    let starts_a_field = |rest: &str| {
        let word = rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || b"_-".contains(b)).count();
        word > 0 && rest[word..].starts_with(['=', ':'])
    };
    let end = given.match_indices([',', ';', '&']).find(|(at, _)| starts_a_field(&given[at + 1..]));
    end.map_or(given, |(at, _)| &given[..at]).trim_end_matches([',', ';', '&', '.', ')', ']'])
}

/// Whether it is more than a word of a schema or what stands for a secret.
pub(super) fn is_password(text: &str) -> bool {
    let stands_for_one = text.starts_with("[redacted: ")
        || (text.starts_with("${") && text.ends_with('}'))
        || (text.starts_with('<') && text.ends_with('>'))
        || text.bytes().all(|b| b"*.x-".contains(&b));
    !stands_for_one && !is_word_of_a_schema(text)
}

fn is_word_of_a_schema(text: &str) -> bool {
    const WORDS: [&str; 22] = [
        "string",
        "text",
        "str",
        "integer",
        "int",
        "number",
        "boolean",
        "bool",
        "bytes",
        "object",
        "array",
        "option",
        "optional",
        "required",
        "none",
        "null",
        "nil",
        "true",
        "false",
        "undefined",
        "missing",
        "secretstr",
    ];
    WORDS.iter().any(|word| word.eq_ignore_ascii_case(text))
}

/// `Optional[str]`, `&str`, `os.getenv(`, `config.api_key`: none of it has a digit.
fn is_code(text: &str) -> bool {
    let is_name = |text: &str| text.bytes().all(|b| b.is_ascii_alphabetic() || b"_.".contains(&b));
    let name = text.trim_start_matches('&').split(['[', '<', '(', '?', '|']).next().unwrap_or_default();
    let goes_on = name.len() < text.trim_start_matches('&').len();
    !name.is_empty() && is_name(name) && (goes_on || name.contains('.') || is_word_of_a_schema(name))
}

/// The cards among groups of digits. Digits that stand alone are a row of numbers.
pub(super) fn cards(text: &str, found: Range<usize>) -> Vec<Range<usize>> {
    const LONGEST: usize = 19;
    let groups = groups(text, found);
    let mut cards = Vec::new();
    let mut at = 0;
    while at < groups.len() {
        let start = groups[at].start;
        let ends = (at..groups.len())
            .take_while(|last| groups[*last].len() > 1)
            .take_while(|last| digits(&text[start..groups[*last].end]).nth(LONGEST).is_none());
        let is_meant = |last: &usize| is_card(text, start..groups[*last].end);
        match ends.filter(is_meant).last() {
            Some(last) => {
                cards.push(start..groups[last].end);
                at = last + 1;
            }
            None => at += 1,
        }
    }
    cards
}

/// The places of the groups of digits, with one sign between each two.
fn groups(text: &str, found: Range<usize>) -> Vec<Range<usize>> {
    let mut at = found.start;
    let of_length = |part: &str| {
        let group = at..at + part.len();
        at = group.end + 1;
        group
    };
    text[found].split([' ', '-']).map(of_length).collect()
}

/// Whether it begins and ends as the number of a card does: the number of a large issuer (ISO/IEC 7812-1), and the check
/// digit that its annex B asks for. So times and ids in digits stay.
fn is_card(text: &str, place: Range<usize>) -> bool {
    let number: String =
        digits(&text[place.clone()]).filter_map(|digit| char::from_digit(digit, 10)).collect();
    let of_issuer = match number.as_bytes() {
        [b'4', ..] => matches!(number.len(), 13 | 16 | 19),
        [b'5', b'1'..=b'5', ..] | [b'2', b'2'..=b'7', ..] => number.len() == 16,
        [b'3', b'4' | b'7', ..] => number.len() == 15,
        [b'3', b'0' | b'6' | b'8', ..] => number.len() == 14,
        [b'3', b'5', ..] | [b'6', ..] => (16..=19).contains(&number.len()),
        _ => false,
    };
    of_issuer && has_check_digit(&number) && ends_there(text, place.end) && !is_in_uuid(text, place)
}

fn has_check_digit(number: &str) -> bool {
    let doubled = |(place, digit): (usize, u32)| match place % 2 {
        0 => digit,
        _ if digit > 4 => digit * 2 - 9,
        _ => digit * 2,
    };
    digits(number).rev().enumerate().map(doubled).sum::<u32>().is_multiple_of(10)
}

fn is_in_uuid(text: &str, place: Range<usize>) -> bool {
    const LENGTH: usize = 36;
    let starts = (place.end.saturating_sub(LENGTH)..=place.start).take(LENGTH);
    starts.filter_map(|start| text.get(start..start + LENGTH)).any(|part| Uuid::try_parse(part).is_ok())
}

/// With its country code as long as any number (ITU-T E.164): as much of it as that, up to where a group ends.
pub(super) fn international(text: &str, found: Range<usize>) -> Vec<Range<usize>> {
    let skipped = if text[found.start..].starts_with('%') { 3 } else { 1 };
    let mut ends = (found.start + skipped..=found.end).rev();
    let is_end = |end: &usize| {
        let count = digits(&text[found.start + skipped..*end]).count();
        text[..*end].ends_with(|c: char| c.is_ascii_digit())
            && (9..=15).contains(&count)
            && ends_there(text, *end)
    };
    ends.find(is_end).map(|end| found.start..end).into_iter().collect()
}

/// Not a part of a longer row of numbers.
pub(super) fn north_american(text: &str, found: Range<usize>) -> Vec<Range<usize>> {
    let is_number = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    let goes_on = text[found.end..].strip_prefix(['-', '.']).is_some_and(is_number);
    if ends_there(text, found.end) && !goes_on { vec![found] } else { Vec::new() }
}

fn ends_there(text: &str, end: usize) -> bool {
    !text[end..].starts_with(|c: char| c.is_ascii_alphanumeric())
}

fn digits(text: &str) -> impl DoubleEndedIterator<Item = u32> {
    text.chars().filter_map(|c| c.to_digit(10))
}

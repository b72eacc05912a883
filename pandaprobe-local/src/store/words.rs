//! What is searched: the words of names, inputs and outputs.

use rusqlite::{Connection, Row, params};

use super::StoreError;

/// How much of a trace is searched.
const MAX: usize = 64 << 10;

/// How much of one input or output is searched.
const MAX_VALUE: i64 = 8 << 10;

/// How many spans are searched.
const MAX_SPANS: i64 = 500;

/// Writes anew what is searched of a trace.
pub(super) fn index(connection: &Connection, id: i64) -> Result<(), StoreError> {
    let mut body = String::new();
    let mut one = connection.prepare_cached(
        "SELECT name, coalesce(session_id, ''), coalesce(user_id, ''), substr(input, 1, ?2), substr(output, 1, ?2)
         FROM traces LEFT JOIN trace_content USING (id) WHERE traces.id = ?1",
    )?;
    let mut rows = one.query(params![id, MAX_VALUE])?;
    while let Some(row) = rows.next()? {
        push_row(&mut body, row)?;
    }
    let mut spans = connection.prepare_cached(
        "SELECT name, coalesce(model, ''), coalesce(error, ''), substr(input, 1, ?2), substr(output, 1, ?2)
         FROM spans LEFT JOIN span_content USING (sid) WHERE spans.id = ?1 ORDER BY started_at LIMIT ?3",
    )?;
    let mut rows = spans.query(params![id, MAX_VALUE, MAX_SPANS])?;
    while body.len() < MAX
        && let Some(row) = rows.next()?
    {
        push_row(&mut body, row)?;
    }
    connection.prepare_cached("DELETE FROM words WHERE rowid = ?1")?.execute([id])?;
    connection
        .prepare_cached("INSERT INTO words (rowid, body) VALUES (?1, ?2)")?
        .execute(params![id, body])?;
    Ok(())
}

/// Three texts, and the strings of two JSON texts.
fn push_row(body: &mut String, row: &Row<'_>) -> Result<(), rusqlite::Error> {
    for text in 0..3 {
        push(body, row.get_ref(text)?.as_str().unwrap_or_default());
    }
    for value in 3..5 {
        strings(row.get_ref(value)?.as_str().unwrap_or_default(), body);
    }
    Ok(())
}

fn push(body: &mut String, text: &str) {
    let room = MAX.saturating_sub(body.len());
    let cut = (0..=text.len().min(room)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    body.push_str(&text[..cut]);
    body.push(' ');
}

/// The strings in a JSON text, which may be cut and may be nested as deep as it likes.
fn strings(json: &str, body: &mut String) {
    let bytes = json.as_bytes();
    let mut at = 0;
    while body.len() < MAX
        && let Some(open) = bytes[at..].iter().position(|byte| *byte == b'"').map(|found| at + found)
    {
        let (end, closed) = end_of_string(bytes, open + 1);
        let raw = &json[open + 1..end];
        if raw.contains('\\') {
            let whole =
                if closed { json[open..=end].to_owned() } else { format!("\"{}\"", without_half(raw)) };
            push(body, &serde_json::from_str::<String>(&whole).unwrap_or_else(|_| raw.to_owned()));
        } else {
            push(body, raw);
        }
        at = (end + 1).min(bytes.len());
    }
}

/// Where a string ends that begins at `at`, and whether its end is there.
fn end_of_string(bytes: &[u8], mut at: usize) -> (usize, bool) {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return (at, true),
            _ => at += 1,
        }
    }
    (bytes.len(), false)
}

/// A string that was cut, without an escape that was cut.
fn without_half(raw: &str) -> &str {
    raw.rfind('\\').filter(|at| raw.len() - at < 12).map_or(raw, |at| &raw[..at])
}

/// A query as full-text search takes it: all words that were typed, the last of which may go on.
pub(super) fn query(typed: &str) -> Option<String> {
    let words: Vec<String> = typed
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .take(16)
        .map(|word| format!("\"{word}\""))
        .collect();
    (!words.is_empty()).then(|| format!("{}*", words.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::{query, strings};

    #[test]
    fn strings_of_whole_cut_and_deep_json() {
        let found = |json: &str| {
            let mut body = String::new();
            strings(json, &mut body);
            body
        };
        assert_eq!(found(r#"{"a":"Z\u00fcrich","b":[1,"two \"2\""]}"#), "a Zürich b two \"2\" ");
        assert_eq!(found(r#"{"a":"cut he"#), "a cut he ");
        assert_eq!(found(r#"["cut \u00f"#), "cut  ");
        assert_eq!(found(r#"["cut \"#), "cut  ");
        assert_eq!(found(&format!("{}\"deep\"", "[".repeat(100_000))), "deep ");
        assert_eq!(found("\u{1F600}\"\u{1F600}"), "\u{1F600} ");
    }

    #[test]
    fn what_is_typed_is_never_syntax() {
        assert_eq!(query("  "), None);
        assert_eq!(query("lisbon hot").as_deref(), Some("\"lisbon\" \"hot\"*"));
        assert_eq!(query("a\" OR (b:*").as_deref(), Some("\"a\" \"OR\" \"b\"*"));
    }
}

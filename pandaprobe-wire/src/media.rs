//! Images, audio and files as references: what they are and how large, without their bytes.

use serde_json::{Map, Value, json};

/// Keys that hold base64 in one dialect or another.
const BLOB_KEYS: [&str; 6] = ["data", "b64_json", "file_data", "bytes", "result", "encrypted_content"];

/// Base64 shorter than this stays.
const MIN_BLOB: usize = 512;

/// Bytes looked at, at both ends, to tell base64 from text.
const SAMPLE: usize = 2 << 10;

/// A URL longer than this that is none is taken for base64.
const MAX_URL: usize = 4096;

/// Reduces a content part that is not text.
pub(crate) fn part(part: Value) -> Value {
    let Value::Object(mut map) = part else {
        return reduce(part);
    };
    let kind = map.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let Some(inner) = inner(&kind, &mut map) else {
        return reduce(Value::Object(map));
    };
    let mut reference = Map::new();
    reference.insert("type".into(), Value::from(kind.as_str()));
    reference.extend(inner_fields(&kind, inner));
    map.remove("type");
    reference.extend(map.into_iter().map(|(key, value)| (key, reduce(value))));
    Value::Object(reference)
}

/// The value that says what a part is: under its own name, or where Responses has it.
fn inner(kind: &str, part: &mut Map<String, Value>) -> Option<Value> {
    match kind {
        "input_image" | "computer_screenshot" if part.get("image_url").is_some_and(Value::is_string) => {
            part.remove("image_url")
        }
        "input_file" => Some(Value::Object(std::mem::take(part))),
        _ => part.remove(kind),
    }
}

/// Replaces data URLs and long base64 anywhere in a value.
pub(crate) fn reduce(value: Value) -> Value {
    match value {
        Value::String(text) => data_url(&text).unwrap_or(Value::String(text)),
        Value::Array(items) => items.into_iter().map(reduce).collect(),
        Value::Object(map) => map.into_iter().map(|(key, value)| field(key, value)).collect(),
        other => other,
    }
}

/// Bytes that base64 text stands for, from its length alone.
pub(crate) fn decoded_len(base64: &str) -> u64 {
    let digits = base64.trim_end().trim_end_matches('=').len() as u64;
    digits * 3 / 4
}

fn field(key: String, value: Value) -> (String, Value) {
    let value = match value {
        Value::String(text) if BLOB_KEYS.contains(&key.as_str()) && is_blob(&text) => {
            json!({"bytes": decoded_len(&text)})
        }
        other => reduce(other),
    };
    (key, value)
}

fn is_blob(text: &str) -> bool {
    let is_digit = |b: &u8| b.is_ascii_alphanumeric() || b"+/=-_\r\n".contains(b);
    let bytes = text.as_bytes();
    let (head, rest) = bytes.split_at(bytes.len().min(SAMPLE));
    let tail = &rest[rest.len().saturating_sub(SAMPLE)..];
    bytes.len() >= MIN_BLOB && head.iter().chain(tail).all(is_digit)
}

/// The fields of a reference, from the value under the part's own name.
fn inner_fields(kind: &str, inner: Value) -> Map<String, Value> {
    match (kind, inner) {
        (_, Value::String(text)) => link(text),
        ("input_audio", Value::Object(map)) => audio(map),
        ("file" | "input_file", Value::Object(map)) => file(map),
        (_, Value::Object(mut map)) if map.get("url").is_some_and(Value::is_string) => {
            match map.remove("url") {
                Some(Value::String(url)) => link(url),
                _ => Map::new(),
            }
        }
        (kind, other) => Map::from_iter([(kind.to_owned(), reduce(other))]),
    }
}

/// The fields of a reference to what a URL stands for.
pub(crate) fn link(url: String) -> Map<String, Value> {
    match data_url(&url) {
        Some(Value::Object(reference)) => reference,
        _ if url.len() > MAX_URL && is_blob(&url) => sized(None, decoded_len(&url)),
        _ => Map::from_iter([("url".to_owned(), Value::String(url))]),
    }
}

fn audio(map: Map<String, Value>) -> Map<String, Value> {
    let text = |key| map.get(key).and_then(Value::as_str);
    match text("data") {
        Some(data) => match data_url(data) {
            Some(Value::Object(reference)) => reference,
            _ => sized(text("format").map(audio_type).as_deref(), decoded_len(data)),
        },
        None => map.into_iter().map(|(key, value)| field(key, value)).collect(),
    }
}

fn audio_type(format: &str) -> String {
    match format {
        "mp3" => "audio/mpeg".to_owned(),
        other => format!("audio/{other}"),
    }
}

fn file(mut map: Map<String, Value>) -> Map<String, Value> {
    let mut reference = match map.remove("file_data") {
        Some(Value::String(data)) => match data_url(&data) {
            Some(Value::Object(reference)) => reference,
            _ if data.contains("://") => link(data),
            _ => sized(None, decoded_len(&data)),
        },
        _ => Map::new(),
    };
    reference.extend(map.into_iter().map(|(key, value)| (key, reduce(value))));
    reference
}

/// `{"media_type","bytes"}` of a data URL.
fn data_url(text: &str) -> Option<Value> {
    let (head, payload) = text.strip_prefix("data:")?.split_once(',')?;
    let is_head = head.len() < 256 && !head.contains(char::is_whitespace);
    let (media_type, bytes) = match head.strip_suffix(";base64") {
        Some(media_type) => (media_type, decoded_len(payload)),
        None if head.contains('/') => (head, payload.len() as u64),
        None => return None,
    };
    is_head.then(|| Value::Object(sized(Some(media_type), bytes)))
}

/// The fields of a reference to `bytes` bytes.
pub(crate) fn sized(media_type: Option<&str>, bytes: u64) -> Map<String, Value> {
    let media_type = media_type.map(|media_type| ("media_type".to_owned(), Value::from(media_type)));
    let bytes = ("bytes".to_owned(), Value::from(bytes));
    media_type.into_iter().chain([bytes]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_urls_become_references() {
        let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAAAA==", "detail": "low"}});
        assert_eq!(part(image), json!({"type": "image_url", "media_type": "image/png", "bytes": 4}));
        let document = json!({"type": "document_url", "document_url": "data:application/pdf;base64,AAAA", "document_name": "a"});
        assert_eq!(
            part(document),
            json!({"type": "document_url", "media_type": "application/pdf", "bytes": 3, "document_name": "a"})
        );
    }

    #[test]
    fn web_links_stay() {
        for image in [json!({"url": "https://a.b/c.png"}), json!("https://a.b/c.png")] {
            let reference = part(json!({"type": "image_url", "image_url": image}));
            assert_eq!(reference, json!({"type": "image_url", "url": "https://a.b/c.png"}));
        }
    }

    #[test]
    fn audio_and_files_become_references() {
        let audio = json!({"type": "input_audio", "input_audio": {"data": "AAAAAAA=", "format": "mp3"}});
        assert_eq!(part(audio), json!({"type": "input_audio", "media_type": "audio/mpeg", "bytes": 5}));
        let file = json!({"type": "file", "file": {"file_data": "data:text/plain;base64,AAAA", "filename": "a.txt"}});
        assert_eq!(
            part(file),
            json!({"type": "file", "media_type": "text/plain", "bytes": 3, "filename": "a.txt"})
        );
        let known = json!({"type": "file", "file": {"file_id": "f-1"}});
        assert_eq!(part(known), json!({"type": "file", "file_id": "f-1"}));
    }

    #[test]
    fn parts_of_responses_become_references() {
        let image =
            json!({"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"});
        assert_eq!(
            part(image),
            json!({"type": "input_image", "media_type": "image/png", "bytes": 3, "detail": "low"})
        );
        let file =
            json!({"type": "input_file", "file_data": "data:text/plain;base64,AAAA", "filename": "a.txt"});
        assert_eq!(
            part(file),
            json!({"type": "input_file", "media_type": "text/plain", "bytes": 3, "filename": "a.txt"})
        );
        let known = json!({"type": "input_image", "file_id": "f-1"});
        assert_eq!(part(known.clone()), known);
    }

    #[test]
    fn blobs_of_unknown_parts_are_found() {
        let source = json!({"type": "image", "source": {"type": "base64", "data": "A".repeat(1000)}});
        assert_eq!(
            part(source),
            json!({"type": "image", "source": {"type": "base64", "data": {"bytes": 750}}})
        );
    }

    #[test]
    fn text_that_begins_like_a_data_url_stays() {
        for text in ["data: a, b", "data:,x", "data:image/png", "data: image/png and so on, b"] {
            assert_eq!(reduce(Value::from(text)), Value::from(text));
        }
    }
}

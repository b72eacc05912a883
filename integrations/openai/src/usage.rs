//! Asks for the tokens of a stream, and hides the chunk that brings them from a caller who did not.

use bytes::{Bytes, BytesMut};
use reqwest::{Body, Request};
use serde_json::{Value, json};

/// Makes a streamed chat request ask for usage. `false` if it is none, or asks already.
pub(crate) fn ask(request: &mut Request) -> bool {
    let Some(asking) = request.body().and_then(Body::as_bytes).and_then(asking) else {
        return false;
    };
    *request.body_mut() = Some(asking.into());
    true
}

fn asking(body: &[u8]) -> Option<Vec<u8>> {
    let mut request: Value = serde_json::from_slice(body).ok()?;
    if request["stream"] != json!(true) || !request["stream_options"]["include_usage"].is_null() {
        return None;
    }
    match &mut request["stream_options"] {
        Value::Object(options) => {
            options.insert("include_usage".to_owned(), json!(true));
        }
        other => *other = json!({"include_usage": true}),
    }
    serde_json::to_vec(&request).ok()
}

/// Passes a stream on event by event, but for the one that only brings usage.
#[derive(Default)]
pub(crate) struct Hider {
    pending: BytesMut,
    /// How much of `pending` was searched for an end.
    searched: usize,
}

impl Hider {
    /// What of the stream may go on now.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Bytes {
        self.pending.extend_from_slice(bytes);
        let mut passed = BytesMut::new();
        while let Some(end) = self.end_of_event() {
            let event = self.pending.split_to(end);
            self.searched = 0;
            if !only_brings_usage(&event) {
                passed.unsplit(event);
            }
        }
        passed.freeze()
    }

    /// What is left when the stream ends.
    pub(crate) fn rest(&mut self) -> Bytes {
        self.searched = 0;
        self.pending.split().freeze()
    }

    /// Where the first event ends: after its blank line.
    fn end_of_event(&mut self) -> Option<usize> {
        let from = self.searched.saturating_sub(3);
        let found = self.pending[from..].windows(2).position(|pair| matches!(pair, b"\n\n" | b"\r\r"));
        let found = found.map(|at| from + at + 2);
        let crlf = self.pending[from..].windows(4).position(|four| four == b"\r\n\r\n");
        let crlf = crlf.map(|at| from + at + 4);
        self.searched = self.pending.len();
        found.into_iter().chain(crlf).min()
    }
}

fn only_brings_usage(event: &[u8]) -> bool {
    let text = String::from_utf8_lossy(event);
    let data: String = text.lines().filter_map(|line| line.strip_prefix("data:")).collect();
    // Cheap before dear: nearly every event has choices.
    data.contains("\"usage\"")
        && serde_json::from_str::<Value>(&data)
            .is_ok_and(|chunk| chunk["usage"].is_object() && chunk["choices"] == json!([]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_usage_chunk_is_hidden_however_the_stream_is_cut() {
        for end in ["\n\n", "\r\n\r\n", "\r\r"] {
            let content =
                format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"ä\"}}}}],\"usage\":null}}{end}");
            let usage = format!("data: {{\"choices\":[],\"usage\":{{\"total_tokens\":3}}}}{end}");
            let done = format!("data: [DONE]{end}");
            let filtered = format!("data: {{\"choices\":[],\"prompt_filter_results\":[]}}{end}");
            let whole = format!("{filtered}{content}{usage}{done}: a comment");
            for size in 1..whole.len() {
                let mut hider = Hider::default();
                let mut passed: Vec<u8> =
                    whole.as_bytes().chunks(size).flat_map(|piece| hider.push(piece)).collect();
                passed.extend_from_slice(&hider.rest());
                let expected = format!("{filtered}{content}{done}: a comment");
                assert_eq!(String::from_utf8(passed).unwrap(), expected, "in pieces of {size}");
            }
        }
    }

    #[test]
    fn only_streams_that_do_not_ask_are_made_to() {
        let asked = |request: Value| asking(&serde_json::to_vec(&request).unwrap());
        let asked = |request| asked(request).map(|body| serde_json::from_slice::<Value>(&body).unwrap());
        assert_eq!(asked(json!({"stream": false})), None);
        assert_eq!(asked(json!({"stream": true, "stream_options": {"include_usage": false}})), None);
        let usage = json!({"include_usage": true});
        assert_eq!(asked(json!({"stream": true})).unwrap()["stream_options"], usage);
        assert_eq!(asked(json!({"stream": true, "stream_options": null})).unwrap()["stream_options"], usage);
        let both = json!({"stream": true, "stream_options": {"include_obfuscation": false}});
        assert_eq!(asked(both).unwrap()["stream_options"]["include_obfuscation"], json!(false));
        assert_eq!(asking(b"not JSON"), None);
    }
}

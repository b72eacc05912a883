//! Answers that are errors, and endpoints that are unknown.

mod common;

use common::{JSON, PATH, SSE, blocking, delta, record, request, stream, streamed};
use pandaprobe_wire::{Exchange, MAX_UNKNOWN_BODY, Operation, WireError};
use serde_json::json;

fn failed(status: u16, body: &str) -> WireError {
    record(&request(false), status, JSON, body.as_bytes()).error.unwrap_or_default()
}

#[test]
fn a_json_error_answers_a_stream_request() {
    let body = br#"{"error":{"message":"limit reached","type":"requests","code":"rate_limit_exceeded","param":null}}"#;
    for content_type in [JSON, SSE, None] {
        let record = record(&request(true), 429, content_type, body);
        let error = record.error.unwrap();
        assert_eq!(error.to_string(), "429: limit reached (type: requests, code: rate_limit_exceeded)");
        assert!(record.streaming && record.terminal && record.output.is_empty());
        assert_eq!((record.status, record.choices, record.notes.len()), (Some(429), 0, 0));
        assert_eq!(record.input.len(), 1);
    }
}

#[test]
fn the_usual_envelopes_are_known() {
    for body in [
        r#"{"error":{"message":"no"}}"#,
        r#"{"error":"no"}"#,
        r#"{"object":"error","message":"no"}"#,
        r#"{"detail":"no"}"#,
        r#"[{"error":{"message":"no"}}]"#,
        "\n no \n",
    ] {
        assert_eq!(failed(400, body).message, "no", "{body}");
    }
    assert_eq!(failed(400, r#"{"error":{"message":"no","code":7}}"#).to_string(), "400: no (code: 7)");
    assert_eq!(failed(422, r#"{"detail":[{"msg":"bad"}]}"#).message, r#"{"detail":[{"msg":"bad"}]}"#);
    assert_eq!(failed(503, "").to_string(), "HTTP 503");
}

#[test]
fn an_html_page_is_its_own_message() {
    let page = format!("<html><h1>502 Bad Gateway</h1>{}</html>", "ż".repeat(9000));
    let record = record(&request(true), 502, Some("text/html"), page.as_bytes());
    let error = record.error.unwrap();
    assert!(error.message.starts_with("<html><h1>502 Bad Gateway</h1>"), "{error}");
    let (kept, mark) = error.message.split_once('…').unwrap();
    assert_eq!((kept.chars().count(), mark), (500, " [cut by pandaprobe: 18037 bytes in all]"));
    assert_eq!(error.status, Some(502));
}

#[test]
fn an_error_sent_as_an_event_stream_is_read() {
    let body = b"event: error\ndata: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\"}}\n\n";
    let error = record(&request(true), 529, SSE, body).error.unwrap();
    assert_eq!(error.to_string(), "529: overloaded (type: server_error)");
    let error = record(&request(true), 500, SSE, b"data: oops\n\n").error.unwrap();
    assert_eq!(error.message, "data: oops");
}

#[test]
fn an_error_within_a_stream_keeps_what_came_before() {
    let record = streamed(&[
        delta(0, json!({"content": "par"})),
        json!({"error": {"message": "overloaded", "code": 502}}),
    ]);
    assert_eq!(record.output[0]["content"], "par");
    assert_eq!(record.error.unwrap().to_string(), "overloaded (code: 502)");
}

#[test]
fn an_error_event_needs_no_envelope() {
    for (data, message) in
        [("{\"message\":\"slow down\"}", "slow down"), ("slow down", "slow down"), ("{\"a\":1}", "{\"a\":1}")]
    {
        let body = format!("event: error\ndata: {data}\n\n");
        let error = record(&request(true), 200, SSE, body.as_bytes()).error.unwrap();
        assert_eq!((error.message.as_str(), error.status), (message, None));
    }
}

#[test]
fn an_error_within_a_good_answer_is_read() {
    let error = blocking(&json!({"error": {"message": "nope", "code": 400}})).error.unwrap();
    assert_eq!((error.message.as_str(), error.code.as_deref(), error.status), ("nope", Some("400"), None));
    let choice = json!({"index": 0, "message": {"content": "a"}, "error": {"message": "cut"}, "finish_reason": "error"});
    let record = blocking(&json!({"choices": [choice]}));
    assert_eq!(record.error.unwrap().message, "cut");
    assert_eq!(record.output[0]["content"], "a");
}

#[test]
fn an_empty_error_field_is_no_error() {
    for empty in [json!(null), json!(""), json!(false), json!({})] {
        assert_eq!(blocking(&json!({"choices": [], "error": empty})).error, None, "{empty}");
    }
}

#[test]
fn an_unknown_endpoint_keeps_request_and_answer() {
    let mut exchange = Exchange::new("/v1/search", br#"{"model":"r","query":"q"}"#);
    exchange.start(200, JSON);
    exchange.push(b"{\"results\":[{\"index\"");
    exchange.push(b":1}]}");
    exchange.end();
    let record = exchange.record();
    assert_eq!((record.operation, record.terminal), (Operation::Unknown, true));
    assert_eq!(record.input, [json!({"model": "r", "query": "q"})]);
    assert_eq!(record.body, Some(json!({"results": [{"index": 1}]})));
    assert_eq!(record.model_requested.as_deref(), Some("r"));
    assert!(record.output.is_empty() && record.notes.is_empty());
}

#[test]
fn an_unknown_answer_is_text_or_size_and_capped() {
    let body = |bytes: &[u8]| {
        let mut exchange = Exchange::new("/v1/audio", b"");
        exchange.start(200, None);
        exchange.push(bytes);
        exchange.end();
        exchange.record()
    };
    assert_eq!(body(b"WEBVTT").body, Some(json!("WEBVTT")));
    assert_eq!(body(b"\xFF\xFB\x90\x00mp3").body, Some(json!({"type": "binary", "bytes": 7})));
    assert_eq!(body(b"").body, None);
    let long = body(&vec![b'a'; MAX_UNKNOWN_BODY + 5]);
    let mark = format!("… [cut by pandaprobe: {} bytes in all]", MAX_UNKNOWN_BODY + 5);
    assert_eq!(long.body, Some(json!("a".repeat(MAX_UNKNOWN_BODY) + &mark)));
    assert_eq!(long.notes, [format!("answer of {} bytes was cut", MAX_UNKNOWN_BODY + 5)]);
}

#[test]
fn an_unknown_endpoint_can_fail_too() {
    let mut exchange = Exchange::new("/v1/files", b"{}");
    exchange.start(404, JSON);
    exchange.push(br#"{"error":{"message":"no such file"}}"#);
    exchange.end();
    let record = exchange.record();
    assert_eq!(record.error.unwrap().to_string(), "404: no such file");
    assert!(record.body.is_some());
}

#[test]
fn the_status_alone_makes_an_error() {
    let mut exchange = Exchange::new(PATH, &request(true));
    exchange.start(500, None);
    assert_eq!(exchange.record().error.unwrap().to_string(), "HTTP 500");
    exchange.push(&stream(&[json!({"error": {"message": "x"}})]));
    assert_eq!(exchange.record().error.unwrap().to_string(), "500: x");
}

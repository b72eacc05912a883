//! Speech and transcriptions.

mod common;

use common::{
    JSON, SPEECH, SSE, TRANSCRIPTIONS, assert_cuts, exchange_at, most_held, named_stream, streamed_at,
    without,
};
use pandaprobe_wire::{Exchange, LlmRecord, MAX_TEXT, Operation};
use serde_json::{Value, json};

const MP3: Option<&str> = Some("Audio/MPEG; x=y");
const TEXT: Option<&str> = Some("text/plain; charset=utf-8");
const SPOKEN: &[u8] = br#"{"model":"tts-1","input":"hello"}"#;

fn speech(status: u16, content_type: Option<&str>, body: &[u8]) -> LlmRecord {
    exchange_at(SPEECH, SPOKEN, status, content_type, [body]).record()
}

fn spoken(media_type: Option<&str>, bytes: usize) -> Vec<Value> {
    let mut part = json!({"type": "audio", "bytes": bytes});
    if let Some(media_type) = media_type {
        part["media_type"] = Value::from(media_type);
    }
    vec![json!({"role": "assistant", "content": [part]})]
}

fn speech_events() -> [Value; 3] {
    let delta = |audio: &str| json!({"type": "speech.audio.delta", "audio": audio});
    let usage = json!({"input_tokens": 5, "output_tokens": 90, "total_tokens": 95});
    [delta("aGVsbG8="), delta("AAAA"), json!({"type": "speech.audio.done", "usage": usage})]
}

/// An exchange whose upload was not seen.
fn transcription(status: u16, content_type: Option<&str>, body: &[u8]) -> LlmRecord {
    let form = Some("multipart/form-data; boundary=x");
    let mut exchange = Exchange::with_unread_request(Operation::Transcription, "", form, Some(900));
    exchange.start(status, content_type);
    for piece in body.chunks(7) {
        exchange.push(piece);
    }
    exchange.end();
    exchange.record()
}

fn said(text: &str) -> Vec<Value> {
    vec![json!({"role": "assistant", "content": text})]
}

fn transcript_delta(text: &str) -> Value {
    json!({"type": "transcript.text.delta", "delta": text})
}

fn transcript_done(text: &str) -> Value {
    let usage = json!({"type": "tokens", "input_tokens": 14, "input_token_details": {"audio_tokens": 14},
        "output_tokens": 45, "total_tokens": 59});
    json!({"type": "transcript.text.done", "text": text, "usage": usage})
}

#[test]
fn the_operations_are_told_by_the_path() {
    for path in ["/v1/audio/speech", "/openai/deployments/x/audio/speech?api-version=1"] {
        assert_eq!(Operation::detect(path), Operation::Speech, "{path}");
    }
    for path in ["/v1/audio/transcriptions", "/v1/audio/translations/"] {
        assert_eq!(Operation::detect(path), Operation::Transcription, "{path}");
    }
    for path in ["/v1/audio", "/v1/speech", "/v1/myaudio/speech"] {
        assert_eq!(Operation::detect(path), Operation::Unknown, "{path}");
    }
    assert_eq!(json!([Operation::Speech, Operation::Transcription]), json!(["speech", "transcription"]));
}

#[test]
fn speech_is_counted() {
    let request = json!({"model": "tts-1", "input": "hello", "voice": "nova", "response_format": "mp3", "speed": 1.5,
        "instructions": "slowly", "stream_format": "audio", "user": "u"});
    let bytes = b"\xFF\xF3\xC4\x00 mp3";
    let record = exchange_at(SPEECH, request.to_string().as_bytes(), 200, MP3, bytes.chunks(3)).record();
    assert_eq!(json!(record.input), json!([{"role": "user", "content": "hello"}]));
    assert_eq!(record.output, spoken(Some("audio/mpeg"), 8));
    assert_eq!(json!(record.parameters), without(&request, &["model", "input", "user"]));
    assert_eq!((record.model_requested.as_deref(), record.choices), (Some("tts-1"), 0));
    assert!(record.terminal && !record.streaming && record.notes.is_empty() && record.body.is_none());
}

#[test]
fn audio_may_look_like_anything_else() {
    for body in ["data: x\n\n", ": x", " \n \u{feff}a", "{\"a\":1}", "{\"a\"", "[1]", "<html>", "d"] {
        assert_eq!(
            speech(200, Some("audio/pcm"), body.as_bytes()).output,
            spoken(Some("audio/pcm"), body.len())
        );
    }
    for body in [" \n \u{feff}a", "{\"a\":1}", "[", "d"] {
        let record = speech(200, None, body.as_bytes());
        assert_eq!((record.output, record.terminal), (spoken(None, body.len()), true), "{body}");
    }
}

#[test]
fn speech_that_fails_is_an_error() {
    let body = br#"{"error":{"message":"no such voice","type":"invalid_request_error"}}"#;
    for content_type in [JSON, MP3, SSE, None] {
        let record = speech(400, content_type, body);
        assert_eq!(record.error.unwrap().to_string(), "400: no such voice (type: invalid_request_error)");
        assert!(record.terminal && record.output.is_empty());
        let record = speech(200, content_type, body);
        assert_eq!(record.error.unwrap().message, "no such voice");
        assert!(record.terminal && record.output.is_empty());
    }
    let empty = speech(200, MP3, b"");
    assert_eq!((empty.notes, empty.terminal), (vec!["answer is empty".to_owned()], false));
}

#[test]
fn speech_is_not_held() {
    let piece = vec![0xFF; 1 << 20];
    for content_type in [MP3, None] {
        let mut exchange = Exchange::new(SPEECH, SPOKEN);
        exchange.start(200, content_type);
        let held = most_held(&mut exchange, (0..30).map(|_| &piece[..]));
        assert!(held < 40_000, "{held}");
        assert!(!exchange.is_terminal());
        assert_eq!(exchange.record().output[0]["content"][0]["bytes"], 30 << 20);
        exchange.end();
        assert!(exchange.is_terminal() && exchange.held_bytes() < 10_000);
        assert_eq!(exchange.record().output[0]["content"][0]["bytes"], 30 << 20);
    }
}

#[test]
fn a_stream_of_speech_in_any_pieces_gives_one_record() {
    let request = json!({"input": "hello", "stream_format": "sse"});
    let record = streamed_at(SPEECH, &request, &speech_events());
    assert_eq!(record.output, spoken(None, 8));
    assert_eq!(record.usage.and_then(|usage| usage.total_tokens), Some(95));
    assert_cuts(SPEECH, &request, &named_stream(&speech_events()), "\"total_tokens\":95");
}

#[test]
fn a_stream_of_speech_is_not_held() {
    let base64 = "A".repeat(1 << 20);
    let mut exchange = Exchange::new(SPEECH, SPOKEN);
    exchange.start(200, SSE);
    let event = named_stream(&[json!({"type": "speech.audio.delta", "audio": base64})]);
    for _ in 0..30 {
        let held = most_held(&mut exchange, event.chunks(10_000));
        assert!(held < 4 << 20 && exchange.held_bytes() < 200_000, "{held}");
    }
    assert_eq!(exchange.record().output, spoken(None, 30 * (1 << 20) * 3 / 4));
}

#[test]
fn progress_tells_of_the_first_audio_and_of_the_end() {
    let mut exchange = Exchange::new(SPEECH, br#"{"input":"a","stream_format":"sse"}"#);
    assert!(exchange.is_streaming());
    exchange.start(200, SSE);
    let mut push = |event: &Value| exchange.push(&named_stream(std::slice::from_ref(event)));
    let read = speech_events().map(|event| push(&event)).map(|progress| (progress.token, progress.terminal));
    assert_eq!(read, [(true, false), (true, false), (false, true)]);
    let mut blocking = Exchange::new(SPEECH, SPOKEN);
    blocking.start(200, MP3);
    assert!(!blocking.push(b"\xFF\xF3").token);
}

#[test]
fn a_stream_of_speech_that_fails_ends() {
    let error = json!({"type": "error", "error": {"message": "overloaded"}});
    let record = streamed_at(SPEECH, &json!({"input": "a"}), &[speech_events()[0].clone(), error]);
    assert_eq!(record.error.unwrap().message, "overloaded");
    assert!(record.terminal && record.output == spoken(None, 5));
}

#[test]
fn every_field_of_a_transcription_is_read() {
    let answer = json!({"task": "transcribe", "text": "The sun", "language": "english", "duration": 6.5, "segments": [{"text": "The sun"}],
        "usage": transcript_done("")["usage"]});
    let record = transcription(200, JSON, answer.to_string().as_bytes());
    assert_eq!(record.output, said("The sun"));
    assert_eq!(record.body, Some(json!({"duration": 6.5, "language": "english"})));
    let usage = record.usage.unwrap();
    assert_eq!(
        (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens),
        (Some(14), Some(45), Some(59))
    );
    let content = json!([{"type": "multipart", "bytes": 900}]);
    assert_eq!(json!(record.input), json!([{"role": "user", "content": content}]));
    assert!(record.terminal && !record.streaming && record.choices == 0 && record.notes.is_empty());
    let answer = br#"{"text":"a","usage":{"type":"duration","seconds":6}}"#;
    let record = transcription(200, JSON, answer);
    assert_eq!((record.output, record.usage, record.body), (said("a"), None, None));
}

#[test]
fn text_and_subtitles_are_the_transcript() {
    let subtitles = "1\n00:00:00,000 --> 00:00:01,000\nżółw\n";
    for text in [
        "The sun\n",
        " 42",
        "null",
        "data: a\n\n",
        ": a",
        "WEBVTT\n\n",
        subtitles,
        "[music] NaN",
        "{music}",
        "{\"a\":1}",
    ] {
        let record = transcription(200, TEXT, text.as_bytes());
        assert_eq!((record.output, record.terminal), (said(text), true), "{text}");
        assert!(record.notes.is_empty() && !record.streaming, "{text}");
    }
    for text in ["The sun\n", "WEBVTT\n\n", subtitles, "d"] {
        assert_eq!(transcription(200, None, text.as_bytes()).output, said(text), "{text}");
        assert_eq!(transcription(200, JSON, text.as_bytes()).output, said(text), "{text}");
    }
    let json = transcription(200, TEXT, br#"{"text":"a"}"#);
    assert_eq!(json.output, said("a"));
}

#[test]
fn a_transcription_that_fails_is_an_error() {
    let body = br#"{"error":{"message":"no","type":"invalid_request_error"}}"#;
    for content_type in [JSON, TEXT, SSE, None] {
        let record = transcription(400, content_type, body);
        assert_eq!(record.error.unwrap().to_string(), "400: no (type: invalid_request_error)");
        assert!(record.output.is_empty());
        let record = transcription(200, content_type, body);
        assert_eq!(record.error.unwrap().message, "no");
        assert!(record.output.is_empty() && record.terminal);
    }
    for (content_type, body) in [(JSON, &b"{\"text\":\"a"[..]), (None, b"\xFF\xFE\x00"), (TEXT, b"")] {
        let record = transcription(200, content_type, body);
        assert!(record.output.is_empty() && !record.terminal && record.notes.len() == 1, "{body:?}");
    }
    let latin = transcription(200, TEXT, b"caf\xE9");
    assert_eq!(latin.output, said("caf\u{fffd}"));
}

#[test]
fn a_request_in_json_is_read() {
    let request = json!({"model": "whisper-1", "prompt": "p", "language": "en", "temperature": 0, "response_format": "json", "file": "x"});
    let record =
        exchange_at(TRANSCRIPTIONS, request.to_string().as_bytes(), 200, JSON, [&b"{}"[..]]).record();
    let parameters = json!({"prompt": "p", "language": "en", "temperature": 0, "response_format": "json"});
    assert_eq!(json!(record.parameters), parameters);
    assert_eq!(record.model_requested.as_deref(), Some("whisper-1"));
    assert!(record.input.is_empty() && record.output.is_empty());
}

#[test]
fn a_stream_of_text_in_any_pieces_gives_one_record() {
    let events = [transcript_delta("The "), transcript_delta("żółw"), transcript_done("The żółw.")];
    let request = json!({"stream": true});
    let record = streamed_at(TRANSCRIPTIONS, &request, &events);
    assert_eq!(record.output, said("The żółw."));
    assert_eq!(record.usage.and_then(|usage| usage.total_tokens), Some(59));
    assert_cuts(TRANSCRIPTIONS, &request, &named_stream(&events), "\"total_tokens\":59");
    let cut = streamed_at(TRANSCRIPTIONS, &request, &events[..2]);
    assert_eq!(cut.output, said("The żółw"));
    assert_eq!(cut.notes, ["the stream ended before the answer was complete"]);
    let silent = streamed_at(TRANSCRIPTIONS, &request, &[transcript_delta("a"), transcript_done("")]);
    assert_eq!(silent.output, said("a"));
}

#[test]
fn the_first_text_is_told_even_if_it_is_the_last() {
    let tokens = |events: &[Value]| {
        let mut exchange = Exchange::with_unread_request(Operation::Transcription, "", None, None);
        exchange.start(200, SSE);
        let push = |event: &Value| exchange.push(&named_stream(std::slice::from_ref(event)));
        events.iter().map(push).map(|progress| (progress.token, progress.terminal)).collect::<Vec<_>>()
    };
    assert_eq!(tokens(&[transcript_delta("a"), transcript_done("a")]), [(true, false), (false, true)]);
    assert_eq!(tokens(&[transcript_done("a")]), [(true, true)]);
    assert_eq!(tokens(&[transcript_delta(""), transcript_done("")]), [(false, false), (false, true)]);
}

#[test]
fn text_over_the_cap_is_left_out() {
    let mut exchange = Exchange::with_unread_request(Operation::Transcription, "", None, None);
    exchange.start(200, SSE);
    let piece = named_stream(&[transcript_delta(&"ż".repeat(1 << 19))]);
    for _ in 0..30 {
        exchange.push(&piece);
    }
    assert!(exchange.held_bytes() < MAX_TEXT + (4 << 20), "{}", exchange.held_bytes());
    assert!(exchange.record().notes.iter().any(|note| note.contains("too long")));
    exchange.push(&named_stream(&[transcript_done("short")]));
    assert_eq!((exchange.record().output, exchange.record().notes.len()), (said("short"), 0));
}

#[test]
fn a_body_that_was_not_seen_is_kept_by_what_is_known() {
    let input = |content_type, bytes| {
        let record = Exchange::with_unread_request(Operation::Unknown, "", content_type, bytes).record();
        assert!(record.notes.is_empty() && record.parameters.is_empty() && record.model_requested.is_none());
        record.input[0]["content"].clone()
    };
    assert_eq!(input(None, None), json!([{"type": "body"}]));
    assert_eq!(input(Some("application/json"), Some(3)), json!([{"type": "body", "bytes": 3}]));
    assert_eq!(input(Some("multipart/mixed"), None), json!([{"type": "multipart"}]));
    assert_eq!(input(Some("żżżżżżż"), None), json!([{"type": "body"}]));
}

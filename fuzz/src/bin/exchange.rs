//! Every dialect: whatever request and answer there are, and however the answer is cut into pieces, the record is the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pandaprobe_wire::Exchange;

const PATHS: [&str; 16] = [
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/embeddings",
    "/v1/images/generations",
    "/v1/audio/speech",
    "/v1/audio/transcriptions",
    "/v1/messages",
    "/v1beta/models/g:generateContent",
    "/v1beta/models/g:streamGenerateContent",
    "/model/m/converse-stream",
    "/model/m/invoke",
    "/model/m/invoke-with-response-stream",
    "/api/chat",
    "/v2/chat",
    "/v2/rerank",
    "/other",
];

const TYPES: [Option<&str>; 6] = [
    None,
    Some("application/json"),
    Some("text/event-stream"),
    Some("application/x-ndjson"),
    Some("application/vnd.amazon.eventstream"),
    Some("text/plain"),
];

/// More than this is not held for an input of libFuzzer's size.
const HELD: usize = 64 << 20;

fuzz_target!(|data: &[u8]| {
    let [path, media, status, cut, request_length, rest @ ..] = data else {
        return;
    };
    let path = PATHS[usize::from(*path) % PATHS.len()];
    let media = TYPES[usize::from(*media) % TYPES.len()];
    let status = if *status == 0 { 429 } else { 200 };
    let (request, answer) = rest.split_at(usize::from(*request_length).min(rest.len()));
    let read = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut exchange = Exchange::new(path, request);
        exchange.start(status, media);
        for piece in pieces {
            exchange.push(piece);
            assert!(exchange.held_bytes() < HELD);
        }
        exchange.end();
        format!("{:?}", exchange.into_record())
    };
    let whole = read(&mut std::iter::once(answer));
    let pieces = read(&mut answer.chunks(usize::from(*cut % 16) + 1));
    assert_eq!(whole, pieces);
});

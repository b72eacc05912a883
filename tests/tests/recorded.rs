//! Recorded traffic, cut off anywhere and in any pieces: always a record, always the same, and within its memory.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "../../pandaprobe-wire/examples/capture/corpus.rs"]
#[expect(dead_code, reason = "the capture needs more of a recorded exchange")]
mod corpus;

use std::sync::OnceLock;

use corpus::Recorded;
use pandaprobe_tests::shared;
use pandaprobe_wire::{Exchange, LlmRecord};
use proptest::prelude::*;

fn recorded() -> &'static [Recorded] {
    static CORPUS: OnceLock<Vec<Recorded>> = OnceLock::new();
    CORPUS.get_or_init(|| {
        let folder = shared::shared_dir();
        match folder.filter(|_| shared::require("shared", shared::shared_dir().is_some())) {
            Some(folder) => corpus::load(&folder.join("corpus")).unwrap(),
            None => Vec::new(),
        }
    })
}

/// Reads the start of an answer in pieces whose sizes come round again and again.
fn read(recorded: &Recorded, length: usize, sizes: &[usize]) -> LlmRecord {
    let mut exchange = Exchange::new(&recorded.path, &recorded.request);
    exchange.start(recorded.status, recorded.content_type.as_deref());
    let mut rest = &recorded.body[..length];
    for size in sizes.iter().cycle() {
        let (piece, after) = rest.split_at((*size).min(rest.len()));
        exchange.push(piece);
        // What is held is of the request and of the answer; buffers grow by doubling, and values have names and nodes.
        let limit = (64 << 10) + 24 * (recorded.request.len() + length);
        assert!(exchange.held_bytes() <= limit, "{}: {} bytes", recorded.id, exchange.held_bytes());
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    exchange.end();
    exchange.into_record()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_start_of_an_answer_gives_one_record_in_any_pieces(
        which in any::<prop::sample::Index>(),
        end in any::<prop::sample::Index>(),
        sizes in prop::collection::vec(1_usize..200, 1..8),
    ) {
        if recorded().is_empty() {
            return Ok(());
        }
        let recorded = &recorded()[which.index(recorded().len())];
        // Half a megabyte is enough of an answer; the whole is tested where answers are scored.
        let length = end.index(recorded.body.len().min(512 << 10) + 1);
        let whole = read(recorded, length, &[usize::MAX]);
        prop_assert_eq!(&read(recorded, length, &sizes), &whole);
        prop_assert_eq!(whole.status, Some(recorded.status));
    }
}

#[test]
fn streams_that_end_after_any_event_keep_what_came() {
    let mut streams = 0;
    for recorded in recorded().iter().filter(|recorded| recorded.status == 200) {
        let whole = read(recorded, recorded.body.len(), &[usize::MAX]);
        let is_events =
            recorded.content_type.as_deref().is_some_and(|kind| kind.starts_with("text/event-stream"));
        if !is_events || recorded.body.len() > 8 << 10 || whole.output.is_empty() {
            continue;
        }
        streams += 1;
        let text = |record: &LlmRecord| {
            let content = record.output.first().map(|message| message["content"].clone());
            content.and_then(|content| content.as_str().map(str::to_owned)).unwrap_or_default()
        };
        let ends_event =
            |end: usize| [&b"\n\n"[..], b"\r\n\r\n"].iter().any(|mark| recorded.body[..end].ends_with(mark));
        let ends = (1..recorded.body.len()).filter(|end| ends_event(*end)).chain([recorded.body.len()]);
        let mut longest = String::new();
        for end in ends {
            let record = read(recorded, end, &[usize::MAX]);
            let said = text(&record);
            assert!(said.starts_with(&longest), "{}: {said:?} after {longest:?}", recorded.id);
            assert!(record.terminal || !record.notes.is_empty() || record.error.is_some(), "{}", recorded.id);
            longest = said;
        }
        assert_eq!(longest, text(&whole), "{}", recorded.id);
    }
    assert!(streams > 100 || recorded().is_empty(), "{streams} streams");
}

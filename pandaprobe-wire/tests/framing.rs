//! The event stream parser, from outside.

use pandaprobe_wire::sse::Framer;
use proptest::prelude::*;

type Events = Vec<(String, Vec<u8>)>;

fn events_with<'a>(mut framer: Framer, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Events, u64) {
    let mut events = Events::new();
    for piece in pieces {
        framer.push(piece, |event| events.push((event.name.to_string(), event.data.to_vec())));
    }
    framer.end(|event| events.push((event.name.to_string(), event.data.to_vec())));
    (events, framer.skipped())
}

fn events(stream: &[u8]) -> Vec<(String, String)> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let whole = events_with(Framer::new(), [stream]).0;
    assert_eq!(events_with(Framer::new(), stream.chunks(1)).0, whole, "byte at a time");
    whole.into_iter().map(|(name, data)| (name, text(data))).collect()
}

fn datas(stream: &str) -> Vec<String> {
    events(stream.as_bytes()).into_iter().map(|(_, data)| data).collect()
}

#[test]
fn lines_end_with_cr_lf_or_both() {
    for end in ["\n", "\r", "\r\n"] {
        let stream = ["data: a", "data: b", "", "data: c", "", ""].join(end);
        assert_eq!(datas(&stream), ["a\nb", "c"], "{end:?}");
    }
}

#[test]
fn mixed_line_ends_are_not_confused() {
    assert_eq!(datas("data: a\r\n\ndata: b\n\r\ndata: c\r\r\ndata: d\n\n"), ["a", "b", "c", "d"]);
}

#[test]
fn a_crlf_cut_in_two_is_one_line_end() {
    let pieces: [&[u8]; 4] = [b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n"];
    assert_eq!(events_with(Framer::new(), pieces).0, [(String::new(), b"a\nb".to_vec())]);
}

#[test]
fn fields_names_and_comments() {
    let stream = ": hello\nevent: ping\ndata\nid: 1\nretry: 5\nother: x\n\ndata:no space\ndata:  two\n\n";
    assert_eq!(
        events(stream.as_bytes()),
        [("ping".into(), String::new()), (String::new(), "no space\n two".into())]
    );
}

#[test]
fn an_event_without_data_is_none_and_its_name_is_forgotten() {
    assert_eq!(events(b"event: a\n\ndata: x\n\n"), [(String::new(), "x".into())]);
}

#[test]
fn a_byte_order_mark_counts_at_the_start_alone() {
    assert_eq!(datas("\u{feff}data: a\n\n\u{feff}data: b\n\ndata: c\n\n"), ["a", "c"]);
}

#[test]
fn characters_cut_in_two_stay_whole() {
    assert_eq!(datas("data: żółw 🐢\n\n"), ["żółw 🐢"]);
}

#[test]
fn the_last_event_needs_no_blank_line() {
    assert_eq!(datas("data: a\n\ndata: b"), ["a", "b"]);
    assert_eq!(datas("data: a\n\ndata: b\r\n"), ["a", "b"]);
    assert_eq!(datas("data: a\n\nevent: x\n"), ["a"]);
}

#[test]
fn a_framer_is_ready_for_another_stream_after_the_end() {
    let mut framer = Framer::new();
    let mut seen = vec![];
    for stream in ["data: a\r", "\n\u{feff}data: no\n\n", "\u{feff}data: b\n\n"] {
        framer.push(stream.as_bytes(), |event| seen.push(event.text().into_owned()));
        framer.end(|event| seen.push(event.text().into_owned()));
    }
    assert_eq!(seen, ["a", "b"]);
}

#[test]
fn an_event_that_is_too_long_is_skipped_and_the_next_is_read() {
    let long_line = format!("data: {}\n\ndata: ok\n\n", "x".repeat(200));
    let many_lines = format!("{}\ndata: ok\n\n", "data: xxxxxxxx\n".repeat(20));
    for stream in [&long_line, &many_lines] {
        for size in [1, 7, 64, stream.len()] {
            let read = events_with(Framer::with_limit(100), stream.as_bytes().chunks(size));
            assert_eq!(read, (vec![(String::new(), b"ok".to_vec())], 1), "{size}");
        }
    }
}

#[test]
fn a_long_event_does_not_stay_in_memory() {
    let mut framer = Framer::new();
    let mut length = 0;
    framer.push(format!("data: {}\n\n", "x".repeat(4 << 20)).as_bytes(), |event| length = event.data.len());
    assert_eq!(length, 4 << 20);
    assert!(framer.held_bytes() < 1 << 20, "{}", framer.held_bytes());
}

fn stream_text() -> impl Strategy<Value = Vec<u8>> {
    let token = prop::sample::select(vec![
        "data:",
        "data: ",
        "event: ",
        "event",
        ":",
        "id: 7",
        "\n",
        "\n",
        "\r",
        "\r\n",
        "\n\n",
        "x",
        "ż",
        "🐢",
        "\u{feff}",
        " ",
        "{\"a\":1}",
        "[DONE]",
    ]);
    let bytes = prop_oneof![9 => token.prop_map(|text| text.as_bytes().to_vec()), 1 => prop::collection::vec(any::<u8>(), 0..4)];
    prop::collection::vec(bytes, 0..60).prop_map(|tokens| tokens.concat())
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_events(
        stream in stream_text(), cuts in prop::collection::vec(1_usize..20, 1..40), limit in prop_oneof![Just(1 << 20), 1_usize..40]
    ) {
        let mut pieces = vec![];
        let mut rest = stream.as_slice();
        for cut in cuts.iter().cycle() {
            let (piece, more) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece);
            rest = more;
            if rest.is_empty() {
                break;
            }
        }
        let whole = events_with(Framer::with_limit(limit), [stream.as_slice()]);
        prop_assert_eq!(events_with(Framer::with_limit(limit), pieces), whole);
    }
}

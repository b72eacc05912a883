//! The end of a trace: one test for each sentence of its rules.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::time::Duration;

use pandaprobe::{Client, Config, Envelope, MemoryExporter, Payload, ReportKind, SpanStatus, TraceStatus};
use serde_json::json;

const SOON: Duration = Duration::from_secs(5);

fn client(config: Config) -> (Client, MemoryExporter) {
    let kept = MemoryExporter::default();
    (Client::new(config.exporter(kept.clone())).unwrap(), kept)
}

/// Waits until the exporter has `n` items.
fn wait_for(kept: &MemoryExporter, n: usize) -> Vec<Envelope> {
    for _ in 0..1_000 {
        if kept.envelopes().len() >= n {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let all = kept.envelopes();
    assert!(all.len() >= n, "{n} items wanted, there are {all:?}");
    all
}

#[test]
fn it_is_sent_when_the_root_and_all_of_its_spans_have_ended() {
    let (client, kept) = client(Config::new());
    let trace = client.trace("t").start();
    let span = trace.span("step").start();
    trace.end();
    client.flush(SOON).unwrap();
    assert_eq!(kept.envelopes().len(), 0, "a span is still open");
    span.end();
    client.flush(SOON).unwrap();
    assert_eq!(kept.traces()[0].spans[0].status, SpanStatus::Ok);
    assert_eq!(kept.envelopes().len(), 1);
}

#[test]
fn after_lingering_open_spans_ride_along_as_unset_and_follow_whole_when_they_end() {
    let (client, kept) = client(Config::new().linger(Duration::from_millis(40)));
    let trace = client.trace("t").start();
    let span = trace.span("slow").input("question").start();
    let done = trace.span("done").start();
    done.end();
    let handle = trace.clone();
    trace.end();
    drop(handle);
    let sent = wait_for(&kept, 1)[0].trace().unwrap();
    assert_eq!(sent.spans.len(), 2);
    let slow = sent.span("slow").unwrap();
    assert_eq!((slow.status, slow.ended_at), (SpanStatus::Unset, None));
    assert_eq!(sent.span("done").unwrap().status, SpanStatus::Ok);

    span.set_output("answer");
    span.end();
    let follower = wait_for(&kept, 2)[1].clone();
    assert_eq!(follower.payload(), Payload::Spans);
    let slow = &follower.spans().unwrap()[0];
    assert_eq!(
        (slow.status, &slow.input, &slow.output),
        (SpanStatus::Ok, &Some(json!("question")), &Some(json!("answer")))
    );
    assert!(slow.ended_at.is_some());
    assert_eq!(kept.traces()[0].spans.len(), 2, "the span was sent again, not twice");
}

#[test]
fn an_event_of_an_open_span_makes_it_linger_on() {
    let (client, kept) = client(Config::new().linger(Duration::from_millis(150)));
    let trace = client.trace("t").start();
    let _open = trace.span("open").start();
    let more = trace.span("parent of more").start();
    trace.end();
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(75));
        more.span("more").start().end();
    }
    assert_eq!(kept.envelopes().len(), 0, "300 ms have passed, but never 150 without an event");
    assert_eq!(wait_for(&kept, 1)[0].trace().unwrap().spans.len(), 6);
}

#[test]
fn a_chunk_of_an_open_stream_makes_it_linger_on() {
    #[derive(Default)]
    struct Chunks(usize);
    impl pandaprobe::Decode for Chunks {
        fn push(&mut self, _: pandaprobe::Piece, _: pandaprobe::Timestamp) {
            self.0 += 1;
        }
        fn describe(&self, span: &mut pandaprobe::SpanData) {
            span.output = Some(json!(self.0));
        }
        fn is_stream(&self) -> bool {
            true
        }
        fn is_terminal(&self) -> bool {
            false
        }
        fn held_bytes(&self) -> usize {
            0
        }
    }
    let (client, kept) = client(Config::new().linger(Duration::from_millis(150)));
    let handler = pandaprobe::Handler::new().client(client.clone());
    let trace = client.trace("t").start();
    let call = pandaprobe::Run::new("call", pandaprobe::SpanKind::Llm).decoder(Chunks::default());
    let stream = trace.run(|| handler.start(call));
    trace.end();
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(75));
        stream.feed(pandaprobe::Piece::Body("chunk".into()));
    }
    assert_eq!(kept.envelopes().len(), 0, "300 ms have passed, but never 150 without a chunk");
    let sent = wait_for(&kept, 1)[0].trace().unwrap();
    assert_eq!((sent.spans[0].status, &sent.spans[0].output), (SpanStatus::Unset, &Some(json!(4))));
    stream.unread();
    let whole = &wait_for(&kept, 2)[1].spans().unwrap()[0];
    assert_eq!(
        (whole.status, &whole.metadata["pandaprobe.end"]),
        (SpanStatus::Ok, &json!("stopped_by_reader"))
    );
}

#[test]
fn what_changes_on_a_trace_after_it_was_sent_is_patched() {
    let (client, kept) = client(Config::new().max_trace_age(Duration::from_millis(40)));
    let trace = client.trace("t").start();
    wait_for(&kept, 1);
    trace.set_output("late");
    trace.fail("went wrong");
    let items = wait_for(&kept, 2);
    let update = items[1].update().unwrap();
    assert_eq!(update.output, Some(json!("late")));
    assert_eq!(update.status, Some(TraceStatus::Error));
    assert!(update.ended_at.is_some());
}

#[test]
fn flush_sends_what_has_ended_and_leaves_alone_what_is_open() {
    let (client, kept) = client(Config::new());
    let open = client.trace("somebody else's").start();
    client.trace("mine").run(|_| ());
    client.flush(SOON).unwrap();
    let names: Vec<String> = kept.traces().into_iter().map(|trace| trace.name).collect();
    assert_eq!(names, ["mine"]);
    open.end();
    client.flush(SOON).unwrap();
    assert_eq!(kept.traces().len(), 2);
    assert_eq!(kept.traces()[1].metadata.len(), 0, "it ended by itself");
}

#[test]
fn shutdown_ends_what_is_open_with_what_it_has() {
    let (client, kept) = client(Config::new());
    let trace = client.trace("t").start();
    let span = trace.span("step").input("in").start();
    client.shutdown(SOON).unwrap();
    let sent = &kept.traces()[0];
    assert_eq!(sent.status, TraceStatus::Completed);
    assert_eq!(sent.metadata["pandaprobe.end"], json!("shutdown"));
    let step = &sent.spans[0];
    assert_eq!(step.metadata["pandaprobe.end"], json!("shutdown"));
    assert_eq!(step.input, Some(json!("in")));
    assert!(step.ended_at.is_some() && sent.ended_at.is_some());
    span.end();
    trace.end();
    assert_eq!(client.shutdown(SOON), Ok(()), "the second call does nothing");
    assert_eq!(kept.envelopes().len(), 1);
}

#[test]
fn a_dropped_guard_does_the_same() {
    let kept = MemoryExporter::default();
    let guard = pandaprobe::init(Config::new().exporter(kept.clone())).unwrap();
    let _open = pandaprobe::trace("open").start();
    drop(guard);
    assert_eq!(kept.traces()[0].metadata["pandaprobe.end"], json!("shutdown"));
    pandaprobe::trace("later").run(|_| ());
    assert_eq!(kept.traces().len(), 1);
}

#[test]
fn a_forgotten_trace_is_ended_and_counted() {
    let (client, kept) = client(Config::new().max_trace_age(Duration::from_millis(40)));
    let trace = client.trace("forgotten").start();
    let span = trace.span("open").start();
    let sent = wait_for(&kept, 1)[0].trace().unwrap();
    assert_eq!(sent.metadata["pandaprobe.end"], json!("max_trace_age"));
    assert!(sent.ended_at.is_some());
    assert_eq!(sent.spans[0].status, SpanStatus::Unset);
    assert_eq!(client.stats().reports[&ReportKind::TraceForgotten], 1);
    span.end();
    assert_eq!(wait_for(&kept, 2)[1].payload(), Payload::Spans);
}

#[test]
fn live_posts_once_as_running_then_spans_as_they_end_then_one_patch() {
    let (client, kept) = client(Config::new().live(true));
    let trace = client.trace("t").input("in").user_id("ada").start();
    let first = trace.span("first").start();
    let running = wait_for(&kept, 1)[0].trace().unwrap();
    assert_eq!((running.status, running.ended_at, running.spans.len()), (TraceStatus::Running, None, 0));
    assert_eq!(running.input, Some(json!("in")));
    first.end();
    assert_eq!(wait_for(&kept, 2)[1].spans().unwrap()[0].name, "first");
    trace.span("second").run(|_| ());
    trace.set_output("out");
    trace.end();
    client.flush(SOON).unwrap();
    let payloads: Vec<Payload> = kept.envelopes().iter().map(Envelope::payload).collect();
    assert_eq!(payloads, [Payload::Trace, Payload::Spans, Payload::Spans, Payload::Update]);
    let whole = &kept.traces()[0];
    assert_eq!((whole.status, whole.spans.len()), (TraceStatus::Completed, 2));
    assert_eq!((&whole.input, &whole.output), (&Some(json!("in")), &Some(json!("out"))));
    assert!(whole.ended_at.is_some());
}

#[test]
fn live_does_not_split_a_trace_without_spans() {
    let (client, kept) = client(Config::new().live(true));
    client.trace("t").run(|_| ());
    client.flush(SOON).unwrap();
    assert_eq!(kept.envelopes().len(), 1);
    assert_eq!(kept.traces()[0].status, TraceStatus::Completed);
}

#[test]
fn more_than_500_spans_follow_in_blocks() {
    let (client, kept) = client(Config::new());
    let trace = client.trace("big").start();
    for n in 0..1_201 {
        trace.span(format!("s{n}")).start().end();
    }
    trace.end();
    client.flush(SOON).unwrap();
    let sizes: Vec<usize> = kept
        .envelopes()
        .iter()
        .map(|item| item.trace().map(|trace| trace.spans).or(item.spans()).unwrap().len())
        .collect();
    assert_eq!(sizes, [500, 500, 201]);
    assert_eq!(kept.traces()[0].spans.len(), 1_201);
}

#[test]
fn a_span_that_begins_after_the_trace_was_sent_follows_it() {
    let (client, kept) = client(Config::new());
    let trace = client.trace("t").start();
    let handle = trace.clone();
    trace.end();
    client.flush(SOON).unwrap();
    handle.span("late").run(|_| ());
    client.flush(SOON).unwrap();
    assert_eq!(kept.traces()[0].spans[0].name, "late");
}

#[test]
fn a_score_of_an_open_trace_follows_it() {
    let (client, kept) = client(Config::new());
    let trace = client.trace("t").start();
    client.score(trace.id(), "helpfulness", 0.5);
    trace.end();
    client.flush(SOON).unwrap();
    let payloads: Vec<Payload> = kept.envelopes().iter().map(Envelope::payload).collect();
    assert_eq!(payloads, [Payload::Trace, Payload::Score]);
    assert_eq!(kept.scores()[0].value, "0.5");
}

#[test]
fn what_is_set_on_a_trace_that_was_sent_is_patched_too() {
    let (client, kept) = client(Config::new());
    let trace = client.trace("t").start();
    let handle = trace.clone();
    trace.end();
    client.flush(SOON).unwrap();
    handle.set_output("late");
    client.flush(SOON).unwrap();
    assert_eq!(kept.traces()[0].output, Some(json!("late")));
    handle.set_output("later");
    client.shutdown(SOON).unwrap();
    assert_eq!(kept.traces()[0].output, Some(json!("later")));
}

#[test]
fn a_span_that_ended_while_the_assembler_was_busy_is_one_span() {
    struct Slow;
    impl pandaprobe::Decode for Slow {
        fn push(&mut self, _: pandaprobe::Piece, _: pandaprobe::Timestamp) {
            std::thread::sleep(Duration::from_millis(150));
        }
        fn describe(&self, span: &mut pandaprobe::SpanData) {
            span.output = Some(json!("decoded"));
        }
        fn is_stream(&self) -> bool {
            false
        }
        fn is_terminal(&self) -> bool {
            true
        }
        fn held_bytes(&self) -> usize {
            0
        }
    }
    let (client, kept) = client(Config::new().linger(Duration::from_millis(30)));
    let trace = client.trace("t").start();
    let span = trace.scope(async {
        pandaprobe::Handler::new()
            .client(client.clone())
            .start(pandaprobe::Run::new("slow", pandaprobe::SpanKind::Llm).decoder(Slow))
    });
    let span = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(span);
    trace.end();
    span.feed(pandaprobe::Piece::End);
    std::thread::sleep(Duration::from_millis(60));
    span.end();
    client.shutdown(SOON).unwrap();
    let sent = &kept.traces()[0];
    assert_eq!(sent.spans.len(), 1, "{:?}", sent.spans);
    assert_eq!((sent.spans[0].status, &sent.spans[0].output), (SpanStatus::Ok, &Some(json!("decoded"))));
}

#[test]
fn what_is_recorded_during_a_shutdown_is_delivered_or_counted() {
    for _ in 0..10 {
        let (client, kept) = client(Config::new());
        let recorders: Vec<_> = (0..3)
            .map(|_| {
                let client = client.clone();
                std::thread::spawn(move || {
                    for _ in 0..2_000 {
                        client.trace("t").run(|trace| trace.span("s").run(|_| ()));
                    }
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(2));
        client.shutdown(Duration::from_secs(20)).unwrap();
        recorders.into_iter().for_each(|recorder| recorder.join().unwrap());
        let stats = client.stats();
        let delivered = kept.traces().len() as u64;
        assert_eq!(stats.traces, delivered, "every trace that was begun arrived: {stats:?}");
        let late = stats.dropped.values().sum::<u64>();
        assert!(delivered + late >= 6_000, "every other one was counted: {stats:?}");
    }
}

#[test]
fn a_second_shutdown_waits_for_the_first() {
    struct Slow(MemoryExporter);
    impl pandaprobe::Exporter for Slow {
        fn export<'a>(&'a self, envelope: &'a Envelope) -> pandaprobe::ExportFuture<'a> {
            std::thread::sleep(Duration::from_millis(20));
            self.0.export(envelope)
        }
    }
    let kept = MemoryExporter::default();
    let client = Client::new(Config::new().exporter(Slow(kept.clone()))).unwrap();
    (0..10).for_each(|n| client.trace(format!("{n}")).run(|_| ()));
    let first = client.clone();
    let first = std::thread::spawn(move || first.shutdown(SOON));
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(client.shutdown(SOON), Ok(()));
    assert_eq!(kept.traces().len(), 10);
    assert_eq!(first.join().unwrap(), Ok(()));
}

#[test]
fn a_shutdown_that_dropped_something_never_says_that_all_is_well() {
    for _ in 0..30 {
        let (client, kept) = client(Config::new());
        client.trace("t").run(|_| ());
        let result = client.shutdown(Duration::ZERO);
        for _ in 0..200 {
            if kept.traces().len() as u64 + client.stats().dropped_total() > 0 {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let lost = client.stats().dropped_total();
        assert_eq!(kept.traces().len() as u64 + lost, 1, "{:?}", client.stats());
        assert!(lost == 0 || result.is_err(), "{lost} lost and {result:?}");
    }
}

#[test]
fn after_a_clean_shutdown_there_is_nothing_to_flush_and_values_are_late() {
    let (client, _kept) = client(Config::new());
    let trace = client.trace("t").start();
    client.shutdown(SOON).unwrap();
    assert_eq!(client.flush(SOON), Ok(()));
    trace.set_output("too late");
    trace.set_metadata("too", "late");
    assert_eq!(client.stats().reports[&ReportKind::LateValue], 2);
}

/// Panics when it is dropped, unless something panics already.
struct Explosive;

impl pandaprobe::Decode for Explosive {
    fn push(&mut self, _: pandaprobe::Piece, _: pandaprobe::Timestamp) {}
    fn describe(&self, _: &mut pandaprobe::SpanData) {}
    fn is_stream(&self) -> bool {
        false
    }
    fn is_terminal(&self) -> bool {
        true
    }
    fn held_bytes(&self) -> usize {
        0
    }
}

impl Drop for Explosive {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "dropped");
    }
}

#[test]
fn a_decoder_that_panics_when_dropped_costs_no_trace() {
    let (client, kept) = client(Config::new());
    let handler = pandaprobe::Handler::new().client(client.clone());
    let call = || handler.start(pandaprobe::Run::new("call", pandaprobe::SpanKind::Llm).decoder(Explosive));
    call().end();
    client.flush(SOON).unwrap();
    assert_eq!((kept.traces().len(), client.stats().open), (1, 0));
    let _open: Vec<_> = (0..5).map(|_| call()).collect();
    client.shutdown(SOON).unwrap();
    assert_eq!(kept.traces().len(), 6);
    assert_eq!(client.stats().reports[&ReportKind::Panicked], 6);
}

#[test]
fn what_is_fed_to_a_span_that_was_sent_leaves_nothing_open() {
    let (client, kept) = client(Config::new());
    let trace = client.trace("t").start();
    let span = trace.span("s").start();
    let again = span.clone();
    span.end();
    trace.end();
    client.flush(SOON).unwrap();
    again.feed(pandaprobe::Piece::End);
    client.flush(SOON).unwrap();
    assert_eq!((kept.traces().len(), client.stats().open), (1, 0));
}

//! From a client to a backend: what is posted, how it is repeated, and what becomes of what cannot be delivered.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use pandaprobe::{
    Client, Config, ConfigError, ConsoleExporter, DropReason, ExportError, Exporter, FileExporter,
    MemoryExporter, ReportKind, SpanKind, TokenUsage,
};
use pandaprobe_tests::{
    backend::{Answer, Backend},
    free_port, url_at,
};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(10);

fn config(url: &str) -> Config {
    Config::new().api_key("sk_pp_test").project_name("tests").endpoint(url).unwrap()
}

fn record(client: &Client, name: &str) {
    client.trace(name).user_id("ada").session_id("s").input("in").run(|trace| {
        trace.span("step").kind(SpanKind::Tool).run(|span| span.set_output(json!({"a": 1})));
        trace.set_output("out");
    });
}

#[test]
fn a_trace_arrives_as_the_backend_expects_it() {
    let backend = Backend::start();
    let client = Client::new(config(&backend.url()).environment("prod").release("1.2")).unwrap();
    record(&client, "first");
    record(&client, "second");
    client.flush(SOON).unwrap();
    let requests = backend.requests();
    assert_eq!(requests.len(), 2);
    assert!(backend.rejected().is_empty(), "{:?}", backend.rejected());
    for request in &requests {
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/traces"));
        assert_eq!(request.header("x-api-key"), Some("sk_pp_test"));
        assert_eq!(request.header("x-project-name"), Some("tests"));
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert!(request.header("user-agent").unwrap().starts_with("pandaprobe-rust/"));
        let body = request.json.as_ref().unwrap();
        assert_eq!((&body["environment"], &body["release"]), (&json!("prod"), &json!("1.2")));
        assert_eq!((&body["user_id"], &body["session_id"]), (&json!("ada"), &json!("s")));
        assert_eq!(body["spans"][0]["output"], json!({"a": 1}));
        assert!(body["spans"][0].get("parent_span_id").is_none() && body.get("tags").is_none(), "{body}");
    }
    assert_ne!(requests[0].header("x-request-id"), requests[1].header("x-request-id"));
    assert_eq!(client.stats().delivered, 2);
}

#[test]
fn connections_are_kept_alive() {
    let backend = Backend::start();
    let client = Client::new(config(&backend.url())).unwrap();
    for n in 0..10 {
        record(&client, &format!("t{n}"));
        client.flush(SOON).unwrap();
    }
    let mut ports: Vec<_> = backend.requests().iter().map(|request| request.peer_port).collect();
    ports.dedup();
    assert_eq!(ports.len(), 1, "ten requests, one connection");
}

#[test]
fn what_is_refused_for_good_is_counted_and_told() {
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let hear = Arc::clone(&heard);
    let backend = Backend::start();
    let wrong =
        json!({"detail": "Validation error", "errors": [{"field": "spans -> 0 -> name", "message": "m"}]});
    backend.script([Answer::json(422, &wrong)]);
    let config = config(&backend.url()).on_error(move |report| hear.lock().unwrap().push(report.to_string()));
    let client = Client::new(config).unwrap();
    let id = client.trace("t").run(|trace| trace.id());
    client.score(id, "quality", 0.5);
    record(&client, "u");
    client.flush(SOON).unwrap();
    assert_eq!(
        client.stats().dropped[&DropReason::Rejected],
        2,
        "the trace, and the score that has none now"
    );
    assert_eq!(backend.requests().len(), 2, "nothing is repeated");
    assert_eq!(backend.traces().len(), 1);
    let heard = heard.lock().unwrap().join("\n");
    assert!(heard.contains("spans -> 0 -> name") && !heard.contains("sk_pp_test"), "{heard}");
}

#[test]
fn what_is_too_long_for_the_backend_goes_in_parts() {
    let backend = Backend::start();
    let limit = 40_000;
    backend.script_with(move |request, _| match request.body.len() > limit {
        true => Answer::status(413),
        false => Answer::Normal,
    });
    let client = Client::new(config(&backend.url())).unwrap();
    let long = "x".repeat(5_000);
    let id = client.trace("job").run(|trace| {
        for n in 0..30 {
            trace.span(format!("step-{n:02}")).run(|span| span.set_output(long.as_str()));
        }
        trace.span("too long alone").run(|span| span.set_output("y".repeat(100_000)));
        trace.id()
    });
    client.score(id, "quality", 1.0);
    client.flush(SOON).unwrap();
    let trace = backend.traces().remove(0);
    let spans = trace["spans"].as_array().unwrap();
    assert_eq!(spans.len(), 31);
    assert!(
        (0..30).all(|n| spans[n]["output"] == long.as_str() && spans[n]["name"] == format!("step-{n:02}"))
    );
    let cut = spans[30]["output"].as_str().unwrap();
    assert!(
        cut.starts_with("yyy") && cut.ends_with("… [cut by pandaprobe: 100000 bytes in all]"),
        "{}",
        cut.len()
    );
    assert_eq!(backend.scores().len(), 1);
    assert_eq!((client.stats().delivered, client.stats().dropped_total()), (2, 0));
    // What nothing makes short enough is refused at last.
    backend.script_with(|_, _| Answer::status(413));
    record(&client, "never");
    client.flush(SOON).unwrap();
    assert_eq!(client.stats().dropped[&DropReason::Rejected], 1);
}

#[test]
fn a_trace_that_is_dropped_takes_along_what_depends_on_it() {
    let backend = Backend::start();
    backend.script([Answer::rate_limited()]);
    let config = config(&backend.url()).max_queue_size(2).linger(Duration::from_millis(10));
    let client = Client::new(config.rate_limit_window(Duration::from_secs(3))).unwrap();
    let until = |enough: &dyn Fn(&pandaprobe::Stats) -> bool| {
        let begun = Instant::now();
        while !enough(&client.stats()) {
            assert!(begun.elapsed() < SOON, "{:?}", client.stats());
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    let mut late = None;
    let id = client.trace("first").run(|trace| {
        late = Some(trace.span("late").start());
        trace.id()
    });
    client.score(id, "early", true);
    // It is sent with the span open, and refused. From now on nothing is under way.
    until(&|stats| stats.retried == 1 && stats.queued == 2);
    record(&client, "second");
    until(&|stats| stats.dropped_total() == 2);
    late.unwrap().end();
    client.score(id, "late", true);
    until(&|stats| stats.dropped_total() >= 4);
    record(&client, "third");
    client.flush(SOON).unwrap();
    let mut names: Vec<Value> = backend.traces().iter().map(|trace| trace["name"].clone()).collect();
    names.sort_by_key(Value::to_string);
    assert_eq!((names, backend.scores().len()), (vec![json!("second"), json!("third")], 0));
    assert!(client.stats().dropped.keys().eq([&DropReason::QueueFull]), "{:?}", client.stats());
}

#[test]
fn one_trace_can_be_waited_for() {
    let backend = Backend::start();
    backend.script_with(|request, _| match request.json.as_ref().unwrap()["name"] == "slow" {
        true => Answer::Hang,
        false => Answer::Normal,
    });
    let client = Client::new(config(&backend.url())).unwrap();
    let slow = client.trace("slow").run(|trace| trace.id());
    let fast = client.trace("fast").run(|trace| trace.id());
    client.flush_trace(fast, SOON).unwrap();
    assert_eq!(backend.traces().len(), 1);
    assert!(client.flush_trace(slow, Duration::from_millis(100)).is_err());
    assert!(client.flush(Duration::from_millis(100)).is_err());
    client.flush_trace(pandaprobe::TraceId::random(), SOON).unwrap();
    client.flush_trace(None, SOON).unwrap();
    assert!(client.shutdown(Duration::from_millis(100)).is_err());
}

#[test]
fn an_exporter_that_panics_or_refuses_harms_nobody() {
    struct Moody(Mutex<u32>, MemoryExporter);
    impl Exporter for Moody {
        fn export<'a>(&'a self, envelope: &'a pandaprobe::Envelope) -> pandaprobe::ExportFuture<'a> {
            let mut n = self.0.lock().unwrap();
            *n += 1;
            let n = *n;
            Box::pin(async move {
                match n {
                    1 => panic!("exporter"),
                    2 => Err(ExportError::Rejected { message: "no".to_owned() }),
                    _ => self.1.export(envelope).await,
                }
            })
        }
    }
    let kept = MemoryExporter::default();
    let client = Client::new(Config::new().exporter(Moody(Mutex::default(), kept.clone()))).unwrap();
    for n in 0..3 {
        client.trace(format!("{n}")).run(|_| ());
        std::thread::sleep(Duration::from_millis(20));
    }
    client.flush(SOON).unwrap();
    let stats = client.stats();
    assert_eq!((stats.delivered, stats.dropped_total(), stats.queued), (2, 1, 0), "{stats:?}");
}

#[test]
fn later_spans_wait_until_the_trace_is_readable() {
    let backend = Backend::start();
    backend.visible_after(Duration::from_millis(300));
    let client = Client::new(config(&backend.url())).unwrap();
    let trace = client.trace("big").start();
    let id = trace.id().unwrap();
    for n in 0..600 {
        trace.span(format!("s{n}")).start().end();
    }
    trace.end();
    client.score(id, "quality", 0.5);
    client.flush(Duration::from_secs(30)).unwrap();
    let stored = backend.trace(&id.to_string()).unwrap();
    assert_eq!(stored["spans"].as_array().unwrap().len(), 600);
    assert_eq!(backend.scores().len(), 1);
    assert_eq!(client.stats().dropped_total(), 0, "{:?}", client.stats());
}

#[test]
fn one_bad_value_costs_nothing_else() {
    let backend = Backend::start();
    let client = Client::new(config(&backend.url())).unwrap();
    let trace = client.trace("n".repeat(5_000)).metadata("nul", "a\0b").start();
    let span = trace.span("").input("\0").start();
    span.set_token_usage(TokenUsage::new(u64::MAX, 7));
    span.set_cost(pandaprobe::Cost::new(f64::INFINITY));
    span.set_model("m".repeat(1_000));
    let mut deep = json!(1);
    for level in 0..200_000 {
        // Not by `json!`, which recurses.
        deep = Value::Array(vec![deep]);
        if level == 900 {
            trace.set_output(deep.clone());
        }
    }
    span.set_output(deep);
    span.end();
    trace.end();
    client.flush(SOON).unwrap();
    assert!(backend.rejected().is_empty(), "{:?}", backend.rejected());
    let stored = &backend.traces()[0];
    assert_eq!(stored["spans"][0]["token_usage"]["completion_tokens"], json!(7));
    assert!(stored["spans"][0]["output"].as_str().unwrap().contains("200001 levels"));
    assert!(stored["output"].to_string().len() > 900);
    assert_eq!(stored["metadata"]["nul"], json!("a\u{fffd}b"));
}

#[test]
fn a_client_that_is_switched_off_does_nothing_and_needs_no_key() {
    let client = Client::new(Config::new().enabled(false)).unwrap();
    assert!(!client.is_enabled());
    let trace = client.trace("t").start();
    assert_eq!(trace.id(), None);
    assert!(!trace.span("s").start().is_recorded());
    assert_eq!((client.flush(SOON), client.shutdown(SOON)), (Ok(()), Ok(())));
    assert_eq!(client.stats(), pandaprobe::Stats::default());
}

#[test]
fn what_can_never_work_is_an_error_at_once() {
    assert_eq!(Client::new(Config::new()).unwrap_err(), ConfigError::MissingApiKey);
    assert_eq!(Client::new(Config::new().api_key("k")).unwrap_err(), ConfigError::MissingProjectName);
    let bad_key = Client::new(Config::new().api_key("geheim\n").project_name("p")).unwrap_err();
    assert!(!bad_key.to_string().contains("geheim"));
    assert!(Config::new().endpoint("ftp://x").is_err() && Config::new().endpoint("").is_err());
}

#[test]
fn several_clients_live_side_by_side() {
    let (one, two) = (MemoryExporter::default(), MemoryExporter::default());
    let first = Client::new(Config::new().exporter(one.clone())).unwrap();
    let second = Client::new(Config::new().exporter(two.clone())).unwrap();
    first.trace("first").run(|_| {
        second.trace("second").run(|_| pandaprobe::span("below second").run(|_| ()));
        pandaprobe::span("below first").run(|_| ());
    });
    drop((first, second));
    let names = |kept: &MemoryExporter| -> Vec<(String, String)> {
        kept.traces().into_iter().map(|trace| (trace.name, trace.spans[0].name.clone())).collect()
    };
    assert_eq!(names(&one), [("first".to_owned(), "below first".to_owned())]);
    assert_eq!(names(&two), [("second".to_owned(), "below second".to_owned())]);
}

#[test]
fn it_works_without_any_runtime_and_after_one_is_gone() {
    let kept = MemoryExporter::default();
    let client = Client::new(Config::new().exporter(kept.clone())).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(client.trace("in a runtime").scope(|_| async {}));
    drop(runtime);
    client.trace("without one").run(|_| ());
    client.flush(SOON).unwrap();
    assert_eq!(kept.traces().len(), 2);
}

#[test]
fn flush_and_shutdown_may_be_called_from_anywhere() {
    let slot: Arc<Mutex<Option<Client>>> = Arc::default();
    let inside = Arc::clone(&slot);
    let config = Config::new().exporter(MemoryExporter::default()).on_error(move |_| {
        if let Some(client) = inside.lock().unwrap().clone() {
            let _ = client.flush(Duration::from_millis(10));
            client.trace("from a callback").run(|_| ());
        }
    });
    let client = Client::new(config).unwrap();
    *slot.lock().unwrap() = Some(client.clone());
    client.score(client.trace("t").run(|trace| trace.id()), "out of range", 7.0);
    assert_eq!(client.stats().reports[&ReportKind::InvalidScore], 1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { client.flush_async(SOON).await }).unwrap();
    let others: Vec<_> =
        (0..4).map(|_| client.clone()).map(|c| std::thread::spawn(move || c.shutdown(SOON))).collect();
    for other in others {
        assert_eq!(other.join().unwrap(), Ok(()));
    }
    slot.lock().unwrap().take();
}

#[test]
fn the_console_shows_a_tree_and_no_terminal_codes_of_others() {
    #[derive(Clone, Default)]
    struct Screen(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let screen = Screen::default();
    let client = Client::new(Config::new().exporter(ConsoleExporter::to(screen.clone()))).unwrap();
    client.trace("agent").user_id("ada").session_id("s").run(|trace| {
        trace.span("ask\u{1b}[31m").kind(SpanKind::Llm).model("m").run(|span| {
            span.set_token_usage(TokenUsage::new(3, 4));
            trace.span("other").run(|_| ());
        });
        let _ = trace.span("tool").kind(SpanKind::Tool).try_run(|_| Err::<(), _>("two\nlines"));
    });
    client.flush(SOON).unwrap();
    let text = String::from_utf8(screen.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("agent COMPLETED ") && lines[0].ends_with("session=s user=ada"), "{text}");
    assert!(lines[1].starts_with("├─ LLM ask [31m m ") && lines[1].ends_with("3→4 tokens OK"), "{text}");
    assert!(lines[3].starts_with("└─ TOOL tool ") && lines[3].ends_with("ERROR: two lines"), "{text}");
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn the_file_holds_one_json_a_line() {
    let folder = std::env::temp_dir().join(format!("pandaprobe-{}", std::process::id()));
    let path = folder.join("deep/traces.jsonl");
    let client =
        Client::new(Config::new().live(true).exporter((FileExporter::new(&path), MemoryExporter::default())))
            .unwrap();
    let trace = client.trace("t").start();
    trace.span("s").start().end();
    trace.end();
    client.score(client.trace("u").run(|trace| trace.id()), "good", true);
    client.shutdown(SOON).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert_eq!(lines.iter().filter(|line| line["name"] == "t" || line["name"] == "u").count(), 2);
    assert!(lines.iter().any(|line| line["spans"][0]["name"] == "s" && line["trace_id"].is_string()));
    assert!(lines.iter().any(|line| line["update"]["status"] == "COMPLETED"));
    assert!(lines.iter().any(|line| line["score"]["value"] == "true"));
}

#[test]
fn whoever_hears_of_a_problem_may_record_and_cause_the_next() {
    let slot: Arc<Mutex<Option<(Client, pandaprobe::Span)>>> = Arc::default();
    let inside = Arc::clone(&slot);
    let config =
        Config::new().exporter(MemoryExporter::default()).max_buffered_bytes(4_000).on_error(move |_| {
            let held = inside.lock().unwrap().clone();
            if let Some((client, span)) = held {
                span.set_metadata("problem", "seen");
                client.trace("from a callback").input("x".repeat(10_000)).run(|_| ());
            }
        });
    let client = Client::new(config).unwrap();
    let trace = client.trace("t").start();
    let span = trace.span("s").start();
    *slot.lock().unwrap() = Some((client.clone(), span.clone()));
    span.set_output("y".repeat(10_000));
    assert!(client.stats().dropped[&DropReason::BufferFull] >= 1);
    span.end();
    trace.end();
    client.flush(SOON).unwrap();
    client.shutdown(SOON).unwrap();
    client.trace("after the shutdown").run(|_| ());
    slot.lock().unwrap().take();
}

/// It is told on the thread of whoever records.
#[test]
fn a_subscriber_that_panics_harms_nobody() {
    struct Panics;
    impl tracing::Subscriber for Panics {
        fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
            metadata.target() == "pandaprobe"
        }
        fn event(&self, _: &tracing::Event<'_>) {
            panic!("subscriber");
        }
        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }
        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
        fn enter(&self, _: &tracing::span::Id) {}
        fn exit(&self, _: &tracing::span::Id) {}
    }
    let kept = MemoryExporter::default();
    let client = Client::new(Config::new().exporter(kept.clone())).unwrap();
    tracing::subscriber::with_default(Panics, || {
        let id = client.trace("t").run(|trace| trace.id());
        client.score(id, "", f64::NAN);
    });
    client.flush(SOON).unwrap();
    assert_eq!((kept.traces().len(), client.stats().reports[&ReportKind::InvalidScore]), (1, 1));
}

#[test]
fn a_value_that_can_never_fit_costs_nothing_but_itself() {
    let port = free_port();
    let client = Client::new(config(&url_at(port)).max_buffered_bytes(1 << 20)).unwrap();
    (0..100).for_each(|n| client.trace(format!("{n}")).run(|_| ()));
    while client.stats().queued < 100 {
        std::thread::sleep(Duration::from_millis(2));
    }
    client.trace("giant").run(|trace| trace.set_input("x".repeat(2 << 20)));
    let dropped = client.stats().dropped;
    assert_eq!((dropped.get(&DropReason::QueueFull), dropped[&DropReason::BufferFull]), (None, 1));
    let _ = client.shutdown(Duration::ZERO);
}

#[test]
fn a_value_that_is_replaced_gives_its_room_back() {
    let kept = MemoryExporter::default();
    let client = Client::new(Config::new().exporter(kept.clone()).max_buffered_bytes(3 << 20)).unwrap();
    client.trace("t").run(|trace| {
        trace.span("s").run(|span| {
            for n in 0..50 {
                span.set_output(format!("{n} {}", "x".repeat(1 << 20)));
            }
        });
    });
    client.flush(SOON).unwrap();
    assert_eq!(client.stats().dropped_total(), 0);
    assert!(kept.traces()[0].spans[0].output.as_ref().unwrap().as_str().unwrap().starts_with("49 "));
    assert_eq!(client.stats().buffered_bytes, 0);
}

#[test]
fn deep_values_are_harmless_wherever_they_are() {
    let deep = || (0..300_000).fold(json!(1), |inner, _| Value::Array(vec![inner]));
    let parameters = || serde_json::Map::from_iter([("p".to_owned(), deep())]);
    let kept = MemoryExporter::default();
    let client = Client::new(Config::new().exporter(kept.clone())).unwrap();
    client.trace("t").input(deep()).metadata("m", deep()).run(|trace| {
        trace.set_metadata("n", deep());
        trace.span("s").model_parameters(parameters()).run(|span| span.set_model_parameters(parameters()));
        trace.set_output(pandaprobe::Messages::new().user(deep()));
    });
    client.flush(SOON).unwrap();
    assert_eq!(kept.traces().len(), 1);
}

#[test]
fn times_without_end_are_times_all_the_same() {
    let config = Config::new()
        .exporter(MemoryExporter::default())
        .flush_interval(Duration::MAX)
        .linger(Duration::MAX)
        .max_trace_age(Duration::MAX)
        .shutdown_timeout(Duration::MAX)
        .retry_deadline(Duration::MAX);
    let client = Client::new(config).unwrap();
    client.trace("t").run(|_| ());
    client.flush(Duration::MAX).unwrap();
    client.shutdown(Duration::MAX).unwrap();
    assert_eq!(client.stats().delivered, 1);
}

#[test]
fn scores_are_repaired_like_all_else() {
    let backend = Backend::start();
    let client = Client::new(config(&backend.url())).unwrap();
    let id = client.trace("t").run(|trace| trace.id());
    client.score(id, "n\0".repeat(300), "label\0");
    client.flush(SOON).unwrap();
    assert_eq!(backend.scores().len(), 1);
    assert!(backend.rejected().is_empty());
}

//! What leaves the process: the hooks and limits on the way out.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use pandaprobe::{Client, Config, DropReason, Payload, Redactor, ReportKind, Sampling, TraceData, span};
use serde_json::{Value, json};

mod places;
use places::{bytes, client, everywhere};

const SOON: Duration = Duration::from_secs(5);

fn dropped<const N: usize>(client: &Client, expected: [(DropReason, u64); N]) {
    assert_eq!(client.stats().dropped, BTreeMap::from(expected));
}

// ---- before_send

#[test]
fn before_send_sees_a_trace_whole_and_changes_it() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sees = Arc::clone(&seen);
    let (client, kept) = client(Config::new().before_send(move |mut trace| {
        sees.lock().unwrap().push(trace.spans.len());
        trace.name = "renamed".to_owned();
        trace.spans.retain(|span| span.name != "secret");
        trace.trace_id = pandaprobe::TraceId::random();
        Some(trace)
    }));
    let id = client.trace("job").run(|trace| {
        (0..1200).for_each(|n| span(if n % 2 == 0 { "secret" } else { "open" }).run(|_| ()));
        trace.id()
    });
    client.flush(SOON).unwrap();
    assert_eq!(*seen.lock().unwrap(), [1200]);
    let trace = &kept.traces()[0];
    assert_eq!((trace.name.as_str(), trace.spans.len(), Some(trace.trace_id)), ("renamed", 600, id));
    assert!(!bytes(&kept).contains("secret"));
    dropped(&client, []);
}

#[test]
fn what_before_send_withholds_takes_its_scores_and_later_spans_along() {
    let (client, kept) = client(
        Config::new()
            .linger(Duration::from_millis(20))
            .before_send(|trace| (trace.name != "private").then_some(trace)),
    );
    let mut late = None;
    let id = client.trace("private").run(|trace| {
        late = Some(trace.span("late").start());
        trace.set_output("a secret");
        trace.id()
    });
    client.score(id, "quality", 0.5);
    client.trace("public").run(|_| ());
    while !client.stats().dropped.contains_key(&DropReason::BeforeSend) {
        std::thread::sleep(Duration::from_millis(5));
    }
    client.score(id, "quality", 0.6);
    late.unwrap().set_output("another secret");
    client.flush(SOON).unwrap();
    assert_eq!(kept.traces().len(), 1);
    assert_eq!((kept.envelopes().len(), kept.scores().len()), (1, 0));
    // The trace, its patch, two scores and the span.
    assert!(client.stats().dropped[&DropReason::BeforeSend] >= 4, "{:?}", client.stats());
    assert!(!bytes(&kept).contains("secret"));
}

#[test]
fn what_before_send_panics_on_is_withheld() {
    let heard = Arc::new(Mutex::new(0));
    let hears = Arc::clone(&heard);
    let (client, kept) = client(
        Config::new()
            .on_error(move |report| *hears.lock().unwrap() += u32::from(report.kind == ReportKind::Panicked))
            .before_send(|trace| {
                assert!(trace.name != "odd", "what a trace");
                Some(trace)
            }),
    );
    client.trace("odd").run(|trace| trace.set_output("a secret"));
    client.trace("even").run(|_| ());
    client.flush(SOON).unwrap();
    assert_eq!(kept.traces().iter().map(|trace| trace.name.clone()).collect::<Vec<_>>(), ["even"]);
    assert_eq!(*heard.lock().unwrap(), 1);
    dropped(&client, [(DropReason::BeforeSend, 1)]);
}

#[test]
fn before_send_sees_every_part_of_a_live_trace() {
    let (client, kept) = client(Config::new().live(true).before_send(|mut trace| {
        let hide = |value: &mut Option<Value>| *value = value.take().map(|_| json!("hidden"));
        hide(&mut trace.input);
        hide(&mut trace.output);
        trace.spans.iter_mut().for_each(|span| hide(&mut span.output));
        Some(trace)
    }));
    client.trace("live").input("secret").run(|trace| {
        span("step").run(|step| step.set_output("secret"));
        trace.set_output("secret");
    });
    client.flush(SOON).unwrap();
    let kinds: Vec<Payload> = kept.envelopes().iter().map(|envelope| envelope.payload()).collect();
    assert_eq!(kinds, [Payload::Trace, Payload::Spans, Payload::Update]);
    assert!(!bytes(&kept).contains("secret"));
    let trace = &kept.traces()[0];
    assert_eq!((&trace.input, &trace.output), (&Some(json!("hidden")), &Some(json!("hidden"))));
    assert_eq!(trace.spans[0].output, Some(json!("hidden")));
}

#[test]
fn what_before_send_makes_is_made_safe() {
    let (client, kept) = client(Config::new().redact(Redactor::standard()).before_send(|mut trace| {
        trace.user_id = Some(match trace.name.as_str() {
            "nul" => "a\0b".to_owned(),
            "long" => "x".repeat(300),
            "empty" => String::new(),
            _ => "ada".to_owned(),
        });
        trace.session_id = Some("here".to_owned());
        if trace.name == "deep" {
            trace.input = Some((0..200_000).fold(json!(1), |inner, _| Value::Array(vec![inner])));
        }
        Some(trace)
    }));
    ["nul", "long", "empty", "deep"].iter().for_each(|name| client.trace(*name).run(|_| ()));
    client.flush(SOON).unwrap();
    let ids: Vec<_> =
        kept.traces().into_iter().map(|trace| (trace.user_id, trace.session_id.unwrap())).collect();
    assert_eq!(ids[..3], [(None, "here".to_owned()), (None, "here".to_owned()), (None, "here".to_owned())]);
    assert_eq!(ids[3], (Some("ada".to_owned()), "here".to_owned()));
    let input = kept.traces()[3].input.clone().unwrap();
    assert_eq!(input, json!("[left out by pandaprobe: nested 200001 levels deep]"));
    assert_eq!(client.stats().reports[&ReportKind::InvalidId], 3);
    dropped(&client, []);
}

// ---- sampling

fn traces(client: &Client, n: usize) {
    (0..n).for_each(|place| client.trace(format!("trace-{place}")).run(|_| ()));
    client.flush(SOON).unwrap();
}

#[test]
fn sampling_sends_its_share_and_counts_the_rest() {
    let (client, kept) = client(Config::new().sampling(Sampling::rate(0.25)));
    traces(&client, 2000);
    let sent = kept.traces().len();
    assert!((400..600).contains(&sent), "{sent} of 2000");
    dropped(&client, [(DropReason::Sampled, 2000 - sent as u64)]);
    for rate in [0.0, -1.0] {
        let (client, kept) = places::client(Config::new().sampling(Sampling::rate(rate)));
        traces(&client, 50);
        assert_eq!(kept.traces().len(), 0);
    }
    for rate in [1.0, 7.0, f64::NAN] {
        let (client, kept) = places::client(Config::new().sampling(Sampling::rate(rate)));
        traces(&client, 50);
        assert_eq!(kept.traces().len(), 50);
    }
}

#[test]
fn sampling_chooses_the_same_each_time() {
    let (all, kept) = client(Config::new());
    traces(&all, 200);
    let data = kept.traces();
    let chosen = || {
        let (client, kept) = client(Config::new().sampling(Sampling::rate(0.5)));
        data.iter().for_each(|trace| client.log_trace(trace.clone()));
        client.flush(SOON).unwrap();
        kept.traces().iter().map(|trace| trace.trace_id).collect::<Vec<_>>()
    };
    assert_eq!(chosen(), chosen());
}

#[test]
fn a_session_is_sampled_as_a_whole() {
    let (client, kept) = client(Config::new().sampling(Sampling::rate(0.5).by_session()));
    for session in 0..100 {
        for _ in 0..3 {
            client.trace("turn").session_id(format!("session-{session}")).run(|_| ());
        }
    }
    client.flush(SOON).unwrap();
    let mut turns: BTreeMap<String, u32> = BTreeMap::new();
    kept.traces().iter().for_each(|trace| *turns.entry(trace.session_id.clone().unwrap()).or_default() += 1);
    assert!((30..70).contains(&turns.len()), "{} of 100", turns.len());
    assert!(turns.values().all(|turns| *turns == 3));
}

#[test]
fn a_session_that_is_known_late_is_sampled_as_a_whole() {
    let (client, kept) = client(Config::new().live(true).sampling(Sampling::rate(0.5).by_session()));
    for turn in 0..80 {
        pandaprobe::user("ada").run(|| {
            client.trace("turn").run(|_| {
                span("first").run(|_| ());
                client.flush(SOON).unwrap();
                pandaprobe::set_session(format!("session-{}", turn / 4));
                span("second").run(|_| ());
            });
        });
    }
    client.flush(SOON).unwrap();
    let mut turns: BTreeMap<String, u32> = BTreeMap::new();
    kept.traces().iter().for_each(|trace| *turns.entry(trace.session_id.clone().unwrap()).or_default() += 1);
    assert!((4..16).contains(&turns.len()) && turns.values().all(|turns| *turns == 4), "{turns:?}");
}

#[test]
fn errors_are_kept_if_wanted() {
    for live in [false, true] {
        let (client, kept) = client(Config::new().live(live).sampling(Sampling::rate(0.0).keep_errors()));
        client.trace("fine").run(|_| span("step").run(|_| ()));
        client.trace("with a failed step").run(|_| span("step").run(|step| step.set_error("no")));
        let _ = client.trace("failed").try_run(|_| Err::<(), _>("no"));
        client.flush(SOON).unwrap();
        let names: Vec<String> = kept.traces().iter().map(|trace| trace.name.clone()).collect();
        assert_eq!(names, ["with a failed step", "failed"]);
        dropped(&client, [(DropReason::Sampled, 1)]);
    }
}

#[test]
fn scores_of_traces_that_are_not_sent_are_not_sent() {
    let (client, kept) = client(Config::new().sampling(Sampling::rate(0.0)));
    let id = client.trace("fine").run(|trace| {
        client.score(trace.id(), "early", true);
        trace.id()
    });
    client.flush(SOON).unwrap();
    client.score(id, "late", true);
    client.flush(SOON).unwrap();
    assert_eq!(kept.envelopes().len(), 0);
    dropped(&client, [(DropReason::Sampled, 3)]);
}

// ---- content

#[test]
fn without_content_structure_tokens_and_times_stay() {
    let (client, kept) = client(Config::new().capture_content(false));
    everywhere(&client, "top secret", "public");
    assert!(!bytes(&kept).contains("top secret"), "{}", bytes(&kept));
    let trace = &kept.traces()[0];
    assert_eq!((trace.name.as_str(), trace.tags[0].as_str()), ("name public", "tag public"));
    assert_eq!((trace.session_id.as_deref(), trace.user_id.as_deref()), (Some("session"), Some("user")));
    assert_eq!((trace.spans.len(), &trace.input, &trace.output), (7, &None, &None));
    for span in &trace.spans {
        assert_eq!((&span.input, &span.output, span.model.as_deref()), (&None, &None, Some("model-1")));
        assert_eq!(span.error.as_deref(), Some("[not captured]"));
        assert_eq!(span.token_usage.as_ref().unwrap().total(), Some(7));
        assert_eq!(
            serde_json::to_value(&span.model_parameters).unwrap(),
            json!({"temperature": 0.5, "tool_choice": "auto"})
        );
        assert_eq!(span.metadata, json!({"key public": "value public"}).as_object().unwrap().clone());
        assert!(span.ended_at.is_some());
    }
    assert_eq!((kept.scores()[0].value.as_str(), &kept.scores()[0].reason), ("good", &None));
}

// ---- payloads

#[test]
fn spans_that_do_not_fit_follow_in_requests_of_their_own() {
    let (client, kept) = client(Config::new().max_payload_bytes(100_000));
    client.trace("job").run(|_| {
        (0..40).for_each(|n| span(format!("span-{n}")).run(|span| span.set_output("x".repeat(10_000))));
    });
    client.flush(SOON).unwrap();
    assert!(kept.envelopes().len() >= 5);
    assert!(kept.envelopes().iter().all(|envelope| envelope.body().len() <= 100_000));
    let trace = &kept.traces()[0];
    let names: Vec<String> = trace.spans.iter().map(|span| span.name.clone()).collect();
    assert_eq!(names, (0..40).map(|n| format!("span-{n}")).collect::<Vec<_>>());
    assert!(trace.spans.iter().all(|span| span.output == Some("x".repeat(10_000).into())));
}

#[test]
fn one_that_is_too_long_alone_is_cut_visibly() {
    let (client, kept) = client(Config::new().max_payload_bytes(50_000).linger(Duration::from_millis(10)));
    let long = "ä".repeat(200_000);
    let text = || json!([long.clone(), "short", long.clone()]);
    let mut open = None;
    client.trace("job").input(text()).run(|trace| {
        span("step").run(|span| span.set_output(text()));
        open = Some(trace.clone());
    });
    client.flush(SOON).unwrap();
    open.unwrap().set_output(text());
    client.flush(SOON).unwrap();
    assert!(kept.envelopes().iter().all(|envelope| envelope.body().len() <= 50_000));
    let trace = &kept.traces()[0];
    for value in [&trace.input, &trace.output, &trace.spans[0].output] {
        let value = value.as_ref().unwrap();
        assert_eq!(value[1], "short");
        for long in [&value[0], &value[2]] {
            let text = long.as_str().unwrap();
            assert!(
                text.starts_with("ää") && text.ends_with("… [cut by pandaprobe: 400000 bytes in all]"),
                "{}",
                &text[text.len() - 80..]
            );
        }
    }
    dropped(&client, []);
}

#[test]
fn a_trace_that_was_assembled_elsewhere_goes_the_same_way() {
    let config = Config::new().environment("test").redact(Redactor::standard()).before_send(|mut trace| {
        trace.tags.push("seen".to_owned());
        Some(trace)
    });
    let (client, kept) = client(config);
    let (other, made) = places::client(Config::new());
    other
        .trace("elsewhere")
        .user_id("ada")
        .run(|_| span("step").run(|step| step.set_output("ada@example.com")));
    other.flush(SOON).unwrap();
    let data: TraceData = made.traces().remove(0);
    pandaprobe::user("bob").session("here").run(|| client.log_trace(data.clone()));
    client.score(data.trace_id, "quality", 1.0);
    client.flush(SOON).unwrap();
    let trace = &kept.traces()[0];
    assert_eq!(
        (trace.trace_id, trace.user_id.as_deref(), trace.session_id.as_deref()),
        (data.trace_id, Some("ada"), None)
    );
    assert_eq!(
        (trace.tags.as_slice(), trace.environment.as_deref()),
        (&["seen".to_owned()][..], Some("test"))
    );
    assert_eq!(trace.spans[0].output, Some(json!("[redacted: email]")));
    assert_eq!((client.stats().traces, client.stats().delivered), (1, 2));
}

//! What leaves the process: the hooks and limits on the way out.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use pandaprobe::{
    Client, Config, Cost, DropReason, MemoryExporter, Payload, Redact, Redactor, ReportKind, Sampling, Score,
    SpanKind, TokenUsage, TraceData, span,
};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(5);

fn client(config: Config) -> (Client, MemoryExporter) {
    let kept = MemoryExporter::default();
    (Client::new(config.exporter(kept.clone())).unwrap(), kept)
}

/// Every byte that reached the exporter.
fn bytes(kept: &MemoryExporter) -> String {
    kept.envelopes().iter().map(|envelope| String::from_utf8(envelope.body().to_vec()).unwrap()).collect()
}

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
        let (client, kept) = self::client(Config::new().sampling(Sampling::rate(rate)));
        traces(&client, 50);
        assert_eq!(kept.traces().len(), 0);
    }
    for rate in [1.0, 7.0, f64::NAN] {
        let (client, kept) = self::client(Config::new().sampling(Sampling::rate(rate)));
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

/// A trace with `text` in every place that holds content, and another in every place that does not.
fn everywhere(client: &Client, content: &str, kept: &str) {
    let trace = client
        .trace(format!("name {kept}"))
        .input(json!({"messages": [{"role": "user", "content": content}]}));
    let trace = trace.tag(format!("tag {kept}")).metadata(format!("key {kept}"), format!("value {kept}"));
    let id = trace.session_id("session").user_id("user").run(|trace| {
        trace.set_output(json!([content, {content: content}, {"deep": [[content]]}]));
        for kind in [
            SpanKind::Agent,
            SpanKind::Tool,
            SpanKind::Llm,
            SpanKind::Retriever,
            SpanKind::Chain,
            SpanKind::Embedding,
            SpanKind::Other,
        ] {
            let step = span(format!("span {kept}")).kind(kind).model("model-1").input(json!({"q": content}));
            step.metadata(format!("key {kept}"), format!("value {kept}")).run(|step| {
                step.set_output(content);
                step.set_metadata("reasoning_summary", content);
                step.set_model_parameters(
                    json!({"temperature": 0.5, "stop": [content], "suffix": content})
                        .as_object()
                        .unwrap()
                        .clone(),
                );
                step.set_token_usage(TokenUsage::new(3, 4));
                step.set_cost(Cost::new(0.5));
                step.set_error(content);
            });
        }
        trace.id()
    });
    client.score(id, "quality", Score::from("good").reason(content).metadata("by", kept));
    client.flush(SOON).unwrap();
}

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
        assert_eq!(serde_json::to_value(&span.model_parameters).unwrap(), json!({"temperature": 0.5}));
        assert_eq!(span.metadata, json!({"key public": "value public"}).as_object().unwrap().clone());
        assert!(span.ended_at.is_some());
    }
    assert_eq!((kept.scores()[0].value.as_str(), &kept.scores()[0].reason), ("good", &None));
}

// ---- redaction

/// Made up, in the forms of real ones.
const SECRETS: &[(&str, &str)] = &[
    ("api_key", "sk-proj-4f9aK2lM8nQ7rS1tU3vW5xY6zA0bC2dE4fG6hI8"),
    ("api_key", "sk-ant-api03-Zx81Bv27Nm36Qw45Er54Ty63Ui72Op81"),
    ("api_key", "AIzaSyD4k9L2m8N6p0Q3r7S1t5U8v2W4x6Y0zAbC"),
    ("api_key", "AKIAIOSFODNN7EXAMPLE"),
    ("api_key", "ghp_16C7e42F292c6912E7710c838347Ae178B4a"),
    ("api_key", "xoxb-123456789012-abcdefghijkl"),
    ("api_key", "hf_AbCdEfGhIjKlMnOpQrStUvWxYz0123456789"),
    ("api_key", "gsk_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6"),
    (
        "api_key",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    ),
    ("api_key", "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA75\nx0+2==\n-----END RSA PRIVATE KEY-----"),
    ("email", "ada.lovelace+notes@analytical-engine.co.uk"),
    ("email", "O_BRIEN99@example.museum"),
    ("card", "4111 1111 1111 1111"),
    ("card", "5555-5555-5555-4444"),
    ("card", "378282246310005"),
    ("phone", "+44 20 7946 0958"),
    ("phone", "+1 (555) 010-9999"),
    ("phone", "(212) 555-0143"),
    ("phone", "415-555-0132"),
];

/// What is between secrets, and none itself.
const PLAIN: &[&str] = &[
    "the invoice of 2026-11-23T10:15:30.123456Z for 1,299.00 EUR",
    "order 1732345678901 and 20261123101530, id 3fa85f64-5717-4562-b3fc-2c963f66afa6",
    "call get_weather with {\"city\": \"Lisbon\", \"max_price\": 120}",
    "12 of 40 passed at 99.5 %, v1.2.3-rc.4, 192.168.10.20:8080",
    "please ask for the password at the desk; tokens: 1024",
    "@mention and user at example dot com, a+b=c",
    "Übergröße, 東京, 🐼",
];

#[test]
fn planted_secrets_are_found_everywhere_and_nothing_else_is_taken() {
    for (rule, secret) in SECRETS {
        let (client, kept) = client(Config::new().environment("test").redact(Redactor::standard()));
        let plain = PLAIN.join(" | ");
        everywhere(&client, &format!("{plain} {secret} {plain}"), secret);
        let sent = bytes(&kept);
        let hidden = serde_json::to_string(secret).unwrap();
        assert!(!sent.contains(hidden.trim_matches('"')), "{rule} {secret}: {sent}");
        let trace = &kept.traces()[0];
        assert_eq!(trace.name, format!("name [redacted: {rule}]"));
        let expected = format!("{plain} [redacted: {rule}] {plain}");
        assert_eq!(trace.input.as_ref().unwrap()["messages"][0]["content"], *expected);
        let output = trace.output.as_ref().unwrap();
        assert_eq!(*output, json!([expected, {expected.as_str(): expected}, {"deep": [[expected]]}]));
        for span in &trace.spans {
            assert_eq!(span.error.as_deref(), Some(expected.as_str()));
            assert_eq!(span.model_parameters.as_ref().unwrap()["stop"], json!([expected]));
            assert_eq!(span.metadata["reasoning_summary"], *expected);
            assert_eq!(
                span.metadata[&format!("key [redacted: {rule}]")],
                format!("value [redacted: {rule}]")
            );
        }
        assert_eq!(kept.scores()[0].reason.as_deref(), Some(expected.as_str()));
        assert_eq!((trace.session_id.as_deref(), trace.user_id.as_deref()), (Some("session"), Some("user")));
        assert_eq!(client.stats().dropped_total(), 0);
    }
}

#[test]
fn secrets_in_the_text_around_them_are_found() {
    let redactor = Redactor::standard();
    for (text, expected) in [
        ("Authorization: Bearer abcDEF123456.xyz-_~", "Authorization: Bearer [redacted: api_key]"),
        (r#"{"api_key": "s3cr3t-value", "n": 1}"#, r#"{"api_key": "[redacted: api_key]", "n": 1}"#),
        (r#"{\"password\":\"hunter22\"}"#, r#"{\"password\":\"[redacted: api_key]\"}"#),
        ("curl -d client_secret=abc123def&x=1", "curl -d client_secret=[redacted: api_key]&x=1"),
        ("<ada@example.com>,bob@example.org;", "<[redacted: email]>,[redacted: email];"),
        ("4111111111111111", "[redacted: card]"),
        ("4111111111111112", "4111111111111112"),
        ("tel:+4915112345678", "tel:[redacted: phone]"),
        // Text whose words no spaces part.
        ("我的邮箱是ada@example.com。", "我的邮箱是[redacted: email]。"),
        ("卡号4111111111111111谢谢", "卡号[redacted: card]谢谢"),
        ("鍵はsk-abcdefghijklmnop1234です", "鍵は[redacted: api_key]です"),
    ] {
        assert_eq!(redactor.text(text), expected);
    }
}

#[test]
fn numbers_and_keys_are_redacted_and_no_value_is_lost() {
    let (client, kept) = client(Config::new().redact(Redactor::new().cards().emails()));
    let input = json!({"card": 4111111111111111_u64, "n": 12, "a@example.com": 1, "b@example.com": 2});
    client.trace("job").input(input).run(|_| ());
    client.flush(SOON).unwrap();
    let expected =
        json!({"card": "[redacted: card]", "n": 12, "[redacted: email]": 1, "[redacted: email] 2": 2});
    assert_eq!(kept.traces()[0].input, Some(expected));
}

#[test]
fn patterns_and_paths_of_ones_own() {
    let redactor = Redactor::new().pattern("ticket", r"(?i)ticket (?P<secret>\d+)").unwrap();
    let redactor =
        redactor.json_path("$.messages[?@.role == 'system'].content").unwrap().json_path("$..ssn").unwrap();
    let (client, kept) = client(Config::new().redact(redactor));
    let input = json!({"messages": [{"role": "system", "content": "rules"}, {"role": "user", "content": "Ticket 77"}],
        "patient": [{"ssn": {"area": 1}, "age": 3}]});
    client.trace("job").input(input).metadata("ssn", "x").run(|_| ());
    client.flush(SOON).unwrap();
    let hidden = "[redacted: json_path]";
    let expected = json!({"messages": [{"role": "system", "content": hidden}, {"role": "user", "content": "Ticket [redacted: ticket]"}],
        "patient": [{"ssn": hidden, "age": 3}]});
    assert_eq!(kept.traces()[0].input, Some(expected));
    assert_eq!(kept.traces()[0].metadata["ssn"], hidden);
    assert!(Redactor::new().pattern("broken", "(").is_err());
    assert!(Redactor::new().json_path("messages[").unwrap_err().to_string().contains("messages["));
}

#[test]
fn what_redaction_fails_on_is_withheld() {
    fn hide(text: &str) -> Cow<'_, str> {
        assert!(!text.contains("odd"), "no idea");
        text.into()
    }
    let (client, kept) = client(Config::new().redact(hide as fn(&str) -> Cow<'_, str>));
    client.trace("job").input(json!(["an odd secret", "fine"])).tag("odd").run(|_| ());
    client.flush(SOON).unwrap();
    let withheld = "[withheld by pandaprobe: redaction failed]";
    assert_eq!(kept.traces()[0].input, Some(json!([withheld, "fine"])));
    assert_eq!(kept.traces()[0].tags, [withheld]);
    assert_eq!(client.stats().reports[&ReportKind::Panicked], 2);
}

#[test]
fn what_is_added_by_before_send_is_redacted_too() {
    let config = Config::new().redact(Redactor::standard()).before_send(|mut trace| {
        trace.metadata.insert("contact".to_owned(), "ada@example.com".into());
        Some(trace)
    });
    let (client, kept) = client(config);
    client.trace("job").run(|_| ());
    client.flush(SOON).unwrap();
    assert_eq!(kept.traces()[0].metadata["contact"], "[redacted: email]");
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
    let (other, made) = self::client(Config::new());
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

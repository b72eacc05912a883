//! Whatever an application hands over: what is sent is what the backend takes, and keeps.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::time::Duration;

use pandaprobe::{Client, Config, Cost, Score, SpanKind, TokenUsage};
use pandaprobe_tests::backend::Backend;
use pandaprobe_wire::Exchange;
use proptest::{
    collection::{btree_map, vec},
    prelude::*,
    strategy::ValueTree,
    test_runner::TestRunner,
};
use serde_json::{Value, json};

const CASES: usize = 10_000;
const SOON: Duration = Duration::from_secs(60);

/// Texts as they should not be.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => any::<String>(),
        4 => "\\PC{0,20}",
        3 => Just("a\0b\0".to_owned()),
        2 => Just(String::new()),
        2 => Just("\u{fffd}\u{202e}\u{feff}\u{10ffff}\r\n\t\u{1}".to_owned()),
        1 => (600_usize..2_000).prop_map(|length| "ä".repeat(length)),
    ]
}

/// An id, name or tag: now and then one of 100,000 characters.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![60 => text(), 1 => Just("n".repeat(100_000)), 1 => Just("\0".repeat(300))]
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(-0.0),
        Just(1e308)
    ]
}

fn count() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), 0_u64..100, Just(1 << 31), Just((1 << 31) - 1), Just(1 << 63), Just(u64::MAX)]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        number().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    let nested = leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            btree_map(text(), inner, 0..5).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    });
    let deep =
        (prop_oneof![Just(10_000_usize), 150_usize..1_100], any::<bool>()).prop_map(|(depth, object)| {
            (0..depth).fold(json!("end\0"), |inner, _| match object {
                true => Value::Object([("k\0".to_owned(), inner)].into_iter().collect()),
                false => Value::Array(vec![inner]),
            })
        });
    prop_oneof![40 => nested, 1 => deep]
}

/// What a provider answered, with halves of surrogate pairs in its escapes.
fn answered() -> impl Strategy<Value = Value> {
    let escape = prop_oneof![
        Just(r"\ud800"),
        Just(r"\udfff"),
        Just(r"\ud83d\ude00"),
        Just(r"\ude00\ud83d"),
        Just(r"\u0000"),
        Just("text")
    ];
    vec(escape, 0..6).prop_map(|escapes| {
        let content = escapes.concat();
        let body = format!(
            r#"{{"model":"m{content}","choices":[{{"message":{{"role":"assistant","content":"{content}"}}}}],"usage":{{"prompt_tokens":1.5,"completion_tokens":-1}}}}"#
        );
        let mut exchange = Exchange::new("/v1/chat/completions", br#"{"model":"m","messages":[]}"#);
        exchange.start(200, Some("application/json"));
        exchange.push(body.as_bytes());
        exchange.end();
        serde_json::to_value(&exchange.record().output).unwrap()
    })
}

#[derive(Debug)]
struct Case {
    names: Vec<String>,
    values: Vec<Value>,
    answered: Value,
    counts: Vec<u64>,
    cost: (f64, f64),
}

fn case() -> impl Strategy<Value = Case> {
    (vec(name(), 12), vec(value(), 6), answered(), vec(count(), 7), (number(), number()))
        .prop_map(|(names, values, answered, counts, cost)| Case { names, values, answered, counts, cost })
}

fn record(client: &Client, case: Case) {
    let Case { names, values, answered, counts, cost } = case;
    let mut names = names.into_iter();
    let mut name = || names.next().unwrap_or_default();
    let mut values = values.into_iter();
    let mut value = || values.next().unwrap_or_default();
    let trace = client.trace(name()).session_id(name()).user_id(name()).tag(name()).metadata(name(), value());
    let id = trace.input(value()).run(|trace| {
        trace.set_output(value());
        trace.span(name()).kind(SpanKind::Llm).model(name()).input(value()).run(|span| {
            span.set_output(Value::Array(vec![answered, value()]));
            span.set_error(name());
            span.set_model_parameters([(name(), value())].into_iter().collect());
            let mut usage = TokenUsage::new(counts[0], counts[1]).reasoning(counts[2]).cache_read(counts[3]);
            usage.total_tokens = Some(counts[4]);
            usage.details.insert(name(), counts[5]);
            usage.details.insert("prompt_tokens".to_owned(), counts[6]);
            span.set_token_usage(usage);
            span.set_cost(Cost::new(cost.0).part(name(), cost.1));
        });
        trace.id()
    });
    client.score(id, name(), Score::from(name()).reason(name()).metadata(name(), value()));
    client.score(id, "number", cost.0);
}

#[test]
fn what_is_sent_is_what_the_backend_keeps() {
    let backend = Backend::start();
    let config = Config::new().api_key("k").project_name("tests").endpoint(backend.url()).unwrap();
    let client = Client::new(config).unwrap();
    let mut runner = TestRunner::deterministic();
    let strategy = case();
    for n in 0..CASES {
        record(&client, strategy.new_tree(&mut runner).unwrap().current());
        if n % 200 == 0 {
            client.flush(SOON).unwrap();
            assert!(backend.rejected().is_empty(), "{:?}", backend.rejected()[0].errors);
        }
    }
    client.flush(SOON).unwrap();
    assert!(backend.rejected().is_empty(), "{:?}", backend.rejected()[0].errors);
    assert_eq!((backend.traces().len(), client.stats().dropped_total()), (CASES, 0), "{:?}", client.stats());
    assert!(backend.scores().len() >= CASES, "{}", backend.scores().len());
}

//! What redaction takes out, and what it leaves.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    borrow::Cow,
    time::{Duration, Instant},
};

use pandaprobe::{Config, Cost, MemoryExporter, Redact, Redactor, ReportKind, TokenUsage, span};
use serde_json::{Value, json};

mod places;
use places::{bytes, client, everywhere};

const SOON: Duration = Duration::from_secs(5);

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
    "a basic understanding of the bearer authentication scheme",
    "CONSTRAINT pk_customer_addresses, class=sk-estimator-doc-link",
    "password: string, api_key: Optional[str] = None, pwd=/home/ada/project, password=get_password()",
    "2026-11-23 10:15:30+00 2026-11-24 11:00:00+00, x = 1+12345678, 1e+10 2000 3000",
    "[0.4539578763621486, 0.4111111111111111, -5.1051051051051]",
    "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1, 41111111-1111-4111-9111-111111111111 and 123 456 7890 rows, order 555-010-9999-1",
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
        ("authorization=bearer letmein", "authorization=bearer [redacted: api_key]"),
        (r#"{"api_key": "s3cr3t-value", "n": 1}"#, r#"{"api_key": "[redacted: api_key]", "n": 1}"#),
        (r#"{\"password\":\"hunter22\"}"#, r#"{\"password\":\"[redacted: api_key]\"}"#),
        (
            r#"{\\\"password\\\":\\\"hunter22\\\",\\\"n\\\":1}"#,
            r#"{\\\"password\\\":\\\"[redacted: api_key]\\\",\\\"n\\\":1}"#,
        ),
        ("curl -d client_secret=abc123def&x=1", "curl -d client_secret=[redacted: api_key]&x=1"),
        ("<ada@example.com>,bob@example.org;", "<[redacted: email]>,[redacted: email];"),
        ("4111111111111111", "[redacted: card]"),
        ("4111111111111112", "4111111111111112"),
        ("tel:+4915112345678", "tel:[redacted: phone]"),
        // Text whose words no spaces part.
        ("我的邮箱是ada@example.com。", "我的邮箱是[redacted: email]。"),
        ("卡号4111111111111111谢谢", "卡号[redacted: card]谢谢"),
        ("鍵はsk-abcdefghijklmnop1234です", "鍵は[redacted: api_key]です"),
        // Names of variables.
        ("OPENAI_API_KEY=abcdef0123456789", "OPENAI_API_KEY=[redacted: api_key]"),
        ("export DB_PASSWORD=hunter22;", "export DB_PASSWORD=[redacted: api_key];"),
        ("dbPassword => 'correct horse, battery'", "dbPassword => '[redacted: api_key]'"),
        (
            r#""password": "correct horse \"battery\" staple", "n": 1"#,
            r#""password": "[redacted: api_key]", "n": 1"#,
        ),
        (r#"{\"password\":\"correct horse, battery\"}"#, r#"{\"password\":\"[redacted: api_key]\"}"#),
        ("password=p@ss,word;1 next", "password=[redacted: api_key] next"),
        ("Server=db;Password=hunter22;User=app", "Server=db;Password=[redacted: api_key];User=app"),
        ("postgres://app:hunter22@localhost:5432/db", "postgres://app:[redacted: api_key]@localhost:5432/db"),
        ("session token: abcdef0123456789", "session token: [redacted: api_key]"),
        // What JSON and URLs write within a text.
        (
            r"KEYS:\nsk-proj-4f9aK2lM8nQ7rS1tU3vW5xY6\nAKIAIOSFODNN7EXAMPLE\n4111 1111 1111 1111\n415-555-0132\nend",
            r"KEYS:\n[redacted: api_key]\n[redacted: api_key]\n[redacted: card]\n[redacted: phone]\nend",
        ),
        (r"Hi\nada@example.com\tbye", r"Hi\n[redacted: email]\tbye"),
        (r"a=1\u0026ada@example.com", r"a=1\u0026[redacted: email]"),
        ("https://x/?k=%22AKIAIOSFODNN7EXAMPLE", "https://x/?k=%22[redacted: api_key]"),
        ("q=key%3DAKIAIOSFODNN7EXAMPLE", "q=key%3D[redacted: api_key]"),
        ("to=ada%40example.com&n=1", "to=[redacted: email]&n=1"),
        // Numbers beside them.
        ("4111 1111 1111 1111 12/28", "[redacted: card] 12/28"),
        ("7 4111111111111111 1228", "7 [redacted: card] 1228"),
        ("card no.4111-1111-1111-1111 12/28 123", "card no.[redacted: card] 12/28 123"),
        (
            "visa-4111111111111111, 4111 1111 1111 1111 5555 5555 5555 4444",
            "visa-[redacted: card], [redacted: card] [redacted: card]",
        ),
        ("call +44 20 7946 0958 2026-11-23", "call [redacted: phone] 2026-11-23"),
        // Of other scripts.
        ("zoë@example.com, jürgen.müller@example.de", "[redacted: email], [redacted: email]"),
        ("ada@müller.de, info@例え.jp", "[redacted: email], [redacted: email]"),
    ] {
        assert_eq!(redactor.text(text), expected);
    }
}

#[test]
fn values_are_redacted_whose_keys_say_that_they_are_secret() {
    let (client, kept) = client(Config::new().redact(Redactor::new().api_keys()));
    let input = json!({"user": "root", "password": "hunter22", "dbPassword": 4711, "max_tokens": 1024,
        "headers": {"X-Api-Key": "abcdef", "Authorization": ["Basic a"], "Accept": "text/html"},
        "logprobs": [{"token": "Hello", "logprob": -0.5}], "page": {"token": "CAUQAAabcd0123456789"},
        "schema": {"password": {"type": "string", "apiKey": "k"}, "secret": "the butler did it", "api_key": "string"}});
    client
        .trace("job")
        .input(input)
        .metadata("access_token", "tok-1")
        .metadata("password", Value::Null)
        .run(|_| ());
    client.flush(SOON).unwrap();
    let hidden = "[redacted: api_key]";
    let expected = json!({"user": "root", "password": hidden, "dbPassword": hidden, "max_tokens": 1024,
        "headers": {"X-Api-Key": hidden, "Authorization": [hidden], "Accept": "text/html"},
        "logprobs": [{"token": "Hello", "logprob": -0.5}], "page": {"token": hidden},
        "schema": {"password": {"type": "string", "apiKey": hidden}, "secret": "the butler did it", "api_key": "string"}});
    assert_eq!(kept.traces()[0].input, Some(expected));
    assert_eq!(kept.traces()[0].metadata["access_token"], hidden);
    assert_eq!(kept.traces()[0].metadata["password"], Value::Null);
}

#[test]
fn numbers_stay_numbers_unless_they_are_whole() {
    let (client, kept) = client(Config::new().redact(Redactor::standard()));
    let input = json!({"embedding": [0.4111111111111111, 5.1051051051051, -0.378282246310005]});
    let id = client.trace("job").input(input.clone()).run(|trace| trace.id());
    client.score(id, "quality", 0.4111111111111111);
    client.score(id, "tone", "ada@example.com");
    client.flush(SOON).unwrap();
    assert_eq!(kept.traces()[0].input, Some(input));
    let scores: Vec<String> = kept.scores().into_iter().map(|score| score.value).collect();
    assert_eq!(scores, ["0.4111111111111111", "[redacted: email]"]);
    let redactor = Redactor::standard();
    let shares = (1..100_000_u32).map(|n| (f64::from(n) * 0.618_033_988_749_894_9).fract().to_string());
    assert_eq!(shares.filter(|share| redactor.text(share) != *share).count(), 0);
    let ids = (0..100_000).map(|_| pandaprobe::TraceId::random().to_string());
    assert_eq!(ids.filter(|id| redactor.text(id) != *id).count(), 0);
}

#[test]
fn names_of_counts_and_costs_are_redacted_and_repaired() {
    let (client, kept) = client(Config::new().redact(Redactor::standard()));
    client.trace("job").run(|_| {
        span("call").run(|call| {
            let mut usage = TokenUsage::new(1, 2);
            usage.details.insert("a\0b of ada@example.com".to_owned(), 3);
            usage.details.insert("prompt_tokens".to_owned(), 9);
            call.set_token_usage(usage);
            call.set_cost(Cost::new(1.0).part("x\0 of ada@example.com", 0.5).part("total", 7.0));
        });
    });
    client.flush(SOON).unwrap();
    let sent: Value = serde_json::from_str(&bytes(&kept)).unwrap();
    let call = &sent["spans"][0];
    assert_eq!(
        call["token_usage"],
        json!({"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "a\u{fffd}b of [redacted: email]": 3})
    );
    assert_eq!(call["cost"], json!({"total": 1.0, "x\u{fffd} of [redacted: email]": 0.5}));
    assert!(!bytes(&kept).contains(r#""prompt_tokens":9"#) && !bytes(&kept).contains(r#""total":7"#));
}

/// Where a text is cut, a half of what would have been redacted may be left.
#[test]
fn no_half_of_a_secret_is_left_where_an_argument_was_cut() {
    #[pandaprobe::span]
    fn echo(text: String, records: Vec<Value>) -> usize {
        text.len() + records.len()
    }

    let long = 64 << 10;
    for secret in ["4111 1111 1111 1111", "ada.lovelace@analytical-engine.org", "password=hunter22hunter"] {
        for kept_of_it in 1..secret.len() {
            let kept = MemoryExporter::default();
            let redactor = Redactor::standard().json_path("$..ssn").unwrap();
            let guard = pandaprobe::init(Config::new().exporter(kept.clone()).redact(redactor)).unwrap();
            let text = format!("{}{secret} tail", "x ".repeat(long).split_off(long + kept_of_it + 1));
            let records =
                (0..2_000).map(|n| json!({"ssn": format!("ssn-of-{n}"), "words": "of the patient"}));
            pandaprobe::trace("job").run(|_| echo(text, records.collect()));
            guard.client().flush(SOON).unwrap();
            let sent = bytes(&kept);
            assert_eq!(sent.matches("cut by pandaprobe: more than 65536 bytes").count(), 2);
            let input = kept.traces()[0].spans[0].input.clone().unwrap();
            // Not in all that was sent: an id may hold such digits.
            let told = input.to_string();
            for piece in ["4111", "ada.", "hunter", "ssn-of"] {
                assert!(!told.contains(piece), "{secret} {kept_of_it}: {piece}");
            }
            assert_eq!(input["records"][7]["ssn"], "[redacted: json_path]");
            assert!(input["text"].as_str().unwrap().len() > 65_000);
        }
    }
}

#[test]
fn equal_keys_take_no_longer_than_others() {
    let time = |key: fn(u32) -> String| {
        let (client, kept) = client(Config::new().redact(Redactor::standard()));
        let input: Value = (0..20_000).map(|n| (key(n), json!(n))).collect();
        let start = Instant::now();
        client.trace("job").input(input).run(|_| ());
        client.flush(Duration::from_secs(300)).unwrap();
        assert_eq!(kept.traces()[0].input.as_ref().unwrap().as_object().unwrap().len(), 20_000);
        start.elapsed()
    };
    let (equal, others) =
        (time(|n| format!("user{n}@example.com")), time(|n| format!("user {n} of example.com")));
    assert!(equal < others * 20, "{equal:?}, others {others:?}");
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

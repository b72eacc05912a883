//! What is recorded by those who wish ill.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    driver::{Browser, beside},
    fill::ago,
};

const TEXTS: [&str; 12] = [
    "<script>window.pwned = 1</script>",
    "\"><img src=x onerror=\"window.pwned = 2\">",
    "'><svg onload=window.pwned=3><style>*{display:none}</style>",
    "</title></textarea></script><script>window.pwned=4</script>",
    "javascript:window.pwned=5",
    "{{constructor.constructor('window.pwned=6')()}} ${window.pwned=7} <!-- --> ]]>",
    "\u{202e}evil\u{202d} \u{2066}left open \u{202b}",
    "bell\u{7} escape\u{1b}[31m back\u{8} delete\u{7f} null\u{1}",
    "a\u{300}\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}\u{307}\u{308}\u{309}\u{30a}\u{30b}",
    "عربي ולעברית and 日本語 👩‍👩‍👧‍👦",
    "&lt;b&gt; &#x3c;script&#x3e; %3Cscript%3E \\u003cscript\\u003e",
    "../../etc/passwd?x=1&y=2#z",
];

/// A text of one word that is as long as a field may be.
fn wide(text: &str, most: usize) -> String {
    let padded: String = text.chars().chain(std::iter::repeat('W')).take(most).collect();
    padded
}

fn deep(depth: usize) -> Value {
    (0..depth).fold(json!("<img src=x onerror=window.pwned=8>"), |inner, level| {
        if level % 2 == 0 { json!([inner]) } else { json!({"k": inner}) }
    })
}

fn trace(number: usize, text: &str) -> Value {
    let id = |which: u128| {
        Uuid::from_u128(0x3000_0000_0000_4000_8000_0000_0000_0000 + number as u128 + (which << 64))
    };
    let messages = json!({"messages": [
        {"role": text, "content": text, "name": text},
        {"role": "user", "content": [{"type": "text", "text": text}, {"type": text, "image_url": {"url": text}}, {"type": "image_url", "image_url": {"url": format!("data:text/html,{text}")}}, {text: text}]},
        {"role": "assistant", "content": null, "tool_calls": [{"id": text, "type": "function", "function": {"name": text, "arguments": text}}]},
        {"role": "tool", "tool_call_id": text, "content": text},
    ]});
    let span = |which: u128, parent: Option<u128>| {
        json!({
            "span_id": id(which), "parent_span_id": parent.map(id), "name": wide(text, 512), "kind": "LLM", "status": "ERROR", "error": text.repeat(200),
            "model": wide(text, 255), "input": messages, "output": {text: text}, "metadata": {text: text, "reasoning_summary": text},
            "model_parameters": {text: text}, "token_usage": {text: text, "prompt_tokens": 1}, "cost": {text: 1e300}, "started_at": ago(5), "ended_at": ago(9_000),
            "completion_start_time": ago(90_000),
        })
    };
    json!({
        "trace_id": id(0), "name": wide(text, 512), "session_id": wide(text, 255), "user_id": wide(text, 255), "tags": vec![text; 3], "environment": text,
        "release": text, "metadata": {text: deep(3)}, "input": messages, "output": text, "started_at": "0001-01-01T00:00:00Z", "ended_at": "9999-12-30T00:00:00Z",
        // One that is its own parent, two that are each other's, one whose parent is nowhere.
        "spans": [span(1, Some(1)), span(2, Some(3)), span(3, Some(2)), span(4, Some(99)), span(5, Some(4))],
    })
}

async fn is_sound(browser: &Browser, what: &str) {
    assert_eq!(
        browser.js("return [window.pwned ?? null, document.title.length > 0]").await,
        json!([null, true]),
        "{what}"
    );
    assert_eq!(
        browser
            .js("return document.querySelectorAll('main script, main style, main iframe, main img').length")
            .await,
        0,
        "{what}"
    );
    browser.check(what).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_recorded_runs_or_breaks_the_page() {
    let Some((_alone, filled, browser)) = beside(0).await else {
        return;
    };
    for (number, text) in TEXTS.iter().enumerate() {
        filled.post("/traces", &trace(number, text)).await;
        let score = json!({"trace_id": trace(number, text)["trace_id"], "name": wide(text, 255), "value": text, "data_type": "CATEGORICAL", "reason": text});
        filled.post("/evaluations/trace-scores", &score).await;
    }
    for (look, width) in [("wide", 1440), ("narrow", 390)] {
        browser.size(width, 900).await;
        for path in ["/ui/traces", "/ui/sessions", "/ui/users", "/ui/overview"] {
            browser.go(path).await;
            is_sound(&browser, path).await;
        }
        browser.go("/ui/traces").await;
        browser.screenshot(&format!("hostile-traces-{look}")).await;
        for (number, text) in TEXTS.iter().enumerate() {
            let trace = trace(number, text);
            let path = format!("/ui/traces/{}", trace["trace_id"].as_str().unwrap());
            browser.go(&path).await;
            browser.until("document.querySelectorAll('.row:not([hidden])').length === 5").await;
            is_sound(&browser, text).await;
            browser.press("j").await;
            browser.until("document.querySelector('.failure')").await;
            is_sound(&browser, text).await;
            browser.screenshot(&format!("hostile-{number}-{look}")).await;
            let encoded = browser.js(&format!("return encodeURIComponent({})", json!(wide(text, 255)))).await;
            for page in ["user", "session"] {
                browser.go(&format!("/ui/{page}?id={}", encoded.as_str().unwrap())).await;
                assert!(!browser.text("h1").await.contains("No such"), "{page} {text}");
                is_sound(&browser, text).await;
            }
            browser
                .go(&format!("/ui/traces?q={0}&name={0}&tags={0}&min_cost={0}", encoded.as_str().unwrap()))
                .await;
            is_sound(&browser, text).await;
        }
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_huge_or_deep_is_shown_in_part() {
    let Some((_alone, filled, browser)) = beside(0).await else {
        return;
    };
    let long = "<b>0123456789</b> ".repeat(20_000_000 / 18);
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let id = |number: u32| format!("40000000-0000-4000-8000-00000000000{number}");
    let span = |number: u32, input: &str| {
        format!(
            r#"{{"span_id":"{}","name":"span {number}","kind":"LLM","started_at":"2026-01-01T00:00:0{number}Z","input":{input}}}"#,
            id(number)
        )
    };
    let spans = [
        span(1, &json!({"messages": [{"role": "user", "content": long}]}).to_string()),
        span(2, &json!({"any": long}).to_string()),
        span(3, &nested(500)),
        span(4, &nested(100_000)),
        span(5, &format!(r#"{{"messages":[{{"role":"user","content":{}}}]}}"#, nested(500))),
    ];
    let body = format!(
        r#"{{"trace_id":"{}","name":"huge","started_at":"2026-01-01T00:00:00Z","input":{},"spans":[{}]}}"#,
        id(0),
        json!(long),
        spans.join(",")
    );
    let answer =
        reqwest::Client::new().post(format!("{}/traces", filled.url())).body(body).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    for path in ["/ui/traces", "/ui/overview"] {
        browser.go(path).await;
        is_sound(&browser, path).await;
    }
    let page = format!("/ui/traces/{}", id(0));
    browser.go(&page).await;
    browser.until("document.querySelector('.rest a')").await;
    browser.until("document.querySelectorAll('.row:not([hidden])').length === 5").await;
    for number in 1..=5 {
        browser.press("j").await;
        browser
            .until(&format!("document.getElementById('span-name')?.textContent === 'span {number}'"))
            .await;
        is_sound(&browser, &format!("span {number}")).await;
        let shown = browser.js("return document.getElementById('detail').textContent.length").await;
        assert!(shown.as_i64().unwrap() < 300_000, "{shown}");
    }
    browser.screenshot("huge").await;
    let raw = reqwest::get(format!("{}{page}/spans/{}/raw?field=input", filled.url(), id(2))).await.unwrap();
    let header = |name: &str| raw.headers()[name].to_str().unwrap().to_owned();
    assert!(
        header("content-disposition").starts_with("attachment")
            && header("content-type").starts_with("text/plain")
    );
    assert!(raw.bytes().await.unwrap().len() > 19_900_000);
    browser.close().await;
}

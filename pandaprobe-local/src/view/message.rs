//! Recorded values as people read them: messages as a conversation, what is none as it is.

use std::collections::{BTreeMap, HashMap, HashSet};

use maud::{Markup, html};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    json, text,
    value::{TEXT, Way, block, rest, value},
};

/// How many messages are shown from the beginning and from the end of a conversation.
const MESSAGES: (usize, usize) = (20, 180);

#[derive(Deserialize)]
struct Conversation<'a> {
    #[serde(borrow)]
    messages: Vec<Message<'a>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    role: Role,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_calls: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_call_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Role(String);

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    function: Function<'a>,
}

#[derive(Deserialize)]
struct Function<'a> {
    name: String,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
}

/// A part of a page: a recorded value under a title, with the ways to have it whole.
pub(super) fn part(title: &str, raw: &str, download: &str) -> Markup {
    let messages = messages(raw);
    let is_read = messages.is_some() || raw.trim_start().starts_with('"');
    let way = Way::to(download);
    html! {
        section.part aria-label=(title) {
            div.heading {
                h3 { (title) }
                span.faint { (text::bytes(raw.len())) }
                button.quiet.copy type="button" data-copy-from=(download) { "Copy" }
                a.button.quiet href=(download) download { "Raw" }
            }
            @match &messages {
                Some(messages) => (conversation(messages, &way)),
                None => (value(raw, &way)),
            }
            @if is_read {
                details.raw {
                    summary { "JSON" }
                    (block(raw, &Way::to(download)))
                }
            }
        }
    }
}

/// A recorded value, shown for what it is.
pub(super) fn body(raw: &str, way: &Way<'_>) -> Markup {
    match messages(raw) {
        Some(messages) => conversation(&messages, way),
        None => value(raw, way),
    }
}

/// The messages that a value is made of, if it is.
fn messages(raw: &str) -> Option<Vec<Message<'_>>> {
    let raw = raw.trim_start();
    let messages = if raw.starts_with('[') {
        serde_json::from_str(raw).ok()?
    } else if let Ok(all) = serde_json::from_str::<Conversation<'_>>(raw) {
        all.messages
    } else {
        vec![serde_json::from_str(raw).ok()?]
    };
    (!messages.is_empty()).then_some(messages)
}

fn conversation(messages: &[Message<'_>], way: &Way<'_>) -> Markup {
    let (results, beside) = results(messages);
    let hidden = MESSAGES.0..messages.len().saturating_sub(MESSAGES.1).max(MESSAGES.0);
    html! {
        ol.chat {
            @for (at, message) in messages.iter().enumerate() {
                @if at == hidden.start && !hidden.is_empty() {
                    li.faint { (hidden.len()) " messages are not shown. " a href=(way.download) download { "Download all" } "." }
                }
                @if !hidden.contains(&at) && !beside.contains(&at) && way.spend(0, 0).is_some() {
                    (one(message, messages, &results, way))
                }
            }
        }
        @if way.is_spent() { (rest(way.download)) }
    }
}

type Results<'a> = HashMap<&'a str, usize>;

/// Where the result of each call is, and which messages are thereby shown beside their calls.
fn results<'a>(messages: &[Message<'a>]) -> (Results<'a>, HashSet<usize>) {
    let calls: HashSet<&str> =
        messages.iter().flat_map(calls).filter_map(|call| Some(call.id?.get())).collect();
    let mut results = Results::new();
    for (at, message) in messages.iter().enumerate() {
        if let Some(id) = message.tool_call_id.map(RawValue::get)
            && calls.contains(id)
        {
            results.entry(id).or_insert(at);
        }
    }
    let beside = results.values().copied().collect();
    (results, beside)
}

fn calls<'a>(message: &Message<'a>) -> Vec<Call<'a>> {
    message.tool_calls.and_then(|calls| serde_json::from_str(calls.get()).ok()).unwrap_or_default()
}

fn one(message: &Message<'_>, all: &[Message<'_>], results: &Results<'_>, way: &Way<'_>) -> Markup {
    let calls = calls(message);
    let name = message.name.and_then(|name| json::string(name.get(), 200));
    html! {
        li class=(format!("message {}", class(&message.role.0))) {
            div.role {
                (text::name(&message.role.0, 30))
                @if let Some((name, _)) = &name { " " span.faint { (text::name(name, 60)) } }
            }
            div.said {
                @if let Some(content) = message.content { (self::content(content.get(), way)) }
                @for call in &calls {
                    @if way.spend(0, 0).is_some() { (self::call(call, all, results, way)) }
                }
                @if let (true, Some(calls)) = (calls.is_empty(), message.tool_calls) {
                    @if !matches!(calls.get(), "null" | "[]") { (block(calls.get(), way)) }
                }
            }
        }
    }
}

fn class(role: &str) -> &'static str {
    match role {
        "system" | "developer" => "system",
        "user" | "human" => "user",
        "assistant" | "ai" | "model" => "assistant",
        "tool" | "function" => "tool",
        _ => "other",
    }
}

/// A call of a tool, with its result beside it.
fn call(call: &Call<'_>, all: &[Message<'_>], results: &Results<'_>, way: &Way<'_>) -> Markup {
    let result = call.id.and_then(|id| all.get(*results.get(id.get())?));
    html! {
        div.call {
            div.asked {
                div.role { "call " b { (text::name(&call.function.name, 80)) } }
                @if let Some(arguments) = call.function.arguments { (inner(arguments.get(), way)) }
            }
            @if let Some(result) = result {
                div.answered {
                    div.role { "result" }
                    @if let Some(content) = result.content { (inner(content.get(), way)) }
                }
            }
        }
    }
}

/// A value that may be JSON inside a string.
fn inner(raw: &str, way: &Way<'_>) -> Markup {
    match json::string(raw, TEXT) {
        Some((text, true)) if text.trim_start().starts_with(['{', '[']) => block(&text, way),
        _ => content(raw, way),
    }
}

/// What a message says: a text, or parts of several kinds.
fn content(raw: &str, way: &Way<'_>) -> Markup {
    if raw == "null" {
        return html! {};
    }
    match serde_json::from_str::<Vec<BTreeMap<String, &RawValue>>>(raw) {
        Ok(parts) if !parts.is_empty() => html! {
            @for part in &parts {
                @if way.spend(0, 0).is_some() { (one_part(part, way)) }
            }
        },
        _ => value(raw, way),
    }
}

fn one_part(part: &BTreeMap<String, &RawValue>, way: &Way<'_>) -> Markup {
    let kind = part.get("type").and_then(|kind| json::string(kind.get(), 200)).map(|(kind, _)| kind);
    let kind = kind.unwrap_or_default();
    if let Some(text) = part.get("text").filter(|text| text.get().starts_with('"')) {
        return value(text.get(), way);
    }
    let size: usize = part.values().map(|value| value.get().len()).sum();
    if ["image", "audio", "video", "file", "document"].iter().any(|word| kind.contains(word)) {
        return reference(&kind, part, size, way);
    }
    html! {
        @for (name, value) in part.iter().filter(|(name, _)| *name != "type") {
            @if way.spend(0, 0).is_some() {
                div.faint { (text::name(name, 40)) }
                (self::value(value.get(), way))
            }
        }
    }
}

/// What is no text is not shown: it could be anything. Its kind and size are, and what says where it is.
fn reference(kind: &str, part: &BTreeMap<String, &RawValue>, size: usize, way: &Way<'_>) -> Markup {
    let heads = part.iter().filter(|(name, _)| *name != "type").map(|(_, raw)| text::head(raw.get(), 200).0);
    let about: String = heads.take(8).collect();
    let media = about.split_once("data:").and_then(|(_, rest)| rest.split([';', ',']).next());
    html! {
        details.reference {
            summary {
                span.tag { (text::name(kind, 30)) } " "
                @if let Some(media) = media { (text::name(media, 40)) " " }
                span.faint { (text::bytes(size)) }
            }
            @for (_, value) in part.iter().filter(|(name, _)| *name != "type").take(8) {
                (block(text::head(value.get(), 2_000).0, way))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Way, body, part};

    #[test]
    fn results_are_beside_their_calls() {
        let raw = r#"{"messages":[
            {"role":"user","content":"add"},
            {"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"add","arguments":"{\"a\":1}"}}]},
            {"role":"tool","tool_call_id":"1","content":"three"}]}"#;
        let page = body(raw, &Way::to("/raw")).into_string();
        assert_eq!(page.matches("<li").count(), 2);
        assert!(page.contains("three") && page.contains("answered"));
    }

    #[test]
    fn anything_is_shown() {
        let deep = format!("{}1{}", "{\"messages\":[".repeat(500), "]}".repeat(500));
        for raw in [
            "null",
            "1",
            "\"\"",
            "[]",
            "{}",
            "[1]",
            r#"{"messages":1}"#,
            r#"{"messages":[]}"#,
            r#"{"messages":[{}]}"#,
            r#"{"messages":[{"role":1}]}"#,
            r#"{"role":"x","role":"y"}"#,
            r#""\ud800""#,
            &deep,
            r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA"}},{"type":"text","text":"<b>"},{}]}]}"#,
        ] {
            let page = part("Input", raw, "/raw").into_string();
            assert!(!page.contains("<b>"), "{page}");
        }
    }

    #[test]
    fn a_page_has_a_limit_however_the_value_is_made() {
        let parts = format!("[{}]", vec![r#"{"type":"text","text":"<<<<<<<<<<"}"#; 8_000].join(","));
        let calls =
            format!("[{}]", vec![r#"{"id":"1","function":{"name":"a","arguments":"{}"}}"#; 8_000].join(","));
        for message in [
            format!(r#"{{"role":"user","content":{parts}}}"#),
            format!(r#"{{"role":"assistant","tool_calls":{calls}}}"#),
            format!(r#"{{"role":"user","content":"{}"}}"#, "<".repeat(100_000)),
        ] {
            let raw = format!(r#"{{"messages":[{}]}}"#, vec![message; 20].join(","));
            let page = body(&raw, &Way::to("/raw")).into_string();
            assert!(page.len() < 3_000_000 && page.contains("There is more"), "{}", page.len());
        }
    }
}

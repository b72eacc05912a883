//! Recorded values as people read them: messages as a conversation, what is none as it is.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    ops::Range,
};

use maud::{Markup, html};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    json, text,
    value::{TEXT, Way, block, rest, value},
};

/// How many messages are shown from the beginning and from the end of a conversation.
const MESSAGES: (usize, usize) = (20, 180);

type Fields<'a> = BTreeMap<String, &'a RawValue>;

struct Conversation<'a> {
    messages: Vec<Message<'a>>,
    /// What else is beside the messages.
    more: Fields<'a>,
}

struct Message<'a> {
    role: String,
    content: Option<&'a RawValue>,
    calls: Vec<Call<'a>>,
    /// Calls that cannot be read.
    unread_calls: Option<&'a RawValue>,
    tool_call_id: Option<&'a RawValue>,
    name: Option<&'a RawValue>,
    /// What else it says.
    more: Fields<'a>,
}

impl<'a> Message<'a> {
    /// What has a role is a message.
    fn read(mut fields: Fields<'a>) -> Option<Self> {
        let role = serde_json::from_str(fields.remove("role")?.get()).ok()?;
        let mut take = |name| fields.remove(name).filter(|value| value.get() != "null");
        let calls = take("tool_calls");
        let (calls, unread_calls) = match calls.map(|calls| serde_json::from_str(calls.get())) {
            Some(Ok(read)) => (read, None),
            _ => (Vec::new(), calls),
        };
        Some(Self {
            role,
            content: take("content"),
            calls,
            unread_calls,
            tool_call_id: take("tool_call_id"),
            name: take("name"),
            more: fields,
        })
    }

    fn read_all(raw: &'a str) -> Option<Vec<Self>> {
        let all: Vec<Fields<'a>> = serde_json::from_str(raw).ok()?;
        all.into_iter().map(Self::read).collect()
    }
}

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
    let conversation = Conversation::read(raw);
    let is_read = conversation.is_some() || raw.trim_start().starts_with('"');
    let way = Way::to(download);
    html! {
        section.part aria-label=(title) {
            div.heading {
                h3 { (title) }
                span.faint { (text::bytes(raw.len())) }
                button.quiet.copy type="button" data-copy-from=(download) { "Copy" }
                a.button.quiet href=(download) download { "Raw" }
            }
            @match &conversation {
                Some(conversation) => (conversation.show(&way)),
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
    match Conversation::read(raw) {
        Some(conversation) => conversation.show(way),
        None => value(raw, way),
    }
}

impl<'a> Conversation<'a> {
    /// The messages that a value is made of, if it is.
    fn read(raw: &'a str) -> Option<Self> {
        let raw = raw.trim_start();
        let (messages, more) = if raw.starts_with('[') {
            (Message::read_all(raw)?, Fields::new())
        } else {
            let mut fields: Fields<'a> = serde_json::from_str(raw).ok()?;
            let messages = fields.get("messages").and_then(|messages| Message::read_all(messages.get()));
            match messages {
                Some(messages) => {
                    fields.remove("messages");
                    (messages, fields)
                }
                None => (vec![Message::read(fields)?], Fields::new()),
            }
        };
        (!messages.is_empty()).then_some(Self { messages, more })
    }

    fn show(&self, way: &Way<'_>) -> Markup {
        let Self { messages, more } = self;
        let hidden = MESSAGES.0..messages.len().saturating_sub(MESSAGES.1).max(MESSAGES.0);
        let results = results(messages, &hidden);
        let beside: HashSet<usize> = results.values().copied().collect();
        html! {
            ol.chat {
                @for at in 0..messages.len() {
                    @if at == hidden.start && !hidden.is_empty() {
                        li.faint { (hidden.len()) " messages are not shown. " a href=(way.download) download { "Download all" } "." }
                    }
                    @if !hidden.contains(&at) && !beside.contains(&at) && way.spend(0, 0).is_some() {
                        (one(at, messages, &results, way))
                    }
                }
            }
            (fields(more.iter(), way))
            @if way.is_spent() { (rest(way.download)) }
        }
    }
}

/// Where the result of a call is. A call is a message's, and one of its calls.
type Results = HashMap<(usize, usize), usize>;

/// The results that are shown beside their calls: all whose call is shown. Ids may come again, in calls of later messages.
fn results(messages: &[Message<'_>], hidden: &Range<usize>) -> Results {
    let mut open: HashMap<&str, VecDeque<(usize, usize)>> = HashMap::new();
    let mut results = Results::new();
    for (at, message) in messages.iter().enumerate() {
        for (nth, call) in message.calls.iter().enumerate() {
            let Some(id) = call.id.map(RawValue::get) else { continue };
            let waiting = open.entry(id).or_default();
            if waiting.front().is_some_and(|(by, _)| *by != at) {
                waiting.clear();
            }
            waiting.push_back((at, nth));
        }
        let asked = message.tool_call_id.and_then(|id| open.get_mut(id.get())?.pop_front());
        if let Some(call) = asked
            && !hidden.contains(&call.0)
        {
            results.insert(call, at);
        }
    }
    results
}

fn one(at: usize, all: &[Message<'_>], results: &Results, way: &Way<'_>) -> Markup {
    let message = &all[at];
    let is_other = message.content.is_none() && message.calls.is_empty() && message.unread_calls.is_none();
    let name = message.name.and_then(|name| json::string(name.get(), 200));
    html! {
        li class=(format!("message {}", class(&message.role))) {
            div.role {
                (text::name(&message.role, 30))
                @if let Some((name, _)) = &name { " " span.faint { (text::name(name, 60)) } }
            }
            div.said {
                @if let Some(content) = message.content { (self::content(content.get(), way)) }
                @for (nth, call) in message.calls.iter().enumerate() {
                    @if way.spend(0, 0).is_some() {
                        (self::call(call, results.get(&(at, nth)).map(|at| &all[*at]), way))
                    }
                }
                @if let Some(calls) = message.unread_calls { (block(calls.get(), way)) }
                @if is_other { (fields(message.more.iter(), way)) }
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
fn call(call: &Call<'_>, result: Option<&Message<'_>>, way: &Way<'_>) -> Markup {
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
    fields(part.iter().filter(|(name, _)| *name != "type"), way)
}

/// Values under their names.
fn fields<'a>(fields: impl Iterator<Item = (&'a String, &'a &'a RawValue)>, way: &Way<'_>) -> Markup {
    html! {
        @for (name, value) in fields {
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
    fn results_of_ids_that_come_again_are_beside_their_own_calls() {
        let call = |name: &str| {
            format!(
                r#"{{"role":"assistant","tool_calls":[{{"id":"call_0","function":{{"name":"{name}"}}}}]}}"#
            )
        };
        let result = |text: &str| format!(r#"{{"role":"tool","tool_call_id":"call_0","content":"{text}"}}"#);
        let raw = [call("add"), result("three"), call("lost"), call("multiply"), result("forty")].join(",");
        let page = body(&format!("[{raw}]"), &Way::to("/raw")).into_string();
        assert_eq!(page.matches("<li").count(), 3);
        let order = ["add", "three", "lost", "multiply", "forty"].map(|word| page.find(word).unwrap());
        assert!(order.is_sorted(), "{page}");
        assert_eq!(page.matches("answered").count(), 2);
    }

    #[test]
    fn a_result_whose_call_is_not_shown_is() {
        let talk = r#"{"role":"user","content":"on"}"#.to_owned();
        let call =
            r#"{"role":"assistant","tool_calls":[{"id":"1","function":{"name":"hidden"}}]}"#.to_owned();
        let result = r#"{"role":"tool","tool_call_id":"1","content":"seen"}"#.to_owned();
        let mut all = vec![talk; 300];
        (all[119], all[120]) = (call, result);
        let page = body(&format!("[{}]", all.join(",")), &Way::to("/raw")).into_string();
        assert!(!page.contains("hidden") && page.contains("seen"));
    }

    #[test]
    fn what_is_beside_messages_is_shown() {
        for raw in [
            r#"{"role":"admin","email":"ada@example.org"}"#,
            r#"{"messages":[{"role":"user","content":"hi"}],"plan":"ada@example.org"}"#,
            r#"[{"role":"assistant","content":null,"refusal":"ada@example.org"}]"#,
        ] {
            assert!(body(raw, &Way::to("/raw")).into_string().contains("ada@example.org"), "{raw}");
        }
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

//! What decorated functions record.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
};

use futures_util::{
    FutureExt, Stream, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use pandaprobe::{SpanKind, SpanStatus, testing::capture};
use serde::Serialize;
use serde_json::{Value, json};

#[derive(Debug, thiserror::Error)]
#[error("out of paper")]
struct Empty;

#[derive(Serialize)]
struct Question {
    text: String,
}

#[derive(Debug)]
struct OnlyDebug(#[expect(dead_code, reason = "it is printed")] u8);

struct Nothing;

#[pandaprobe::trace(name = "support-agent", user_id = user, session_id = format!("s-{user}"), tags = ["a", "b"], metadata = {"n": n, "plan": "pro"})]
async fn agent(user: &str, n: u32, question: Question) -> Result<String, Empty> {
    let found = search(&question.text).await;
    if n == 0 {
        return Err(Empty);
    }
    Ok(format!("{found} for {user}"))
}

#[pandaprobe::span(kind = "TOOL", metadata = {"engine": "x"})]
async fn search(query: &str) -> String {
    format!("found {query}")
}

fn question(text: &str) -> Question {
    Question { text: text.to_owned() }
}

#[tokio::test]
async fn an_async_function_is_a_trace_with_its_steps() {
    let captured = capture(|| async { agent("ada", 2, question("why")).await }).await;
    assert_eq!(captured.output.as_deref().ok(), Some("found why for ada"));
    captured.assert_tree("support-agent COMPLETED session=s-ada user=ada tags=a,b\n└─ TOOL search OK\n");
    let trace = captured.trace("support-agent");
    assert_eq!(trace.input, Some(json!({"user": "ada", "n": 2, "question": {"text": "why"}})));
    assert_eq!(trace.output, Some(json!("found why for ada")));
    assert_eq!((&trace.metadata["n"], &trace.metadata["plan"]), (&json!(2), &json!("pro")));
    let step = captured.span("search");
    assert_eq!((&step.input, &step.output), (&Some(json!({"query": "why"})), &Some(json!("found why"))));
    assert_eq!((step.kind, &step.metadata["engine"]), (SpanKind::Tool, &json!("x")));
}

#[tokio::test]
async fn an_error_is_an_error() {
    let captured = capture(|| async { agent("ada", 0, question("why")).await.is_err() }).await;
    let trace = captured.trace("support-agent");
    assert_eq!(
        (trace.status, &trace.metadata["pandaprobe.error"]),
        (pandaprobe::TraceStatus::Error, &json!("out of paper"))
    );
    assert_eq!(trace.output, None);
}

type Fallible<T> = Result<T, String>;

#[pandaprobe::span]
fn aliased(ok: bool) -> Fallible<u8> {
    let value = Some(7).filter(|_| ok).ok_or("no")?;
    Ok(value)
}

#[pandaprobe::span]
fn boxed() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    Err(Empty)?;
    Ok(())
}

struct OnlyDisplay;

impl fmt::Display for OnlyDisplay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("shown")
    }
}

#[pandaprobe::span]
fn displayed() -> Result<u8, OnlyDisplay> {
    Err(OnlyDisplay)
}

#[pandaprobe::span]
fn printed() -> Result<u8, OnlyDebug> {
    Err(OnlyDebug(7))
}

#[pandaprobe::span]
fn named() -> Result<u8, Nothing> {
    Err(Nothing)
}

#[pandaprobe::span]
fn optional(x: Option<u8>) -> Option<u8> {
    Some(x? + 1)
}

#[pandaprobe::span(capture_output = false, skip(secret))]
fn quiet(secret: &str, n: u8) -> usize {
    secret.len() + usize::from(n)
}

#[tokio::test]
async fn results_and_options_are_what_they_are() {
    let captured = capture(|| async {
        pandaprobe::trace("t").run(|_| {
            _ = (
                aliased(true),
                aliased(false),
                boxed().is_err(),
                displayed().is_err(),
                printed().is_err(),
                named().is_err(),
            );
            _ = (optional(Some(1)), quiet("hush", 1));
        });
    })
    .await;
    let seen: Vec<Value> =
        captured.trace("t").spans.iter().map(|span| json!([span.name, span.output, span.error])).collect();
    let expected = [
        json!(["aliased", 7, null]),
        json!(["aliased", null, "no"]),
        json!(["boxed", null, "out of paper"]),
        json!(["displayed", null, "shown"]),
        json!(["printed", null, "OnlyDebug(7)"]),
        json!(["named", null, "<functions::Nothing>"]),
        json!(["optional", 2, null]),
        json!(["quiet", null, null]),
    ];
    assert_eq!(seen, expected);
    assert_eq!(captured.span("quiet").input, Some(json!({"n": 1})));
}

#[pandaprobe::span]
fn generic<T: fmt::Debug, S: Serialize, N>(debug: T, serialize: &S, name: N) -> u8 {
    let _ = (debug, serialize, name);
    1
}

#[pandaprobe::span]
fn odd(
    only_debug: OnlyDebug,
    nothing: &Nothing,
    locked: &Mutex<u8>,
    shared: Arc<Mutex<u8>>,
    closure: impl Fn() -> u8,
) -> u8 {
    let _ = (only_debug, nothing, locked, shared);
    closure()
}

#[pandaprobe::span]
fn patterns((a, b): (u8, u8), Question { text }: Question, [first, ..]: [u8; 2], mut counter: u8) -> String {
    counter += a + b + first;
    format!("{text}{counter}")
}

#[tokio::test]
async fn arguments_are_captured_as_their_types_allow() {
    let locked = Mutex::new(1);
    let held = locked.lock().ok();
    let captured = capture(|| async {
        pandaprobe::trace("t").run(|_| {
            generic(OnlyDebug(1), &question("q"), OnlyDebug(2));
            odd(OnlyDebug(3), &Nothing, &locked, Arc::default(), || 1);
            patterns((1, 2), question("q"), [3, 4], 5);
        });
    })
    .await;
    drop(held);
    let generic = captured.span("generic").input.clone().unwrap_or_default();
    assert_eq!((&generic["debug"], &generic["serialize"]), (&json!("OnlyDebug(1)"), &json!({"text": "q"})));
    assert_eq!(generic["name"], "<functions::OnlyDebug>", "its bounds say nothing");
    let odd = captured.span("odd").input.clone().unwrap_or_default();
    assert_eq!(
        (&odd["only_debug"], &odd["nothing"]),
        (&json!("OnlyDebug(3)"), &json!("<&functions::Nothing>"))
    );
    assert!(odd["locked"].as_str().is_some_and(|name| name.contains("Mutex<u8>")), "{odd}");
    assert!(odd["shared"].as_str().is_some_and(|name| name.contains("Mutex<u8>")), "{odd}");
    let expected = json!({"a": 1, "b": 2, "text": "q", "first": 3, "counter": 5});
    assert_eq!(captured.span("patterns").input, Some(expected));
    assert_eq!(captured.span("patterns").output, Some(json!("q11")));
}

struct Service {
    calls: u32,
}

impl Service {
    #[pandaprobe::span]
    fn by_ref(&self, n: u32) -> u32 {
        self.calls + n
    }

    #[pandaprobe::span]
    async fn by_mut(&mut self, n: u32) -> &mut u32 {
        self.calls += n;
        &mut self.calls
    }

    #[pandaprobe::trace]
    fn by_value(self) -> u32 {
        self.calls
    }
}

#[async_trait::async_trait]
trait Backend {
    async fn ask(&self, text: &str) -> Result<String, Empty>;
}

#[async_trait::async_trait]
impl Backend for Service {
    #[pandaprobe::span(kind = "LLM", model = "m-1")]
    async fn ask(&self, text: &str) -> Result<String, Empty> {
        if text.is_empty() {
            return Err(Empty);
        }
        Ok(format!("{text}!"))
    }
}

#[tokio::test]
async fn methods_and_async_traits_work() {
    let captured = capture(|| async {
        pandaprobe::trace("t")
            .scope(async |_| {
                let mut service = Service { calls: 1 };
                assert_eq!(service.by_ref(1), 2);
                assert_eq!(*service.by_mut(4).await, 5);
                assert_eq!(service.ask("hi").await.as_deref().ok(), Some("hi!"));
                assert!(service.ask("").await.is_err());
            })
            .await;
        Service { calls: 9 }.by_value()
    })
    .await;
    assert_eq!(captured.output, 9);
    captured.assert_tree(
        "t COMPLETED\n├─ OTHER by_ref OK\n├─ OTHER by_mut OK\n├─ LLM ask m-1 OK\n└─ LLM ask m-1 ERROR: out of paper\nby_value COMPLETED\n",
    );
    assert_eq!(captured.trace("by_value").input, None, "self is never captured");
}

#[pandaprobe::span]
fn later(n: u8) -> impl Future<Output = Result<u8, Empty>> {
    async move { if n > 0 { Ok(n) } else { Err(Empty) } }
}

#[pandaprobe::span]
fn boxed_later(text: &str) -> Pin<Box<dyn Future<Output = usize> + Send + '_>> {
    Box::pin(async move { text.len() })
}

#[pandaprobe::trace(user_id = user)]
fn words(user: String, n: u8) -> impl Stream<Item = u8> {
    pandaprobe::current_trace_id();
    stream::iter(0..n).then(|n| async move { step(n).await })
}

#[pandaprobe::span]
async fn step(n: u8) -> u8 {
    n
}

#[tokio::test]
async fn futures_and_streams_are_followed_to_their_end() {
    let captured = capture(|| async {
        pandaprobe::trace("t")
            .scope(async |_| {
                assert!(later(1).await.is_ok() && later(0).await.is_err());
                assert_eq!(boxed_later("four").await, 4);
            })
            .await;
        assert_eq!(words("ada".to_owned(), 2).count().await, 2);
        let left = words("bob".to_owned(), 5);
        assert_eq!(std::pin::pin!(left).next().await, Some(0));
    })
    .await;
    captured.assert_tree(
        "t COMPLETED\n├─ OTHER later OK\n├─ OTHER later ERROR: out of paper\n└─ OTHER boxed_later OK\n\
         words COMPLETED user=ada\n├─ OTHER step OK\n└─ OTHER step OK\nwords COMPLETED user=bob\n└─ OTHER step OK\n",
    );
    assert_eq!(captured.traces[2].metadata["pandaprobe.end"], "stopped_by_reader");
}

#[pandaprobe::trace]
async fn chat(messages: Vec<Value>, temperature: f64) -> Value {
    let _ = temperature;
    let mut messages = messages;
    messages.push(json!({"role": "assistant", "content": "yes"}));
    json!({"messages": messages})
}

#[pandaprobe::trace(user_id = user)]
fn maybe(user: Option<&str>) {}

#[tokio::test]
async fn messages_and_optional_ids() {
    let captured = capture(|| async {
        let user = |text: &str| json!({"role": "user", "content": text});
        chat(vec![user("one"), json!({"role": "assistant", "content": "no"}), user("two")], 0.5).await;
        maybe(None);
        maybe(Some("ada"));
        pandaprobe::user("scoped").run(|| maybe(None));
    })
    .await;
    let chat = captured.trace("chat");
    assert_eq!(chat.input, Some(json!({"messages": [{"role": "user", "content": "two"}]})));
    assert_eq!(chat.output, Some(json!({"messages": [{"role": "assistant", "content": "yes"}]})));
    let users: Vec<Option<&str>> =
        captured.traces[1..].iter().map(|trace| trace.user_id.as_deref()).collect();
    assert_eq!(users, [None, Some("ada"), Some("scoped")]);
    assert_eq!(captured.traces[1].output, None, "() is no output");
}

struct Explodes;

impl Serialize for Explodes {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        unreachable!("no")
    }
}

#[pandaprobe::span]
fn takes(explodes: &Explodes, long: &str) -> usize {
    let _ = explodes;
    long.len()
}

#[tokio::test]
async fn what_cannot_be_written_costs_nothing() {
    let long = "ä".repeat(15 << 20);
    let captured = capture(|| async { pandaprobe::trace("t").run(|_| takes(&Explodes, &long)) }).await;
    assert_eq!(captured.output, long.len());
    let input = captured.span("takes").input.clone().unwrap_or_default();
    assert_eq!(input["explodes"], "<&functions::Explodes: writing it panicked>");
    let text = input["long"].as_str().unwrap_or_default();
    assert!(text.len() < 70_000 && text.contains("cut by pandaprobe"), "{}", text.len());
}

#[tokio::test]
async fn panics_and_cancels_are_told() {
    #[pandaprobe::span]
    fn panics() -> u8 {
        panic!("at the disco")
    }
    #[pandaprobe::span]
    async fn waits() {
        std::future::pending::<()>().await;
    }
    let captured = capture(|| async {
        pandaprobe::trace("t")
            .scope(async |_| {
                assert!(std::panic::catch_unwind(panics).is_err());
                assert!(tokio::time::timeout(std::time::Duration::from_millis(5), waits()).await.is_err());
            })
            .await;
    })
    .await;
    let told: Vec<(SpanStatus, Option<&str>)> =
        captured.trace("t").spans.iter().map(|span| (span.status, span.error.as_deref())).collect();
    let expected =
        [(SpanStatus::Error, Some("panicked: at the disco")), (SpanStatus::Error, Some("cancelled"))];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn nothing_is_captured_where_nothing_is_recorded() {
    // Outside of any trace a span is just the function: what would panic is not even looked at.
    let captured = capture(|| async { takes(&Explodes, "four") }).await;
    assert_eq!((captured.output, captured.traces.len()), (4, 0));
    captured.assert_nothing_lost();
}

#[test]
fn a_decorated_future_is_send_where_it_was() {
    fn is_send(_: impl Send) {}
    is_send(agent("ada", 1, question("q")));
    is_send(later(1));
    is_send(words("ada".to_owned(), 1));
}

#[pandaprobe::span]
fn named_like_ours(arguments: u8, value: u8, text: u8) -> u8 {
    arguments + value + text
}

#[tokio::test]
async fn an_argument_called_arguments_is_recorded_as_what_it_is() {
    let captured = capture(|| async { pandaprobe::trace("t").run(|_| named_like_ours(1, 2, 3)) }).await;
    assert_eq!(captured.span("named_like_ours").input, Some(json!({"arguments": 1, "value": 2, "text": 3})));
}

#[pandaprobe::span]
fn pinned_words(n: u8) -> Pin<Box<dyn Stream<Item = u8> + Send>> {
    Box::pin(stream::iter(0..n).then(step))
}

#[pandaprobe::span]
fn boxed_words(n: &u8) -> BoxStream<'_, u8> {
    stream::iter(0..*n).then(step).boxed()
}

#[pandaprobe::span]
fn boxed_number(n: u8) -> BoxFuture<'static, Result<u8, Empty>> {
    async move { if n > 0 { Ok(step(n).await) } else { Err(Empty) } }.boxed()
}

#[pandaprobe::span]
async fn words_after(n: u8) -> impl Stream<Item = u8> {
    step(100).await;
    stream::iter(0..n).then(step)
}

#[pandaprobe::span]
async fn words_perhaps(n: u8) -> Result<impl Stream<Item = u8>, Empty> {
    step(101).await;
    if n == 0 {
        return Err(Empty);
    }
    Ok(stream::iter(0..n).then(step))
}

#[pandaprobe::span]
fn words_now(n: u8) -> Result<BoxStream<'static, u8>, Empty> {
    let n = Some(n).filter(|n| *n > 0).ok_or(Empty)?;
    Ok(stream::iter(0..n).then(step).boxed())
}

#[pandaprobe::span]
fn words_later(n: u8) -> impl Future<Output = Result<BoxStream<'static, u8>, Empty>> + Send {
    async move { if n == 0 { Err(Empty) } else { Ok(stream::iter(0..n).then(step).boxed()) } }
}

#[async_trait::async_trait]
trait Speaker {
    async fn speak<'a>(
        &'a self,
        words: &'a [u8],
    ) -> Result<Pin<Box<dyn Stream<Item = u8> + Send + 'a>>, Empty>;
}

#[async_trait::async_trait]
impl Speaker for Service {
    #[pandaprobe::span]
    async fn speak<'a>(
        &'a self,
        words: &'a [u8],
    ) -> Result<Pin<Box<dyn Stream<Item = u8> + Send + 'a>>, Empty> {
        if words.is_empty() {
            return Err(Empty);
        }
        Ok(stream::iter(words).then(|word| step(*word)).boxed())
    }
}

async fn read(words: Result<impl Stream<Item = u8>, Empty>) -> Option<usize> {
    Some(words.ok()?.count().await)
}

#[tokio::test]
async fn what_a_function_stands_for_goes_on_until_its_stream_ends() {
    let captured = capture(|| async {
        pandaprobe::trace("t")
            .scope(async |_| {
                assert_eq!((pinned_words(1).count().await, boxed_words(&1).count().await), (1, 1));
                assert!(boxed_number(1).await.is_ok() && boxed_number(0).await.is_err());
                assert_eq!(words_after(1).await.count().await, 1);
                assert_eq!(
                    (read(words_perhaps(1).await).await, read(words_perhaps(0).await).await),
                    (Some(1), None)
                );
                assert_eq!((read(words_now(1)).await, read(words_now(0)).await), (Some(1), None));
                assert_eq!(
                    (read(words_later(1).await).await, read(words_later(0).await).await),
                    (Some(1), None)
                );
                let service = Service { calls: 0 };
                assert_eq!(
                    (read(service.speak(&[1]).await).await, read(service.speak(&[]).await).await),
                    (Some(1), None)
                );
            })
            .await;
    })
    .await;
    captured.assert_tree(
        "t COMPLETED
├─ OTHER pinned_words OK
│  └─ OTHER step OK
├─ OTHER boxed_words OK
│  └─ OTHER step OK
├─ OTHER boxed_number OK
│  └─ OTHER step OK
├─ OTHER boxed_number ERROR: out of paper
├─ OTHER words_after OK
│  ├─ OTHER step OK
│  └─ OTHER step OK
├─ OTHER words_perhaps OK
│  ├─ OTHER step OK
│  └─ OTHER step OK
├─ OTHER words_perhaps ERROR: out of paper
│  └─ OTHER step OK
├─ OTHER words_now OK
│  └─ OTHER step OK
├─ OTHER words_now ERROR: out of paper
├─ OTHER words_later OK
│  └─ OTHER step OK
├─ OTHER words_later ERROR: out of paper
├─ OTHER speak OK
│  └─ OTHER step OK
└─ OTHER speak ERROR: out of paper
",
    );
}

#[tokio::test]
async fn a_stream_that_is_left_or_dropped_on_its_way_ends_what_it_stands_for() {
    #[pandaprobe::trace]
    async fn opened(n: u8) -> Result<impl Stream<Item = u8>, Empty> {
        if n == 0 {
            std::future::pending::<()>().await;
        }
        pandaprobe::set_user("found later");
        Ok(stream::iter(0..n).then(step))
    }
    let captured = capture(|| async {
        let mut left = std::pin::pin!(opened(3).await.ok()?);
        left.next().await
    });
    let captured = captured.await;
    captured.assert_tree("opened COMPLETED user=found later\n└─ OTHER step OK\n");
    assert_eq!(captured.traces[0].metadata["pandaprobe.end"], "stopped_by_reader");
    let captured = capture(|| async { drop(opened(3).await) }).await;
    captured.assert_tree("opened COMPLETED user=found later\n");
    let captured = capture(|| async { opened(0).now_or_never().is_none() }).await;
    captured.assert_tree("opened ERROR\n");
    assert_eq!(captured.traces[0].metadata["pandaprobe.end"], "cancelled");
}

#[pandaprobe::span]
fn tried(items: &[Result<u8, &'static str>]) -> impl Stream<Item = Result<u8, &'static str>> {
    stream::iter(items.to_vec())
}

#[tokio::test]
async fn a_stream_whose_last_item_is_an_error_failed() {
    let captured = capture(|| async {
        pandaprobe::trace("t")
            .scope(async |_| {
                assert_eq!(tried(&[Ok(1), Err("cut")]).count().await, 2);
                assert_eq!(tried(&[Err("slow"), Ok(1)]).count().await, 2);
                let mut left = tried(&[Ok(1), Err("cut"), Ok(2)]);
                while let Some(Ok(_)) = left.next().await {}
            })
            .await;
    })
    .await;
    captured.assert_tree(
        "t COMPLETED\n├─ OTHER tried ERROR: cut\n├─ OTHER tried OK\n└─ OTHER tried ERROR: cut\n",
    );
}

#[pandaprobe::trace(name = tool, user_id = owner.id, tags = [tool, "kept"], metadata = {"tool": tool, "of": owner.id})]
fn named_by_arguments(tool: String, owner: Owner) -> usize {
    tool.len() + owner.id.len()
}

#[derive(Debug)]
struct Owner {
    id: String,
}

#[derive(Serialize)]
struct Keyed(std::collections::HashMap<(u8, u8), u8>);

/// Stands for that of the crate of this name: to print it waits for every lock inside.
struct DashMap<T>(T);

impl<T> fmt::Debug for DashMap<T> {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        unreachable!("one of its locks may be held")
    }
}

#[pandaprobe::span]
fn odd_values(keyed: Keyed, mapped: &DashMap<u8>) {
    let _ = (keyed, mapped);
}

#[tokio::test]
async fn values_are_borrowed_and_what_cannot_be_written_is_told_so() {
    let captured = capture(|| async {
        assert_eq!(named_by_arguments("search".to_owned(), Owner { id: "ada".to_owned() }), 9);
        let keyed = Keyed([((1, 2), 3)].into());
        pandaprobe::trace("t").run(|_| odd_values(keyed, &DashMap(1)));
    })
    .await;
    let trace = captured.trace("search");
    assert_eq!(
        (trace.user_id.as_deref(), &trace.tags[..]),
        (Some("ada"), &["search".to_owned(), "kept".to_owned()][..])
    );
    assert_eq!((&trace.metadata["tool"], &trace.metadata["of"]), (&json!("search"), &json!("ada")));
    assert_eq!(trace.input, Some(json!({"tool": "search", "owner": "Owner { id: \"ada\" }"})));
    let input = captured.span("odd_values").input.clone().unwrap_or_default();
    assert_eq!(input["keyed"], "<functions::Keyed: it cannot be written: key must be a string>");
    assert_eq!(input["mapped"], "<&functions::DashMap<u8>>");
}

#[tokio::test]
async fn of_a_long_conversation_the_last_message_is_found() {
    let message = |role: &str, text: String| json!({"role": role, "content": text});
    let mut talk: Vec<Value> = (0..50).map(|_| message("assistant", "x".repeat(10_000))).collect();
    talk.push(message("user", "y".repeat(100_000)));
    let question = json!({"messages": [talk.last()]});
    let captured = capture(|| async { chat(talk, 0.5).await }).await;
    assert_eq!(captured.trace("chat").input, Some(question));
    // More than is kept of a conversation is cut like everything.
    let talk = vec![message("user", "z".repeat(2 << 20))];
    let captured = capture(|| async { chat(talk, 0.5).await }).await;
    let input = captured.trace("chat").input.clone().unwrap_or_default();
    let cut = input["messages"][0]["content"].as_str();
    assert!(cut.is_some_and(|text| text.ends_with("z… [cut by pandaprobe: more than 1048576 bytes in all]")));
}

#[test]
fn a_client_that_is_off_is_not_written_for() {
    #[pandaprobe::trace(client = client)]
    fn quiet(client: &pandaprobe::Client, explodes: &Watched) {
        let _ = (client, explodes);
    }
    struct Watched(std::cell::Cell<u32>);
    impl Serialize for Watched {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.0.set(self.0.get() + 1);
            serializer.serialize_unit()
        }
    }
    let on =
        pandaprobe::Client::new(pandaprobe::Config::new().exporter(pandaprobe::MemoryExporter::default()))
            .unwrap();
    let off = pandaprobe::Client::new(pandaprobe::Config::new().enabled(false)).unwrap();
    let watched = Watched(std::cell::Cell::new(0));
    quiet(&off, &watched);
    assert_eq!(watched.0.get(), 0);
    quiet(&on, &watched);
    assert_eq!(watched.0.get(), 1);
}

//! The scenarios recorded with the reference SDK, run with this one: what was posted must be the same, but for what
//! `golden/deliberate.rs` lists.
//!
//! Scenario 02 sets the process default and is in a test binary of its own.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers fail the test")]

#[path = "golden/compare.rs"]
mod compare;
#[path = "golden/deliberate.rs"]
mod deliberate;
#[expect(dead_code, reason = "the process default is tested elsewhere")]
#[path = "../../examples/manual/src/rules.rs"]
mod rules;

use std::time::{Duration, Instant};

use async_openai::{
    Client,
    config::OpenAIConfig,
    error::OpenAIError,
    middleware::{ReqwestService, retry::OpenAIRetryLayer},
    types::chat::{CreateChatCompletionResponse, CreateChatCompletionStreamResponse},
};
use compare::{compare, config, recorded};
use futures_util::StreamExt;
use pandaprobe::{Messages, OpenAiHandler, ReportKind, Scope, SpanKind, session, span};
use pandaprobe_tests::{
    Recorded,
    backend::Backend,
    golden::Golden,
    provider::{Exchange, Provider},
};
use serde_json::{Value, json};
use tower::ServiceBuilder;

const SOON: Duration = Duration::from_secs(10);

/// A client that delivers to a backend.
struct World {
    backend: Backend,
    client: pandaprobe::Client,
}

impl World {
    fn new() -> Self {
        Self::with(|config| config)
    }

    fn with(change: impl FnOnce(pandaprobe::Config) -> pandaprobe::Config) -> Self {
        let backend = Backend::start();
        let client = pandaprobe::Client::new(change(config(&backend))).unwrap();
        Self { backend, client }
    }

    /// Everything that was posted, once all is.
    fn posted(self) -> Vec<Recorded> {
        self.client.flush(SOON).unwrap();
        let open = self.client.stats().open;
        assert_eq!(open, 0, "traces are open at the end");
        self.client.shutdown(SOON).unwrap();
        let rejected = self.backend.rejected();
        assert!(rejected.is_empty(), "{rejected:?}");
        self.backend.requests()
    }

    /// Compares everything that was posted with the whole recording.
    fn compare(self, golden: &Golden, file: &str) {
        compare(file, golden.pandaprobe_requests.iter().enumerate(), &self.posted());
    }
}

/// What is current for `f`: this client, and nothing else.
fn inside<T>(world: &World, f: impl FnOnce() -> T) -> T {
    Scope::new().client(world.client.clone()).run(f)
}

#[test]
fn every_entry_is_of_a_file_that_is_compared() {
    compare::table_is_well_formed();
}

#[test]
fn golden_01_scoped_session_and_user() {
    let Some(golden) = recorded(1) else { return };
    let world = World::new();
    inside(&world, rules::scopes);
    world.compare(&golden, "01");
}

/// The reference sets its ambient ids for the whole thread. Here an outer scope stands for that, so that other tests
/// of this process are not affected; 02 is about the process default.
#[test]
fn golden_03_explicit_precedence_and_nested_trace() {
    let Some(golden) = recorded(3) else { return };
    let world = World::with(|config| config.environment("prod").release("v1"));
    inside(&world, rules::precedence);
    world.compare(&golden, "03");
}

/// Python's values that JSON does not have are, here, the values that the reference made of them: an application has
/// to make a `serde_json::Value` itself. The same for a time without a zone: `SystemTime` has none.
#[test]
fn golden_04_nested_spans() {
    let Some(golden) = recorded(4) else { return };
    let world = World::new();
    inside(&world, rules::setters);
    let (reference, backend) = (golden.clone(), world.backend.clone());
    world.compare(&golden, "04");
    // These two times are no clock readings, but what the application set.
    let ours = backend.requests();
    for (trace, name) in [(0, "llm"), (1, "s")] {
        let set = |body: &Value| {
            let spans = body["spans"].as_array().unwrap();
            let span = spans.iter().find(|span| span["name"] == name).unwrap();
            instant(span["completion_start_time"].as_str().unwrap())
        };
        let golden = set(&reference.pandaprobe_requests[trace]["body"]);
        assert_eq!(set(ours[trace].json.as_ref().unwrap()), golden, "{name}");
    }
}

/// The two forms in which the API takes a point in time, as one.
fn instant(text: &str) -> String {
    let local = text.trim_end_matches('Z').trim_end_matches("+00:00");
    local.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Exceptions are `Err`s here, and cancelling a task is dropping its future.
#[tokio::test]
async fn golden_05_exception_in_span() {
    let Some(golden) = recorded(5) else { return };
    let world = World::new();
    Scope::new().client(world.client.clone()).scope(rules::ends()).await;
    world.compare(&golden, "05");
}

/// A world with a provider that answers as recorded.
struct Talk {
    world: World,
    golden: Golden,
    provider: Provider,
    /// The place of the next call's request in the recording.
    next: usize,
    /// How many traces are there when all calls so far have ended.
    ended: usize,
}

impl Talk {
    /// `script` may change the answers.
    fn new(golden: Golden, mut script: impl FnMut(usize, Exchange) -> Exchange) -> Self {
        let answers = golden.provider_exchanges.iter().enumerate().map(|(place, exchange)| {
            script(place, Exchange::golden(&exchange["response"]).expect("an answer of a known form"))
        });
        let answers: Vec<Exchange> = answers.collect();
        let provider = Provider::start(answers);
        Self { world: World::new(), golden, provider, next: 0, ended: 0 }
    }

    fn handler(&self) -> OpenAiHandler {
        OpenAiHandler::new().client(self.world.client.clone())
    }

    /// A traced client that retries `retries` times.
    fn client(&self, retries: usize) -> Client<OpenAIConfig> {
        let api = format!("{}/v1", self.provider.url());
        let config = OpenAIConfig::new().with_api_base(api).with_api_key("sk-x");
        let service = ServiceBuilder::new()
            .layer(self.handler().layer())
            .layer(OpenAIRetryLayer::new(retries))
            .service(ReqwestService::new(reqwest::Client::new()));
        Client::with_config(config).with_http_service(service)
    }

    /// The request of the next recorded call, as it is: the types of `async-openai` leave out a `null` content.
    fn request(&mut self) -> Value {
        self.next += 1;
        self.golden.provider_exchanges[self.next - 1]["request"]["body"].clone()
    }

    /// The next recorded call, whole.
    async fn ask(&mut self, retries: usize) -> Result<String, OpenAIError> {
        let request = self.request();
        let answer: CreateChatCompletionResponse = self.client(retries).chat().create_byot(request).await?;
        let message = answer.choices.into_iter().next().expect("a choice").message;
        Ok(message.content.unwrap_or_default())
    }

    /// The next recorded call, as a stream of which at most `chunks` chunks are read.
    async fn read(&mut self, chunks: usize) -> Result<String, OpenAIError> {
        let request = self.request();
        let stream = self.client(0).chat().create_stream_byot(request).await?;
        let chunks: Vec<_> = stream.take(chunks).collect().await;
        let chunks: Result<Vec<CreateChatCompletionStreamResponse>, _> = chunks.into_iter().collect();
        let deltas = chunks?.into_iter().flat_map(|chunk| chunk.choices).map(|choice| choice.delta);
        Ok(deltas.filter_map(|delta| delta.content).collect())
    }

    /// The next recorded call, whatever it is.
    async fn call(&mut self) {
        let request = &self.golden.provider_exchanges[self.next]["request"];
        match (request["path"] == "/v1/responses", request["body"]["stream"] == true) {
            (true, false) => drop(self.respond().await.unwrap()),
            (true, true) => drop(self.read_response().await),
            (false, true) => drop(self.read(ALL).await.unwrap()),
            (false, false) => {
                let request = self.request();
                let _: Value = self.client(0).chat().create_byot(request).await.unwrap();
            }
        }
    }

    /// The next recorded call of the Responses API, whole.
    async fn respond(&mut self) -> Result<Value, OpenAIError> {
        let request = self.request();
        self.client(0).responses().create_byot(request).await
    }

    /// The next recorded call of the Responses API, as a stream: the types of its events.
    async fn read_response(&mut self) -> Vec<String> {
        let request = self.request();
        let stream = self.client(0).responses().create_stream_byot(request).await.unwrap();
        let events: Vec<Result<Value, OpenAIError>> = stream.collect().await;
        events.into_iter().map(|event| event.unwrap()["type"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits for the trace of a call, so that traces come in the order of calls: a stream ends when `async-openai`
    /// lets go of it, in a task of its own. What asks for tools is held for what may follow, but not by a flush.
    async fn traced(&mut self) {
        self.ended += 1;
        let begun = Instant::now();
        while self.world.backend.traces().len() < self.ended {
            assert!(begun.elapsed() < SOON, "{} traces", self.ended);
            self.world.client.flush_async(SOON).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// What was posted, after a check that the provider was asked exactly what is recorded.
    fn posted(self) -> (Golden, Vec<Recorded>) {
        let exchanges = self.golden.provider_exchanges.iter();
        let wanted: Vec<_> = exchanges.map(|exchange| &exchange["request"]["body"]).cloned().collect();
        let asked: Vec<_> = self.provider.requests().into_iter().filter_map(|request| request.json).collect();
        assert_eq!(asked, wanted, "the provider was asked something else");
        (self.golden, self.world.posted())
    }

    fn compare(self, file: &str) {
        let (golden, posted) = self.posted();
        compare(file, golden.pandaprobe_requests.iter().enumerate(), &posted);
    }
}

const ALL: usize = usize::MAX;

#[tokio::test]
async fn golden_06_openai_chat_blocking() {
    let Some(golden) = recorded(6) else { return };
    let mut talk = Talk::new(golden, |_, answer| answer);
    assert_eq!(talk.ask(0).await.unwrap(), "Hello!");
    talk.traced().await;
    let parent =
        talk.world.client.trace("parent").session_id("s1").user_id("u1").input(Messages::new().user("hi"));
    let inside = parent.scope(|_| span("agent").kind(SpanKind::Agent).scope(talk.ask(0)));
    assert_eq!(inside.await.unwrap(), "second");
    talk.compare("06");
}

/// In the third call the provider holds back what follows the chunk after which the reader leaves: `async-openai`
/// reads ahead, and may else have seen the end.
#[tokio::test]
async fn golden_07_openai_chat_streaming_usage() {
    let Some(golden) = recorded(7) else { return };
    let mut talk = Talk::new(golden, |place, answer| if place == 2 { answer.hang_after(3) } else { answer });
    assert_eq!(session("s1").scope(talk.read(ALL)).await.unwrap(), "Hello");
    talk.traced().await;
    assert_eq!(talk.read(ALL).await.unwrap(), "Hello");
    talk.traced().await;
    assert_eq!(talk.read(3).await.unwrap(), "Hello");
    talk.traced().await;
    talk.compare("07");
}

#[tokio::test]
async fn golden_08_openai_chat_streaming_tool_calls() {
    let Some(golden) = recorded(8) else { return };
    let mut talk = Talk::new(golden, |_, answer| answer);
    assert_eq!(talk.read(ALL).await.unwrap(), "");
    talk.traced().await;
    assert_eq!(talk.ask(0).await.unwrap(), "");
    talk.traced().await;
    assert_eq!(talk.read(ALL).await.unwrap(), "Let me look.");
    talk.traced().await;
    talk.compare("08");
}

/// In the last call the reader fails while it reads, in a `with` block that sees the exception. Here the nearest is to
/// return early and drop the stream, which sees no error. The provider holds back the rest as in 07.
#[tokio::test]
async fn golden_11_openai_errors() {
    let Some(golden) = recorded(11) else { return };
    let mut talk = Talk::new(golden, |place, answer| if place == 8 { answer.hang_after(1) } else { answer });
    for _status in [429, 500] {
        assert!(matches!(talk.ask(0).await, Err(OpenAIError::ApiError(_))));
        talk.traced().await;
    }
    assert_eq!(talk.ask(1).await.unwrap(), "after retry");
    talk.next += 1;
    talk.traced().await;
    assert!(matches!(talk.read(ALL).await, Err(OpenAIError::ApiError(_))), "refused before it streams");
    talk.traced().await;
    let outer = talk.world.client.trace("outer");
    assert!(outer.scope(|_| talk.respond()).await.is_err());
    talk.traced().await;
    assert!(talk.read(ALL).await.is_err(), "the connection is cut");
    talk.traced().await;
    assert!(talk.read(ALL).await.is_err(), "the stream says so");
    talk.traced().await;
    assert_eq!(talk.read(1).await.unwrap(), "");
    talk.traced().await;
    talk.compare("11");
}

#[tokio::test]
async fn golden_09_openai_responses_function_call() {
    let Some(golden) = recorded(9) else { return };
    let mut talk = Talk::new(golden, |_, answer| answer);
    let answer = session("s1").user("u1").scope(talk.respond()).await.unwrap();
    assert_eq!(answer["output"].as_array().map(Vec::len), Some(4));
    talk.traced().await;
    let parent = talk.world.client.trace("parent");
    parent.scope(|_| talk.respond()).await.unwrap();
    talk.compare("09");
}

#[tokio::test]
async fn golden_10_openai_responses_streaming() {
    let Some(golden) = recorded(10) else { return };
    let mut talk = Talk::new(golden, |_, answer| answer);
    for last in ["response.completed", "response.incomplete", "response.failed", "response.completed"] {
        assert_eq!(talk.read_response().await.last().map(String::as_str), Some(last));
        talk.traced().await;
    }
    talk.compare("10");
}

/// The reference traces none of the three calls. Here the two outside of the trace are traces of their own.
#[tokio::test]
async fn golden_12_openai_embeddings_and_legacy_completions() {
    let Some(golden) = recorded(12) else { return };
    let mut talk = Talk::new(golden, |_, answer| answer);
    let request = talk.request();
    let _: Value = talk.client(0).embeddings().create_byot(request).await.unwrap();
    talk.traced().await;
    let request = talk.request();
    let _: Value = talk.client(0).completions().create_byot(request).await.unwrap();
    talk.traced().await;
    let (client, request) = (talk.client(0), talk.request());
    let inside = talk.world.client.trace("t").scope(async |_| client.embeddings().create_byot(request).await);
    let _: Value = inside.await.unwrap();
    let (golden, posted) = talk.posted();
    let (inside, alone): (Vec<_>, Vec<_>) =
        posted.into_iter().partition(|posted| posted.json.as_ref().unwrap()["name"] == "t");
    compare("12", golden.pandaprobe_requests.iter().enumerate(), &inside);
    let alone: Vec<_> = alone.into_iter().filter_map(|posted| posted.json).collect();
    let names: Vec<_> = alone.iter().map(|trace| &trace["name"]).collect();
    assert_eq!(names, ["openai-embedding", "openai-completion"]);
    assert_eq!(alone[0]["spans"][0]["output"], json!({"count": 1, "dimensions": 2}));
    assert_eq!(alone[1]["spans"][0]["output"], json!({"messages": [{"role": "assistant", "content": "x"}]}));
}

/// Six of the twelve calls are those that the reference traces. The others went through entry points that it forgets:
/// here all of them are one and the same request.
#[tokio::test]
async fn golden_24_openai_other_entry_points() {
    const FORGOTTEN: [usize; 6] = [0, 2, 3, 4, 6, 7];
    let Some(golden) = recorded(24) else { return };
    let with = |forgotten: bool| {
        let mut kept = golden.clone();
        let exchanges = golden.provider_exchanges.iter().enumerate();
        let wanted = exchanges.filter(|(place, _)| FORGOTTEN.contains(place) == forgotten);
        kept.provider_exchanges = wanted.map(|(_, exchange)| exchange.clone()).collect();
        Talk::new(kept, |_, answer| answer)
    };
    let mut talk = with(false);
    for _ in 0..5 {
        talk.call().await;
        talk.traced().await;
    }
    let (wrapped, http) = (talk.client(0), reqwest::Client::new());
    let twice = talk.handler().wrap_with(talk.handler().wrap_with(wrapped, http.clone()), http);
    let _: Value = twice.chat().create_byot(talk.request()).await.unwrap();
    talk.compare("24");

    let mut talk = with(true);
    for _ in FORGOTTEN {
        talk.call().await;
        talk.traced().await;
    }
    let traced: Vec<_> = talk.world.posted().into_iter().filter_map(|posted| posted.json).collect();
    assert_eq!(traced.len(), FORGOTTEN.len());
    for trace in traced {
        let span = &trace["spans"][0];
        assert_eq!((&span["status"], &span["kind"]), (&json!("OK"), &json!("LLM")));
        assert!(
            span["output"]["messages"][0]["content"].as_str().is_some_and(|text| !text.is_empty()),
            "{span}"
        );
    }
}

/// The last score is out of the range that the backend takes: here it is not sent, but reported.
#[test]
fn golden_20_score() {
    const OUT_OF_RANGE: usize = 4;
    let Some(golden) = recorded(20) else { return };
    let world = World::new();
    let id = world.client.trace("to-score").run(|trace| trace.id());
    world.client.flush(SOON).unwrap();
    inside(&world, || rules::scores(id, || world.client.flush(SOON).unwrap()));
    assert_eq!(world.client.stats().reports[&ReportKind::InvalidScore], 1);
    let requests = golden.pandaprobe_requests.iter().enumerate();
    compare("20", requests.filter(|(place, _)| *place != OUT_OF_RANGE), &world.posted());
}

#[tokio::test]
async fn golden_21_decorators() {
    let Some(golden) = recorded(21) else { return };
    let world = World::new();
    Scope::new().client(world.client.clone()).scope(rules::decorators()).await;
    world.compare(&golden, "21");
}

/// Metadata that is empty is left out here, as everywhere; the reference sends it.
#[test]
fn golden_22_capture_traces() {
    let Some(golden) = recorded(22) else { return };
    let world = World::new();
    let heard = inside(&world, || rules::captures(|| world.client.flush(SOON).unwrap()));
    assert_eq!(heard, ["t0", "t1", "t2"]);
    world.compare(&golden, "22");
}

/// The reference lost all three calls: its recording has no request. Here a stream that its reader
/// drops is `OK`, with what was read and `metadata["pandaprobe.end"]`, and nothing of it concerns the calls that
/// follow. So what is compared with is not recorded, but written here.
#[tokio::test]
async fn golden_25_openai_abandoned_stream() {
    let Some(golden) = recorded(25) else { return };
    assert!(golden.pandaprobe_requests.is_empty());
    let model = golden.provider_exchanges[1]["response"]["body"]["model"].clone();
    let mut talk = Talk::new(golden, |place, answer| if place == 0 { answer.hang_after(1) } else { answer });
    assert_eq!(talk.read(1).await.unwrap(), "");
    talk.traced().await;
    assert_eq!(talk.ask(0).await.unwrap(), "second call");
    talk.traced().await;
    assert_eq!(talk.ask(0).await.unwrap(), "third call");
    talk.traced().await;

    let stopped = json!({"pandaprobe.end": "stopped_by_reader"});
    let finished = json!({"finish_reason": "stop"});
    let usage = json!({"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150, "reasoning_tokens": 20,
                       "cache_read_tokens": 64, "accepted_prediction_tokens": 3});
    let expected = [
        ("hi", "", stopped, None),
        ("unrelated 2", "second call", finished.clone(), Some(&usage)),
        ("unrelated 3", "third call", finished, Some(&usage)),
    ];
    let (golden, posted) = talk.posted();
    let expected = expected.into_iter().zip(&golden.provider_exchanges).map(|(expected, exchange)| {
        let (asked_last, said, metadata, usage) = expected;
        let output: Value = Messages::new().assistant(said).into();
        let mut span = json!({
            "span_id": UUID, "name": "openai-chat", "kind": "LLM", "status": "OK", "model": model,
            "input": {"messages": exchange["request"]["body"]["messages"]}, "output": output, "metadata": metadata,
            "model_parameters": {}, "started_at": TIME, "ended_at": TIME});
        if let Some(usage) = usage {
            span["token_usage"] = usage.clone();
        }
        let input: Value = Messages::new().user(asked_last).into();
        json!({
            "method": "POST", "path": "/traces", "response_status": 202,
            "headers": {"x-api-key": "sk_pp_golden", "x-project-name": "golden-project",
                        "content-type": "application/json", "accept": "*/*"},
            "body": {"trace_id": UUID, "name": "openai-chat", "status": "COMPLETED", "started_at": TIME,
                     "ended_at": TIME, "input": input, "output": output, "spans": [span]}})
    });
    let expected: Vec<Value> = expected.collect();
    compare("25", expected.iter().enumerate(), &posted);
}

const UUID: &str = "fe88a3f0-978b-4e4a-b745-3f0a9515def8";
const TIME: &str = "2026-11-22T14:13:48.734738+00:00";

//! What a wrapped `async-openai` client records beside chat completions, and that its caller sees what it would see
//! without.

#![expect(clippy::panic, reason = "helpers of tests fail as tests do")]

use async_openai::{
    Client,
    config::OpenAIConfig,
    types::{
        InputSource,
        audio::{AudioInput, CreateSpeechRequest, CreateTranscriptionRequest},
        images::{CreateImageEditRequest, ImageEditInput, ImageInput},
    },
};
use futures_util::StreamExt;
use pandaprobe::{
    OpenAiHandler, SpanData, SpanKind, SpanStatus, TraceStatus,
    testing::{Captured, capture},
};
use pandaprobe_tests::provider::{Exchange, Provider};
use serde_json::{Value, json};

type OpenAi = Client<OpenAIConfig>;

fn bare(provider: &Provider) -> OpenAi {
    let config =
        OpenAIConfig::new().with_api_base(format!("{}/v1", provider.url())).with_api_key("sk-secret");
    Client::with_config(config)
}

/// One call, and what its caller sees of it.
#[derive(Clone, Copy)]
enum Call {
    Respond,
    RespondStreaming,
    Chat,
    ChatStreaming,
    Embed,
    Complete,
    CompleteStreaming,
}

impl Call {
    async fn see(self, client: &OpenAi, request: Value) -> Vec<String> {
        let seen = |answer: Result<Value, _>| vec![format!("{answer:?}")];
        let mut streaming = request.clone();
        streaming["stream"] = true.into();
        let stream = match self {
            Self::Respond => return seen(client.responses().create_byot(request).await),
            Self::Chat => return seen(client.chat().create_byot(request).await),
            Self::Complete => return seen(client.completions().create_byot(request).await),
            Self::Embed => return seen(client.embeddings().create_byot(request).await),
            Self::RespondStreaming => client.responses().create_stream_byot(streaming).await,
            Self::CompleteStreaming => client.completions().create_stream_byot(streaming).await,
            Self::ChatStreaming => client.chat().create_stream_byot(streaming).await,
        };
        match stream {
            Err(error) => vec![format!("{error:?}")],
            Ok(stream) => stream.map(|event: Result<Value, _>| format!("{event:?}")).collect().await,
        }
    }
}

/// What is recorded of one call whose caller sees the same with and without.
async fn recorded(call: Call, request: Value, answer: Exchange) -> Captured<()> {
    let (one, two) = (Provider::start([answer.clone()]), Provider::start([answer]));
    let without = call.see(&bare(&one), request.clone()).await;
    capture(|| async {
        let client = OpenAiHandler::new().wrap(bare(&two));
        assert_eq!(call.see(&client, request).await, without);
    })
    .await
}

fn span<'a>(captured: &'a Captured<()>, name: &str) -> &'a SpanData {
    let spans = &captured.traces[0].spans;
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no span {name}: {spans:?}"))
}

fn asked() -> Value {
    json!({"model": "gpt-5-mini", "input": "weather?", "instructions": "be brief", "max_output_tokens": 9})
}

fn response(status: &str, output: Value) -> Value {
    json!({"id": "resp_1", "object": "response", "status": status, "model": "gpt-5-mini-2025-08-07", "output": output,
        "error": null, "incomplete_details": null, "usage": {"input_tokens": 20, "output_tokens": 8, "total_tokens": 28,
            "input_tokens_details": {"cached_tokens": 4}, "output_tokens_details": {"reasoning_tokens": 3}}})
}

fn said(text: &str) -> Value {
    json!({"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}]})
}

fn thought(texts: &[&str]) -> Value {
    let summary: Vec<Value> =
        texts.iter().map(|text| json!({"type": "summary_text", "text": text})).collect();
    json!({"type": "reasoning", "id": "rs_1", "summary": summary})
}

fn messages(text: &str) -> Option<Value> {
    Some(json!({"messages": [{"role": "assistant", "content": text}]}))
}

/// A stream that says "Sun" and ends with `last`; with nothing if that is null.
fn streamed(last: Value) -> Exchange {
    let created =
        json!({"type": "response.created", "response": {"id": "resp_1", "model": "gpt-5-mini-2025-08-07"}});
    let added = json!({"type": "response.output_item.added", "output_index": 0,
        "item": {"type": "message", "id": "msg_1", "role": "assistant", "content": []}});
    let delta = json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0,
        "item_id": "msg_1", "delta": "Sun"});
    let events = [created, added, delta, last].into_iter().filter(|event| !event.is_null());
    Exchange::sse(events.map(|event| json!({"event": event["type"], "data": event})))
}

#[tokio::test]
async fn a_response_is_an_llm_span_and_its_tools_are_steps_below_it() {
    let items = json!([
        thought(&["first", "second"]),
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "add", "arguments": "{\"b\": 2}", "status": "completed"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "rust"}},
        {"type": "file_search_call", "id": "fs_1", "status": "completed", "queries": ["q"], "results": [{"file_id": "f"}]},
        {"type": "code_interpreter_call", "id": "ci_1", "status": "completed", "code": "1+1", "container_id": "c",
            "outputs": [{"type": "logs", "logs": "2"}]},
        {"type": "mcp_list_tools", "id": "ml_1", "server_label": "docs", "tools": [{"name": "ask"}]},
        {"type": "mcp_call", "id": "mc_1", "server_label": "docs", "name": "ask", "arguments": "{\"q\":1}", "output": "yes"},
        {"type": "mcp_call", "id": "mc_2", "server_label": "docs", "name": "ask", "arguments": "{}", "output": null,
            "error": {"message": "down"}, "status": "failed"},
        {"type": "mcp_approval_request", "id": "ma_1", "server_label": "docs", "name": "ask", "arguments": "{}"},
        {"type": "compaction", "id": "cm_1", "encrypted_content": "secret"},
        said("Sunny."),
    ]);
    let whole = response("completed", items);
    let event = json!({"type": "response.completed", "response": whole});
    for (call, answer) in
        [(Call::Respond, Exchange::json(200, whole.clone())), (Call::RespondStreaming, streamed(event))]
    {
        let captured = recorded(call, asked(), answer).await;
        let trace = captured.trace("openai-response");
        assert_eq!(trace.status, TraceStatus::Completed);
        assert_eq!(trace.input, Some(json!({"messages": [{"role": "user", "content": "weather?"}]})));
        let llm = span(&captured, "openai-response");
        assert_eq!((llm.kind, llm.status), (SpanKind::Llm, SpanStatus::Ok));
        assert_eq!(llm.model.as_deref(), Some("gpt-5-mini-2025-08-07"));
        assert_eq!(llm.metadata["reasoning_summary"], "first\n\nsecond");
        assert_eq!(llm.model_parameters.as_ref().unwrap()["max_output_tokens"], 9);
        assert_eq!(
            serde_json::to_value(&llm.token_usage).unwrap(),
            json!({"prompt_tokens": 20, "completion_tokens": 8, "total_tokens": 28, "reasoning_tokens": 3, "cache_read_tokens": 4})
        );
        let answer = &llm.output.as_ref().unwrap()["messages"][0];
        assert_eq!(
            (&answer["content"], &answer["tool_calls"][0]["id"]),
            (&json!("Sunny."), &json!("call_1"))
        );

        let steps: Vec<&SpanData> = trace.spans.iter().filter(|span| span.span_id != llm.span_id).collect();
        for step in &steps {
            assert_eq!((step.kind, step.parent_span_id), (SpanKind::Tool, Some(llm.span_id)), "{step:?}");
            assert!(step.started_at >= llm.started_at && step.ended_at.unwrap() <= llm.ended_at.unwrap());
            assert_eq!(step.status == SpanStatus::Error, step.error.is_some(), "{step:?}");
        }
        let seen: Vec<Value> =
            steps.iter().map(|step| json!([step.name, step.input, step.output, step.error])).collect();
        let expected = [
            json!(["function_call:add", "{\"b\": 2}", null, null]),
            json!(["web_search", {"type": "web_search_call", "id": "ws_1", "status": "completed",
                "action": {"type": "search", "query": "rust"}}, {"status": "completed"}, null]),
            json!(["file_search", {"type": "file_search_call", "id": "fs_1", "status": "completed", "queries": ["q"]},
                {"status": "completed", "results": [{"file_id": "f"}]}, null]),
            json!(["code_interpreter", {"type": "code_interpreter_call", "id": "ci_1", "status": "completed", "code": "1+1",
                "container_id": "c"}, {"status": "completed", "results": [{"type": "logs", "logs": "2"}]}, null]),
            json!(["mcp_list_tools", {"type": "mcp_list_tools", "id": "ml_1", "server_label": "docs"},
                {"results": [{"name": "ask"}]}, null]),
            json!(["mcp:ask", {"q": 1}, "yes", null]),
            json!(["mcp:ask", {}, null, "down"]),
        ];
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn a_completed_response_is_success() {
    let event =
        json!({"type": "response.completed", "response": response("completed", json!([said("Sunny.")]))});
    let captured = recorded(Call::RespondStreaming, asked(), streamed(event)).await;
    let llm = span(&captured, "openai-response");
    assert_eq!((llm.status, &llm.error, &llm.output), (SpanStatus::Ok, &None, &messages("Sunny.")));
    assert_eq!(llm.metadata["finish_reason"], "completed");
    assert!(llm.completion_start_time.is_some(), "the first delta is the first token");
}

#[tokio::test]
async fn an_incomplete_response_keeps_what_came_and_says_why() {
    let mut cut = response("incomplete", json!([said("Sun")]));
    cut["incomplete_details"] = json!({"reason": "max_output_tokens"});
    let event = json!({"type": "response.incomplete", "response": cut});
    for (call, answer) in
        [(Call::Respond, Exchange::json(200, cut)), (Call::RespondStreaming, streamed(event))]
    {
        let captured = recorded(call, asked(), answer).await;
        let llm = span(&captured, "openai-response");
        assert_eq!((llm.status, &llm.error, &llm.output), (SpanStatus::Ok, &None, &messages("Sun")));
        assert_eq!(llm.metadata["finish_reason"], "max_output_tokens");
        assert_eq!(llm.token_usage.as_ref().unwrap().total_tokens, Some(28));
    }
}

#[tokio::test]
async fn a_failed_response_is_an_error_with_what_came() {
    let mut failed = response("failed", json!([]));
    failed["error"] = json!({"code": "server_error", "message": "boom"});
    let event = json!({"type": "response.failed", "response": failed});
    for (call, answer, output) in [
        (Call::Respond, Exchange::json(200, failed), None),
        (Call::RespondStreaming, streamed(event), messages("Sun")),
    ] {
        let captured = recorded(call, asked(), answer).await;
        let llm = span(&captured, "openai-response");
        assert_eq!(
            (llm.status, llm.error.as_deref()),
            (SpanStatus::Error, Some("boom (code: server_error)"))
        );
        assert_eq!(llm.output, output);
        assert_eq!(captured.traces[0].status, TraceStatus::Error);
    }
}

#[tokio::test]
async fn an_error_event_is_an_error_with_what_came() {
    let event =
        json!({"type": "error", "code": "rate_limit_exceeded", "message": "slow down", "param": null});
    let captured = recorded(Call::RespondStreaming, asked(), streamed(event)).await;
    let llm = span(&captured, "openai-response");
    assert_eq!(
        (llm.status, llm.error.as_deref()),
        (SpanStatus::Error, Some("slow down (code: rate_limit_exceeded)"))
    );
    assert_eq!(llm.output, messages("Sun"));
}

#[tokio::test]
async fn a_response_without_a_terminal_event_is_an_error_and_one_that_is_left_is_none() {
    let captured = recorded(Call::RespondStreaming, asked(), streamed(Value::Null)).await;
    let llm = span(&captured, "openai-response");
    assert_eq!((llm.status, &llm.output), (SpanStatus::Error, &messages("Sun")));

    let provider = Provider::start([streamed(Value::Null).hang_after(3)]);
    let captured = capture(|| async {
        let client = OpenAiHandler::new().wrap(bare(&provider));
        let mut request = asked();
        request["stream"] = true.into();
        let stream = client.responses().create_stream_byot::<_, Value>(request).await.unwrap();
        assert_eq!(stream.take(3).count().await, 3);
    })
    .await;
    let llm = span(&captured, "openai-response");
    assert_eq!((llm.status, &llm.output), (SpanStatus::Ok, &messages("Sun")));
    assert_eq!(llm.metadata["pandaprobe.end"], "stopped_by_reader");
}

#[tokio::test]
async fn a_response_that_is_refused_with_a_status_is_an_error() {
    let error = json!({"error": {"message": "no such model", "type": "invalid_request_error", "code": "model_not_found", "param": null}});
    for call in [Call::Respond, Call::RespondStreaming] {
        let captured = recorded(call, asked(), Exchange::json(404, error.clone())).await;
        let llm = span(&captured, "openai-response");
        let expected = "404: no such model (type: invalid_request_error, code: model_not_found)";
        assert_eq!((llm.status, llm.error.as_deref()), (SpanStatus::Error, Some(expected)));
        assert_eq!((llm.model.as_deref(), &llm.output), (Some("gpt-5-mini"), &None));
    }
}

fn chat_request(choices: u32) -> Value {
    json!({"model": "gpt-4o", "n": choices, "messages": [{"role": "user", "content": "hi"}]})
}

fn chat_answer(messages: &[Value]) -> Value {
    let choices: Vec<Value> = (0..)
        .zip(messages)
        .map(|(index, message)| json!({"index": index, "message": message, "finish_reason": "stop"}))
        .collect();
    json!({"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-4o", "choices": choices})
}

fn chunk(index: u32, delta: Value, finish: Option<&str>) -> Value {
    json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o",
        "choices": [{"index": index, "delta": delta, "finish_reason": finish}]})
}

#[tokio::test]
async fn two_choices_are_two_messages_and_are_not_mixed() {
    let text = |text: &str| json!({"role": "assistant", "content": text});
    let whole = chat_answer(&[text("one"), text("two")]);
    let chunks = Exchange::sse([
        chunk(1, json!({"role": "assistant", "content": "t"}), None),
        chunk(0, json!({"role": "assistant", "content": "on"}), None),
        chunk(1, json!({"content": "wo"}), None),
        chunk(0, json!({"content": "e"}), Some("stop")),
        chunk(1, json!({}), Some("length")),
        json!("[DONE]"),
    ]);
    for (call, answer) in [(Call::Chat, Exchange::json(200, whole)), (Call::ChatStreaming, chunks)] {
        let captured = recorded(call, chat_request(2), answer).await;
        let llm = span(&captured, "openai-chat");
        assert_eq!(llm.output, Some(json!({"messages": [text("one"), text("two")]})));
        assert_eq!((&llm.metadata["choices"], &llm.metadata["finish_reason"]), (&json!(2), &json!("stop")));
        assert_eq!(llm.status, SpanStatus::Ok);
    }
}

#[tokio::test]
async fn a_refusal_is_the_answer() {
    let whole = chat_answer(&[json!({"role": "assistant", "content": null, "refusal": "I will not."})]);
    let chunks = Exchange::sse([
        chunk(0, json!({"role": "assistant", "content": null, "refusal": "I will"}), None),
        chunk(0, json!({"refusal": " not."}), Some("stop")),
        json!("[DONE]"),
    ]);
    for (call, answer) in [(Call::Chat, Exchange::json(200, whole)), (Call::ChatStreaming, chunks)] {
        let captured = recorded(call, chat_request(1), answer).await;
        let llm = span(&captured, "openai-chat");
        assert_eq!((llm.status, &llm.output), (SpanStatus::Ok, &messages("I will not.")));
    }

    let mut refused = said("");
    refused["content"] = json!([{"type": "refusal", "refusal": "I will not."}]);
    let whole = response("completed", json!([refused]));
    let event = json!({"type": "response.completed", "response": whole});
    for (call, answer) in
        [(Call::Respond, Exchange::json(200, whole)), (Call::RespondStreaming, streamed(event))]
    {
        let captured = recorded(call, asked(), answer).await;
        let llm = span(&captured, "openai-response");
        assert_eq!((llm.status, &llm.output), (SpanStatus::Ok, &messages("I will not.")));
    }
}

#[tokio::test]
async fn embeddings_are_counted_and_never_kept() {
    let vector =
        |index: u32| json!({"object": "embedding", "index": index, "embedding": [0.25, -0.5, 0.125]});
    let answer = json!({"object": "list", "model": "text-embedding-3-small", "data": [vector(0), vector(1)],
        "usage": {"prompt_tokens": 7, "total_tokens": 7}});
    let request = json!({"model": "text-embedding-3-small", "input": ["a", "b"], "dimensions": 3});
    let captured = recorded(Call::Embed, request, Exchange::json(200, answer)).await;
    let embedding = span(&captured, "openai-embedding");
    assert_eq!((embedding.kind, embedding.status), (SpanKind::Embedding, SpanStatus::Ok));
    assert_eq!(embedding.output, Some(json!({"count": 2, "dimensions": 3})));
    let inputs = json!({"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]});
    assert_eq!(embedding.input, Some(inputs));
    assert_eq!(embedding.model_parameters.as_ref().unwrap()["dimensions"], 3);
    assert_eq!(embedding.token_usage.as_ref().unwrap().prompt_tokens, Some(7));
    assert!(!serde_json::to_string(&captured.traces[0]).unwrap().contains("0.25"));

    let error = json!({"error": {"message": "too long", "type": "invalid_request_error", "code": null, "param": null}});
    let captured =
        recorded(Call::Embed, json!({"model": "m", "input": "a"}), Exchange::json(400, error)).await;
    let embedding = span(&captured, "openai-embedding");
    assert_eq!(embedding.status, SpanStatus::Error);
    assert_eq!(
        (&embedding.output, embedding.error.as_deref()),
        (&None, Some("400: too long (type: invalid_request_error)"))
    );
}

#[tokio::test]
async fn only_what_asks_a_model_is_traced() {
    let stored = || Exchange::json(200, response("completed", json!([])));
    let provider =
        Provider::start([stored(), stored(), Exchange::json(200, json!({"object": "list", "data": []}))]);
    let captured = capture(|| async {
        let client = OpenAiHandler::new().wrap(bare(&provider));
        let _: Value = client.responses().retrieve_byot("resp_1").await.unwrap();
        let _: Value = client.responses().cancel_byot("resp_1").await.unwrap();
        let _: Value = client.chat().list_byot().await.unwrap();
    })
    .await;
    assert_eq!(provider.requests().len(), 3);
    assert!(captured.traces.is_empty(), "{:?}", captured.traces);
}

#[tokio::test]
async fn legacy_completions_are_llm_spans() {
    let choice = |index: u32, text: &str| json!({"index": index, "text": text, "finish_reason": "stop", "logprobs": null});
    let usage = json!({"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3});
    let whole = json!({"id": "cmpl", "object": "text_completion", "created": 1, "model": "instruct",
        "choices": [choice(0, "once upon")], "usage": usage});
    let piece = |text: &str| {
        let mut piece = whole.clone();
        piece["choices"] = json!([choice(0, text)]);
        piece
    };
    let request = json!({"model": "instruct", "prompt": "tell", "max_tokens": 5});
    let stream = Exchange::sse([piece("once"), piece(" upon"), json!("[DONE]")]);
    for (call, answer) in
        [(Call::Complete, Exchange::json(200, whole.clone())), (Call::CompleteStreaming, stream)]
    {
        let captured = recorded(call, request.clone(), answer).await;
        let llm = span(&captured, "openai-completion");
        assert_eq!((llm.kind, llm.status), (SpanKind::Llm, SpanStatus::Ok));
        assert_eq!(llm.input, Some(json!({"messages": [{"role": "user", "content": "tell"}]})));
        assert_eq!(llm.output, messages("once upon"));
        assert_eq!(llm.token_usage.as_ref().unwrap().total_tokens, Some(3));
    }
}

/// Runs `call` against a provider that answers once, with a bare client and with a wrapped one.
async fn compared<T: PartialEq + std::fmt::Debug>(
    answer: Exchange,
    call: impl AsyncFn(OpenAi) -> T,
) -> (Captured<()>, Provider) {
    let (one, two) = (Provider::start([answer.clone()]), Provider::start([answer]));
    let without = call(bare(&one)).await;
    let captured = capture(|| async {
        let client = OpenAiHandler::new().wrap(bare(&two));
        assert_eq!(call(client).await, without);
    })
    .await;
    (captured, two)
}

fn file(bytes: usize) -> InputSource {
    InputSource::VecU8 { filename: "a.bin".to_owned(), vec: vec![b'x'; bytes] }
}

#[tokio::test]
async fn images_are_references_with_their_size() {
    let image = "A".repeat(4000);
    let answer = json!({"created": 1, "output_format": "png", "data": [{"b64_json": image}],
        "usage": {"input_tokens": 4, "output_tokens": 6, "total_tokens": 10}});
    let (captured, _) = compared(Exchange::json(200, answer.clone()), async |client| {
        let request = json!({"model": "gpt-image-1", "prompt": "a cat", "size": "1x1"});
        client.images().generate_byot::<_, Value>(request).await.unwrap()
    })
    .await;
    let generated = span(&captured, "openai-image");
    assert_eq!((generated.kind, generated.status), (SpanKind::Llm, SpanStatus::Ok));
    assert_eq!(generated.input, Some(json!({"messages": [{"role": "user", "content": "a cat"}]})));
    let image = json!({"type": "image", "media_type": "image/png", "bytes": 3000});
    assert_eq!(generated.output, Some(json!({"messages": [{"role": "assistant", "content": [image]}]})));
    assert_eq!(generated.token_usage.as_ref().unwrap().total_tokens, Some(10));

    // The form of an edit cannot be seen without taking it from the caller.
    let (captured, provider) = compared(Exchange::json(200, answer), async |client| {
        let image = ImageEditInput::Image(ImageInput { source: file(5_000) });
        let request = CreateImageEditRequest { image, prompt: "a dog".to_owned(), ..Default::default() };
        format!("{:?}", client.images().edit(request).await)
    })
    .await;
    let sent = provider.requests()[0].body.len();
    let edited = span(&captured, "openai-image");
    let form = json!({"messages": [{"role": "user", "content": [{"type": "multipart", "bytes": sent}]}]});
    assert_eq!((edited.status, &edited.input), (SpanStatus::Ok, &Some(form)));
    assert!(sent > 5_000);
}

#[tokio::test]
async fn audio_is_a_reference_with_its_size_and_transcripts_are_text() {
    let (captured, _) = compared(Exchange::raw(200, "audio/mpeg", vec![7_u8; 30_000]), async |client| {
        let request = CreateSpeechRequest { input: "hello".to_owned(), ..Default::default() };
        client.audio().speech().create(request).await.unwrap().bytes
    })
    .await;
    let spoken = span(&captured, "openai-speech");
    let audio = json!({"type": "audio", "media_type": "audio/mpeg", "bytes": 30_000});
    assert_eq!(spoken.output, Some(json!({"messages": [{"role": "assistant", "content": [audio]}]})));
    assert_eq!(spoken.input, Some(json!({"messages": [{"role": "user", "content": "hello"}]})));

    let answer = json!({"text": "hello there", "usage": {"type": "tokens", "input_tokens": 14, "output_tokens": 4, "total_tokens": 18}});
    let (captured, provider) = compared(Exchange::json(200, answer), async |client| {
        let request = CreateTranscriptionRequest {
            file: AudioInput { source: file(9_000) },
            model: "whisper-1".to_owned(),
            ..Default::default()
        };
        format!("{:?}", client.audio().transcription().create(request).await)
    })
    .await;
    let heard = span(&captured, "openai-transcription");
    assert_eq!((heard.status, &heard.output), (SpanStatus::Ok, &messages("hello there")));
    assert_eq!(heard.token_usage.as_ref().unwrap().total_tokens, Some(18));
    let form = json!([{"type": "multipart", "bytes": provider.requests()[0].body.len()}]);
    assert_eq!(heard.input.as_ref().unwrap()["messages"][0]["content"], form);
}

#[tokio::test]
async fn a_moderation_says_what_was_flagged() {
    let answer = json!({"id": "modr-1", "model": "omni-moderation-latest", "results": [
        {"flagged": true, "categories": {"violence": true, "hate": false}, "category_scores": {"violence": 0.9, "hate": 0.1}}]});
    let (captured, _) = compared(Exchange::json(200, answer), async |client| {
        client.moderations().create_byot::<_, Value>(json!({"input": "I will"})).await.unwrap()
    })
    .await;
    let moderated = span(&captured, "openai-moderation");
    assert_eq!((moderated.kind, moderated.status), (SpanKind::Other, SpanStatus::Ok));
    assert_eq!(moderated.output, Some(json!({"results": [{"flagged": true, "categories": ["violence"]}]})));
    assert_eq!(moderated.input, Some(json!({"messages": [{"role": "user", "content": "I will"}]})));
}

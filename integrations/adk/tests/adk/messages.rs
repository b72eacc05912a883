//! adk's contents as they are recorded.

use adk_core::{
    Content, EmbeddedResource, FileDataPart, FunctionResponseData, InlineDataPart, LlmRequest, LlmResponse,
    Part, TextResourceContents,
};
use futures_util::StreamExt;
use pandaprobe_adk::AdkHandler;
use pandaprobe_core::testing::{Captured, capture};
use serde_json::{Value, json};

use crate::{
    context::tool_context,
    kit::{Piece, Scripted, answer, call, partial, text, tool},
};

fn content(role: &str, parts: Vec<Part>) -> Content {
    Content { role: role.to_owned(), parts }
}

async fn exchange(request: Vec<Content>, pieces: Vec<Piece>) -> Captured<()> {
    let captured = capture(|| async {
        let model = AdkHandler::new().llm(Scripted::turns("m", [pieces]));
        let answer = model.generate_content(LlmRequest::new("", request), true).await.unwrap();
        answer.for_each(|_| async {}).await;
    });
    captured.await
}

async fn asked(request: Vec<Content>) -> Value {
    exchange(request, Vec::new()).await.span("m").input.clone().unwrap()["messages"].clone()
}

#[tokio::test]
async fn roles_are_those_of_the_platform() {
    let request = ["system", "user", "model", "assistant", "function", "tool", "oracle"];
    let request = request.map(|role| content(role, vec![text("x")])).to_vec();
    let roles: Vec<_> =
        asked(request).await.as_array().unwrap().iter().map(|said| said["role"].clone()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "assistant", "tool", "tool", "oracle"]);
}

#[tokio::test]
async fn texts_are_joined_and_calls_and_results_are_messages() {
    let result = |name: &str, value| Part::FunctionResponse {
        function_response: FunctionResponseData::new(name, value),
        id: Some("1".to_owned()),
        annotations: None,
    };
    let thinking = Part::Thinking { thinking: "hm".to_owned(), signature: Some("secret".to_owned()) };
    let request = vec![
        content("user", vec![text("a"), text("b")]),
        content("model", vec![thinking, text("c"), call("f", json!({"x": 1}))]),
        content("function", vec![result("f", json!({"y": 2})), result("g", json!("z")), text("after")]),
        content("user", Vec::new()),
    ];
    assert_eq!(
        asked(request).await,
        json!([
            {"role": "user", "content": "ab"},
            {"role": "assistant", "content": "c", "reasoning_content": "hm", "tool_calls": [
                {"id": "call-f", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}}]},
            {"role": "tool", "tool_call_id": "1", "name": "f", "content": {"y": 2}},
            {"role": "tool", "tool_call_id": "1", "name": "g", "content": "z"},
            {"role": "tool", "content": "after"},
        ])
    );
}

#[tokio::test]
async fn files_are_references_without_their_bytes() {
    let inline = |mime_type: &str| Part::InlineData {
        mime_type: mime_type.to_owned(),
        data: vec![7; 1000],
        uri: Some("file:///x".to_owned()),
        annotations: None,
    };
    let by_url = |url: &str| Part::FileData {
        mime_type: "image/png".to_owned(),
        file_uri: url.to_owned(),
        annotations: None,
    };
    let resource = TextResourceContents::new("file:///notes", None, "notes");
    let request = vec![content(
        "user",
        vec![
            text("look"),
            inline("image/png"),
            inline("application/pdf"),
            by_url("https://x.example/a.png"),
            by_url("data:image/png;base64,AAAA"),
            Part::EmbeddedResource { resource: EmbeddedResource::Text(resource) },
            Part::ServerToolCall { server_tool_call: json!({"search": "x"}) },
        ],
    )];
    assert_eq!(
        asked(request).await[0]["content"],
        json!([
            {"type": "text", "text": "look"},
            {"type": "image", "media_type": "image/png", "url": "file:///x", "bytes": 1000},
            {"type": "file", "media_type": "application/pdf", "url": "file:///x", "bytes": 1000},
            {"type": "image", "media_type": "image/png", "url": "https://x.example/a.png"},
            {"type": "image", "media_type": "image/png", "bytes": 3},
            {"type": "resource", "url": "file:///notes", "text": "notes"},
            {"server_tool_call": {"search": "x"}},
        ])
    );
}

#[tokio::test]
async fn files_of_tools_are_references_too() {
    let captured = capture(|| async {
        let paints = tool("paint", |_, _| async {
            Ok(json!({"response": "done", "inline_data": [{"mime_type": "image/png", "data": [1, 2, 3]}, 4]}))
        });
        AdkHandler::new().tool(paints).execute(tool_context("ada"), json!({})).await.unwrap();
    })
    .await;
    let expected = json!({"response": "done", "inline_data": [{"type": "image", "media_type": "image/png", "bytes": 3}, 4]});
    assert_eq!(captured.span("paint").output, Some(expected));

    let image =
        InlineDataPart { mime_type: "image/png".to_owned(), data: vec![1; 5], uri: None, annotations: None };
    let file =
        FileDataPart { mime_type: "text/plain".to_owned(), file_uri: "gs://a".to_owned(), annotations: None };
    let response =
        FunctionResponseData::with_multimodal("paint", json!({"ok": true}), vec![image], vec![file]);
    let part = Part::FunctionResponse { function_response: response, id: None, annotations: None };
    assert_eq!(
        asked(vec![content("function", vec![part])]).await[0]["content"],
        json!([
            {"type": "json", "json": {"ok": true}},
            {"type": "image", "media_type": "image/png", "bytes": 5},
            {"type": "file", "media_type": "text/plain", "url": "gs://a"},
        ])
    );
}

#[tokio::test]
async fn a_whole_answer_takes_the_place_of_its_pieces() {
    let mut whole = LlmResponse::new(content("model", vec![text("It is sunny."), call("f", json!({}))]));
    whole.provider_metadata = Some(json!({"content_complete": true}));
    let pieces =
        vec![partial(vec![text("It is ")]), partial(vec![text("sunny.")]), Piece::Say(Box::new(whole))];
    let captured = exchange(Vec::new(), pieces).await;
    let said = &captured.span("m").output.as_ref().unwrap()["messages"][0];
    assert_eq!((&said["content"], said["tool_calls"].as_array().unwrap().len()), (&json!("It is sunny."), 1));
}

#[tokio::test]
async fn cost_and_counts_that_nobody_knows_are_absent() {
    let mut response = LlmResponse::new(content("model", vec![text("hm")]));
    response.usage_metadata = Some(adk_core::UsageMetadata { cost: Some(0.25), ..Default::default() });
    let captured = exchange(Vec::new(), vec![Piece::Say(Box::new(response))]).await;
    let span = captured.span("m");
    assert_eq!((span.token_usage.as_ref(), span.cost.as_ref().unwrap().total), (None, 0.25));
    assert_eq!(span.model.as_deref(), Some("m"));
}

/// 30 MB, and what no JSON of a provider looks like: recorded as far as the limits go, and never in the way.
#[tokio::test]
async fn huge_and_odd_values_do_no_harm() {
    let captured = capture(|| async {
        let huge = tool("huge", |_, _| async { Ok(json!({"text": "x".repeat(30 << 20)})) });
        let huge = AdkHandler::new()
            .tool(huge)
            .execute(tool_context("ada"), json!({"\0": "\u{fffe}"}))
            .await
            .unwrap();
        let mut deep = json!(1);
        for _ in 0..500 {
            deep = json!([deep]);
        }
        let odd = tool("", move |_, _| {
            let deep = deep.clone();
            async move { Ok(deep) }
        });
        AdkHandler::new().tool(odd).execute(tool_context("ada"), Value::Null).await.unwrap();
        huge["text"].as_str().unwrap().len()
    })
    .await;
    assert_eq!(captured.output, 30 << 20);
    assert_eq!(captured.span("huge").status, pandaprobe_core::SpanStatus::Ok);
    assert_eq!(captured.traces.len(), 2);
    let odd = exchange(vec![content("", vec![text("\0")])], vec![answer(vec![text("")])]).await;
    assert_eq!(odd.span("m").output, Some(json!({"messages": [{"role": "assistant", "content": ""}]})));
}

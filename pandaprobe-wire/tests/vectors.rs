//! Embeddings and reranking of dialects other than OpenAI's.

mod common;

use common::{JSON, exchange_at};
use pandaprobe_wire::{LlmRecord, Operation};
use serde_json::{Value, json};

fn read(path: &str, request: &Value, answer: &Value) -> LlmRecord {
    let (request, answer) = (request.to_string(), answer.to_string());
    let record = exchange_at(path, request.as_bytes(), 200, JSON, answer.as_bytes().chunks(5)).record();
    assert!(record.terminal && record.notes.is_empty() && record.output.is_empty(), "{record:?}");
    record
}

fn said(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

#[test]
fn gemini_embeds_one_content_or_several() {
    let content = |text: &str| json!({"parts": [{"text": text}]});
    let one = json!({"model": "models/e", "content": content("a"), "taskType": "RETRIEVAL_QUERY"});
    let record = read("/v1beta/models/e:embedContent", &one, &json!({"embedding": {"values": [0.5, 1.0]}}));
    assert_eq!(record.operation, Operation::GeminiEmbed);
    assert_eq!((record.input.clone(), record.usage.clone()), (vec![said("a")], None));
    assert_eq!(record.body, Some(json!({"count": 1, "dimensions": 2})));
    assert_eq!(json!(record.parameters), json!({"taskType": "RETRIEVAL_QUERY"}));

    let request = |text: &str| json!({"content": content(text), "outputDimensionality": 3});
    let several = json!({"requests": [request("a"), request("b")]});
    let vectors = json!({"embeddings": [{"values": [1, 2, 3]}, {"values": [1, 2, 3]}],
        "usageMetadata": {"promptTokenCount": 7}});
    let record = read("/v1beta/models/e:batchEmbedContents", &several, &vectors);
    assert_eq!(record.input, [said("a"), said("b")]);
    assert_eq!(record.model_requested.as_deref(), Some("e"));
    assert_eq!(record.body, Some(json!({"count": 2, "dimensions": 3})));
    assert_eq!(record.usage.unwrap().prompt_tokens, Some(7));
}

#[test]
fn ollama_embeds_texts() {
    let request = json!({"model": "e", "input": ["a", "b"]});
    let answer = json!({"model": "e:latest", "embeddings": [[1.0], [2.0]], "prompt_eval_count": 4});
    let record = read("/api/embed", &request, &answer);
    assert_eq!((record.operation, record.streaming), (Operation::OllamaEmbed, false));
    assert_eq!((record.input.len(), record.model_responded.as_deref()), (2, Some("e:latest")));
    assert_eq!(record.body, Some(json!({"count": 2, "dimensions": 1})));
    assert_eq!(record.usage.unwrap().prompt_tokens, Some(4));
}

#[test]
fn cohere_embeds_texts_and_images() {
    let image = format!("data:image/png;base64,{}", "A".repeat(1000));
    let request = json!({"model": "e", "texts": ["a"], "images": [image], "input_type": "search_query"});
    let vectors = json!({"float": [[1.0, 2.0], [1.0, 2.0]]});
    let answer =
        json!({"id": "x", "embeddings": vectors, "meta": {"billed_units": {"input_tokens": 4, "images": 1}}});
    for path in ["/v1/embed", "/v2/embed"] {
        let record = read(path, &request, &answer);
        assert_eq!(record.operation, Operation::CohereEmbed);
        assert_eq!(record.input[0], said("a"));
        assert_eq!(record.input[1]["content"]["bytes"], 750);
        assert_eq!(record.body, Some(json!({"count": 2, "dimensions": 2})));
        assert_eq!(record.usage.unwrap().prompt_tokens, Some(4));
    }
}

#[test]
fn reranking_keeps_the_query_and_the_scores() {
    let request = json!({"model": "r", "query": "q", "documents": ["four", {"text": "six..."}], "top_n": 1});
    let cohere = json!({"id": "x", "results": [{"index": 1, "relevance_score": 0.5, "document": {"text": "long"}}],
        "meta": {"billed_units": {"search_units": 1}}});
    let voyage = json!({"data": [{"index": 1, "relevance_score": 0.5}], "usage": {"total_tokens": 9}});
    let [first, second] =
        [("/v2/rerank", cohere), ("/v1/rerank", voyage)].map(|(path, answer)| read(path, &request, &answer));
    for record in [&first, &second] {
        assert_eq!(record.operation, Operation::Rerank);
        let documents = json!({"type": "documents", "count": 2, "bytes": 10});
        assert_eq!(json!(record.input), json!([said("q"), {"role": "user", "content": [documents]}]));
        assert_eq!(record.body, Some(json!({"results": [{"index": 1, "relevance_score": 0.5}]})));
        assert_eq!(json!(record.parameters), json!({"top_n": 1}));
    }
    assert_eq!(first.usage.unwrap().details["search_units"], 1);
    assert_eq!(second.usage.unwrap().prompt_tokens, Some(9));
}

//! Traces with a text in every place that they have.

use std::time::Duration;

use pandaprobe::{Client, Config, Cost, MemoryExporter, Score, SpanKind, TokenUsage, span};
use serde_json::json;

pub(crate) fn client(config: Config) -> (Client, MemoryExporter) {
    let kept = MemoryExporter::default();
    (Client::new(config.exporter(kept.clone())).unwrap(), kept)
}

/// Every byte that reached the exporter.
pub(crate) fn bytes(kept: &MemoryExporter) -> String {
    kept.envelopes().iter().map(|envelope| String::from_utf8(envelope.body().to_vec()).unwrap()).collect()
}

/// A trace with `text` in every place that holds content, and another in every place that does not.
pub(crate) fn everywhere(client: &Client, content: &str, kept: &str) {
    let trace = client
        .trace(format!("name {kept}"))
        .input(json!({"messages": [{"role": "user", "content": content}]}));
    let trace = trace.tag(format!("tag {kept}")).metadata(format!("key {kept}"), format!("value {kept}"));
    let id = trace.session_id("session").user_id("user").run(|trace| {
        trace.set_output(json!([content, {content: content}, {"deep": [[content]]}]));
        for kind in [
            SpanKind::Agent,
            SpanKind::Tool,
            SpanKind::Llm,
            SpanKind::Retriever,
            SpanKind::Chain,
            SpanKind::Embedding,
            SpanKind::Other,
        ] {
            let step = span(format!("span {kept}")).kind(kind).model("model-1").input(json!({"q": content}));
            step.metadata(format!("key {kept}"), format!("value {kept}")).run(|step| {
                step.set_output(content);
                step.set_metadata("reasoning_summary", content);
                step.set_model_parameters(
                    json!({"temperature": 0.5, "stop": [content], "suffix": content, "user": "word", "tool_choice": "auto"})
                        .as_object()
                        .unwrap()
                        .clone(),
                );
                step.set_token_usage(TokenUsage::new(3, 4));
                step.set_cost(Cost::new(0.5));
                step.set_error(content);
            });
        }
        trace.id()
    });
    client.score(id, "quality", Score::from("good").reason(content).metadata("by", kept));
    client.flush(Duration::from_secs(5)).unwrap();
}

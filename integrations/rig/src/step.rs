//! What each kind of step says, and what comes out of it.

use pandaprobe_core::{ErrorText, Run as Step, Span, SpanKind};
use rig_core::{
    effect::{
        EffectKind, EmbedInputs, EmbedOutputs, MemoryOp, MemoryOutcome, Outcome, RetrieveQuery,
        RetrievedDocuments,
    },
    embeddings::EmbeddingResponse,
    error::{ErrorKind, ErrorReport},
    message::CallId,
    rerank::RerankResponse,
    tool::ToolResult,
};
use serde_json::{Value, json};

use crate::{index, message, request};

/// As with all providers: the status first.
pub(crate) fn error_text(report: &ErrorReport) -> String {
    let causes = report.source_chain.iter().filter(|cause| !report.message.contains(cause.as_str()));
    let text = [&report.message].into_iter().chain(causes).map(String::as_str).collect::<Vec<_>>().join(": ");
    match report.http_status {
        Some(status) if !text.contains(&status.to_string()) => format!("{status}: {text}"),
        _ => text,
    }
}

pub(crate) fn tool_step(name: &str, arguments: &str, call_id: Option<&CallId>, turn: usize) -> Step {
    let step = Step::new(name, SpanKind::Tool).input(parsed(arguments));
    let step = if turn > 0 { step.metadata("turn", turn) } else { step };
    call_id.into_iter().fold(step, |step, id| step.metadata("call_id", id.to_string()))
}

/// JSON, or the text if it is none.
pub(crate) fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

/// Whether the tool's own code ran.
pub(crate) fn ran(outcome: &Result<Outcome, ErrorReport>) -> bool {
    match outcome {
        Ok(Outcome::ToolResult { result }) => !result.is_skipped(),
        Ok(_) => true,
        Err(report) => !matches!(report.kind, ErrorKind::BusClosed | ErrorKind::HandlerUnavailable),
    }
}

pub(crate) fn tool_ended(span: Span, outcome: &Result<Outcome, ErrorReport>) {
    match outcome {
        Ok(Outcome::ToolResult { result }) => tool_gave(span, result),
        Ok(_) => span.end(),
        Err(report) => span.fail(error_text(report)),
    }
}

fn tool_gave(span: Span, result: &ToolResult) {
    let output = result.output();
    if let Some(text) = output.as_text() {
        span.set_output(parsed_object(text));
    } else {
        span.set_output(message::tool_result(output.as_content()));
    }
    if result.is_skipped() {
        span.set_metadata("skipped", true);
    }
    // What the model is told of an error is not what went wrong.
    let Some(error) = result.error().or_else(|| result.refusal()) else {
        return span.end();
    };
    span.set_metadata("error_kind", error.kind().as_str());
    if result.is_refused() {
        span.set_metadata("refused", true);
    }
    span.fail(error.error_text());
}

/// A result that is JSON, as tools of rig give their values.
fn parsed_object(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => value,
        _ => text.into(),
    }
}

pub(crate) fn other_step(kind: &EffectKind) -> Step {
    match kind {
        EffectKind::Memory { op } => {
            let (name, input) = match op {
                MemoryOp::Load { conversation } => {
                    ("memory.load", json!({"conversation": conversation.to_string()}))
                }
                MemoryOp::Append { conversation, messages } => {
                    let mut input = message::messages(messages);
                    input["conversation"] = conversation.to_string().into();
                    ("memory.append", input)
                }
                MemoryOp::Clear { conversation } => {
                    ("memory.clear", json!({"conversation": conversation.to_string()}))
                }
            };
            Step::new(name, SpanKind::Other).input(input)
        }
        EffectKind::Retrieve { query } => {
            let (RetrieveQuery::TopN { req } | RetrieveQuery::TopNIds { req }) = query;
            Step::new("retrieve", SpanKind::Retriever).input(index::asked(req))
        }
        EffectKind::Embed { inputs } => {
            let input = match inputs {
                EmbedInputs::Texts(texts) => {
                    let texts = texts.iter().map(|text| json!({"role": "user", "content": text}));
                    json!({"messages": texts.collect::<Vec<_>>()})
                }
                EmbedInputs::Images(images) => {
                    let sizes = images.iter().map(|image| json!({"type": "image", "bytes": image.len()}));
                    json!({"messages": [{"role": "user", "content": sizes.collect::<Vec<_>>()}]})
                }
            };
            Step::new("embed", SpanKind::Embedding).input(input)
        }
        EffectKind::Rerank { request } => Step::new("rerank", SpanKind::Retriever)
            .input(json!({"query": request.query, "documents": request.documents})),
        EffectKind::Custom { kind, payload } => {
            Step::new(kind.to_string(), SpanKind::Other).input(payload.clone())
        }
        other => Step::new(other.name(), SpanKind::Other),
    }
}

pub(crate) fn other_ended(span: Span, outcome: &Result<Outcome, ErrorReport>) {
    match outcome {
        Ok(Outcome::Memory(MemoryOutcome::Loaded { messages })) => {
            span.set_output(message::messages(messages))
        }
        Ok(Outcome::Documents(documents)) => span.set_output(found(documents)),
        Ok(Outcome::Embeddings(EmbedOutputs::Texts(response) | EmbedOutputs::Images(response))) => {
            embedded(&span, response);
        }
        Ok(Outcome::Reranked(response)) => reranked(&span, response),
        Ok(Outcome::Custom { payload }) => span.set_output(payload.clone()),
        Ok(_) => {}
        Err(report) => return span.fail(error_text(report)),
    }
    span.end();
}

fn found(documents: &RetrievedDocuments) -> Value {
    match documents {
        RetrievedDocuments::Scored(found) => found
            .iter()
            .map(|(score, id, document)| index::document(id, *score, Some(document.clone())))
            .collect(),
        RetrievedDocuments::Ids(found) => {
            found.iter().map(|(score, id)| index::document(id, *score, None)).collect()
        }
    }
}

/// Never the vectors: how many, and of what length.
fn embedded(span: &Span, response: &EmbeddingResponse) {
    let dimensions = response.embeddings.first().map(|embedding| embedding.vec.len());
    span.set_output(json!({"count": response.embeddings.len(), "dimensions": dimensions}));
    if let Some(model) = &response.model {
        span.set_model(model.as_str());
    }
    if let Some(usage) = request::usage(&response.usage) {
        span.set_token_usage(usage);
    }
}

fn reranked(span: &Span, response: &RerankResponse) {
    let ranks =
        response.results.iter().map(|rank| json!({"index": rank.index, "score": rank.relevance_score}));
    span.set_output(ranks.collect::<Value>());
    if let Some(model) = &response.model {
        span.set_model(model.as_str());
    }
}

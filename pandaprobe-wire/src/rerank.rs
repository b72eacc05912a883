//! Reranking, as Cohere began it and others copy it: a query and documents in, places and scores out.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{Usage, counts::count, dialect::Request, fields::list, texts};

/// Request parameters that are recorded.
const PARAMETERS: [&str; 5] =
    ["top_n", "top_k", "max_tokens_per_doc", "max_chunks_per_doc", "return_documents"];

/// Results kept of an answer.
const MAX_RESULTS: usize = 1000;

/// Reads a request. Of the documents number and size are kept.
pub(crate) fn request(mut map: Map<String, Value>) -> Request {
    let query = map.remove("query").filter(|query| !query.is_null());
    let documents = map.remove("documents").or_else(|| map.remove("texts"));
    let documents = documents.as_ref().and_then(Value::as_array).map(|documents| {
        let bytes: usize = documents.iter().map(size).sum();
        let part = json!({"type": "documents", "count": documents.len(), "bytes": bytes});
        json!({"role": "user", "content": [part]})
    });
    let input = query.map(texts::message).into_iter().chain(documents).collect();
    Request::read(map, input, &PARAMETERS)
}

fn size(document: &Value) -> usize {
    match document {
        Value::String(text) => text.len(),
        Value::Object(map) => map.values().filter_map(Value::as_str).map(str::len).sum(),
        _ => 0,
    }
}

/// The results without their documents.
pub(crate) fn summary(answer: &Value) -> Option<Value> {
    let key = ["results", "data"].into_iter().find(|key| answer.get(*key).is_some_and(Value::is_array))?;
    let results = list(answer, key).take(MAX_RESULTS);
    let results = results.map(|result| {
        let score = result.get("relevance_score").or_else(|| result.get("score"));
        json!({"index": result.get("index"), "relevance_score": score})
    });
    Some(json!({"results": results.collect::<Vec<Value>>()}))
}

/// Tokens where an answer has them, else what Cohere bills.
pub(crate) fn usage(answer: &Value) -> Option<Usage> {
    if let Some(usage) = answer.get("usage") {
        let total = count(usage, "total_tokens").filter(|total| *total > 0);
        let prompt = count(usage, "prompt_tokens").or(total)?;
        return Some(Usage { prompt_tokens: Some(prompt), total_tokens: total, ..Usage::default() });
    }
    let billed = answer.get("meta")?.get("billed_units")?;
    let searches = count(billed, "search_units").filter(|searches| *searches > 0)?;
    let details = BTreeMap::from([("search_units".to_owned(), searches)]);
    Some(Usage { details, ..Usage::default() })
}

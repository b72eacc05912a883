//! Embeddings: texts in, vectors out. Of the vectors only number and length are kept.

use serde_json::{Map, Value};

use crate::{dialect::Request, summary::Summary, texts, vectors};

use super::usage;

/// Request parameters that are recorded.
const PARAMETERS: [&str; 2] = ["dimensions", "encoding_format"];

/// Reads a request.
pub(crate) fn request(mut map: Map<String, Value>) -> Request {
    let input = map.remove("input").or_else(|| map.remove("prompt"));
    Request::read(map, texts::messages(input.unwrap_or_default()), &PARAMETERS)
}

/// The decoder of an answer.
pub(crate) fn decoder() -> Summary {
    Summary::new(vectors::summary, usage::embeddings)
}

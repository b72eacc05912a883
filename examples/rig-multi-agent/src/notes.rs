//! Notes about cities, found by the words that they share with a question: an index without a model.

use std::collections::HashSet;

use rig::vector_store::{
    VectorSearchIdResult, VectorSearchRequest, VectorSearchResult, VectorStoreError, VectorStoreIndex,
    request::Filter,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const NOTES: [(&str, &str); 4] = [
    ("lisbon-1", "In Lisbon see the castle in the morning, before it is hot."),
    ("lisbon-2", "In Lisbon the yellow tram number 28 is a sight of its own."),
    ("porto-1", "In Porto cross the bridge on its upper level."),
    ("general-1", "Book early and pack light."),
];

pub(crate) struct Notes;

impl VectorStoreIndex for Notes {
    type Filter = Filter<Value>;

    async fn top_n<T: DeserializeOwned + Send>(
        &self,
        request: VectorSearchRequest<Filter<Value>>,
    ) -> Result<Vec<VectorSearchResult<T>>, VectorStoreError> {
        let mut found = Vec::new();
        for (score, id, text) in best(&request) {
            let document = serde_json::from_value(json!({"note": text}))?;
            found.push(VectorSearchResult { score, id: id.to_owned(), document });
        }
        Ok(found)
    }

    async fn top_n_ids(
        &self,
        request: VectorSearchRequest<Filter<Value>>,
    ) -> Result<Vec<VectorSearchIdResult>, VectorStoreError> {
        let found = best(&request).into_iter();
        Ok(found.map(|(score, id, _)| VectorSearchIdResult { score, id: id.to_owned() }).collect())
    }
}

fn best(request: &VectorSearchRequest<Filter<Value>>) -> Vec<(f64, &'static str, &'static str)> {
    let asked = words(request.query());
    let mut scored: Vec<_> = NOTES
        .into_iter()
        .map(|(id, text)| {
            let known = words(text);
            (known.intersection(&asked).count() as f64 / known.len() as f64, id, text)
        })
        .collect();
    scored.sort_by(|one, other| other.0.total_cmp(&one.0));
    let samples = usize::try_from(request.samples()).unwrap_or(usize::MAX);
    scored.into_iter().take(samples).collect()
}

fn words(text: &str) -> HashSet<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

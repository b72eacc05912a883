//! Tokens and money.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The tokens of one LLM or embedding call, with one meaning for every provider: `prompt_tokens` includes
/// cached ones, `completion_tokens` includes reasoning. Absent means that the provider did not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TokenUsage {
    /// Tokens of the prompt, cached ones included.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub prompt_tokens: Option<u64>,
    /// Tokens of the answer, reasoning included.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub completion_tokens: Option<u64>,
    /// Prompt and completion together.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub total_tokens: Option<u64>,
    /// Tokens spent on reasoning.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reasoning_tokens: Option<u64>,
    /// Prompt tokens read from the provider's cache.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cache_read_tokens: Option<u64>,
    /// Prompt tokens written to the provider's cache.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cache_creation_tokens: Option<u64>,
    /// Further counts under the provider's own names.
    #[serde(flatten)]
    pub details: BTreeMap<String, u64>,
}

impl TokenUsage {
    /// Usage of a prompt and its completion; the total is their sum.
    pub fn new(prompt_tokens: u64, completion_tokens: u64) -> Self {
        Self {
            prompt_tokens: Some(prompt_tokens),
            completion_tokens: Some(completion_tokens),
            total_tokens: Some(prompt_tokens.saturating_add(completion_tokens)),
            ..Self::default()
        }
    }

    /// Sets the reasoning tokens.
    pub fn reasoning(mut self, tokens: u64) -> Self {
        self.reasoning_tokens = Some(tokens);
        self
    }

    /// Sets the tokens read from the provider's cache.
    pub fn cache_read(mut self, tokens: u64) -> Self {
        self.cache_read_tokens = Some(tokens);
        self
    }

    /// Sets the tokens written to the provider's cache.
    pub fn cache_creation(mut self, tokens: u64) -> Self {
        self.cache_creation_tokens = Some(tokens);
        self
    }

    /// The total: as given, else the sum of the parts that are known.
    pub fn total(&self) -> Option<u64> {
        let parts = [self.prompt_tokens, self.completion_tokens];
        let known = parts.iter().any(Option::is_some);
        let sum = || parts.iter().flatten().fold(0u64, |a, b| a.saturating_add(*b));
        self.total_tokens.or_else(|| known.then(sum))
    }
}

/// What a call cost, in US dollars.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Cost {
    /// The whole cost: the number that the backend sums up.
    pub total: f64,
    /// Its parts, by name.
    #[serde(flatten)]
    pub details: BTreeMap<String, f64>,
}

impl Cost {
    /// A cost of which only the total is known.
    pub fn new(total: f64) -> Self {
        Self { total, details: BTreeMap::new() }
    }

    /// Adds a part, such as `prompt`.
    pub fn part(mut self, name: impl Into<String>, cost: f64) -> Self {
        self.details.insert(name.into(), cost);
        self
    }
}

//! The answer of a model, from the pieces in which it comes.

use adk_core::{Content, FinishReason, LlmResponse, Part, UsageMetadata};
use pandaprobe_core::{Cost, Messages, Span, TokenUsage};

use crate::{follow::Reader, message::Message, run::End, step::Step};

/// Whether the response stands for all that came before it, instead of adding to it.
pub(crate) fn is_content_complete(response: &LlmResponse) -> bool {
    let flag = || response.provider_metadata.as_ref()?.get("content_complete")?.as_bool();
    !response.partial && flag() == Some(true)
}

/// Reads the answer of a model.
#[derive(Debug)]
pub(crate) struct Answer {
    message: Message,
    usage: Option<UsageMetadata>,
    finish_reason: Option<FinishReason>,
    interaction: Option<String>,
    is_interrupted: bool,
    has_ended: bool,
    error: Option<String>,
    /// Some providers leave cached tokens out of those of the prompt.
    prompt_excludes_cached: bool,
}

impl Answer {
    /// That of the model of this name.
    pub(crate) fn of(model: &str) -> Self {
        Self {
            message: Message::default(),
            usage: None,
            finish_reason: None,
            interaction: None,
            is_interrupted: false,
            has_ended: false,
            error: None,
            prompt_excludes_cached: excludes_cached(model),
        }
    }

    fn add(&mut self, response: &LlmResponse) {
        if let Some(content) = &response.content {
            if is_content_complete(response) {
                self.message = Message::default();
            }
            content.parts.iter().for_each(|part| self.message.add(part));
        }
        // Providers say these once, at the end, or again and again with the sum so far.
        self.usage = response.usage_metadata.clone().or_else(|| self.usage.take());
        self.finish_reason = response.finish_reason.or(self.finish_reason);
        self.interaction = response.interaction_id.clone().or_else(|| self.interaction.take());
        self.is_interrupted |= response.interrupted;
        self.has_ended |= response.turn_complete;
        self.error = response.error_code.as_ref().map(|code| match &response.error_message {
            Some(message) => format!("{code}: {message}"),
            None => code.clone(),
        });
    }

    fn describe(&mut self, span: &Span) {
        if let Some(thoughts) = self.message.take_thoughts() {
            span.set_metadata("reasoning_summary", thoughts);
        }
        if !self.message.is_empty() {
            span.set_output(Messages::new().push(self.message.take("assistant")));
        }
        if let Some(reason) = self.finish_reason {
            span.set_metadata("finish_reason", format!("{reason:?}"));
        }
        if let Some(id) = self.interaction.take() {
            span.set_metadata("adk.interaction_id", id);
        }
        if self.is_interrupted {
            span.set_metadata("adk.interrupted", true);
        }
        let Some(usage) = self.usage.take() else { return };
        if let Some(tokens) = tokens(&usage, self.prompt_excludes_cached) {
            span.set_token_usage(tokens);
        }
        if let Some(cost) = usage.cost.filter(|cost| cost.is_finite()) {
            span.set_cost(Cost::new(cost));
        }
    }
}

impl Reader<LlmResponse> for Answer {
    fn read(&mut self, response: &LlmResponse, step: &Step) {
        // A whole answer at once has no first token.
        if !response.turn_complete && response.content.as_ref().is_some_and(says_something) {
            step.span.set_first_token();
        }
        self.add(response);
    }

    fn conclude(&mut self, step: &Step, _: &End) -> Option<String> {
        self.describe(&step.span);
        self.error.take()
    }

    fn is_complete(&self) -> bool {
        self.has_ended || self.finish_reason.is_some()
    }
}

fn says_something(content: &Content) -> bool {
    let is_empty = |part: &Part| matches!(part, Part::Text { text } if text.is_empty());
    !content.parts.iter().all(is_empty)
}

/// Whether a provider's own API is asked that counts cached tokens beside those of the prompt: Anthropic's, also by way of
/// Bedrock. Brokers, whose names of models have a slash, count as OpenAI does.
fn excludes_cached(model: &str) -> bool {
    model.contains("claude") && !model.contains('/')
}

/// adk passes on what providers count, who do not agree on what includes what.
fn tokens(usage: &UsageMetadata, excludes_cached: bool) -> Option<TokenUsage> {
    let count = |tokens: i32| u64::try_from(tokens).unwrap_or(0);
    let optional = |tokens: Option<i32>| tokens.and_then(|tokens| u64::try_from(tokens).ok());
    let [mut prompt, mut completion, total] =
        [usage.prompt_token_count, usage.candidates_token_count, usage.total_token_count].map(count);
    let reasoning = optional(usage.thinking_token_count);
    let cache_read = optional(usage.cache_read_input_token_count);
    let cache_creation = optional(usage.cache_creation_input_token_count);
    let cached = cache_read.unwrap_or(0).saturating_add(cache_creation.unwrap_or(0));
    if prompt == 0 && completion == 0 && total == 0 && cached == 0 && reasoning.is_none() {
        // Its fields have no way to say that they are not known.
        return None;
    }
    let beside = total.checked_sub(prompt.saturating_add(completion));
    if let Some(reasoning) = reasoning.filter(|tokens| *tokens > 0 && beside == Some(*tokens)) {
        completion = completion.saturating_add(reasoning);
    } else if cached > 0 && (excludes_cached || cached > prompt || beside == Some(cached)) {
        prompt = prompt.saturating_add(cached);
    }
    let mut tokens = TokenUsage::new(prompt, completion);
    tokens.reasoning_tokens = reasoning;
    tokens.cache_read_tokens = cache_read;
    tokens.cache_creation_tokens = cache_creation;
    let audio = [
        ("audio_input_tokens", usage.audio_input_token_count),
        ("audio_output_tokens", usage.audio_output_token_count),
    ];
    let audio = audio.into_iter().filter_map(|(name, tokens)| Some((name.to_owned(), optional(tokens)?)));
    tokens.details.extend(audio);
    Some(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(prompt: i32, candidates: i32, total: i32) -> UsageMetadata {
        UsageMetadata {
            prompt_token_count: prompt,
            candidates_token_count: candidates,
            total_token_count: total,
            ..UsageMetadata::default()
        }
    }

    fn sums(usage: &UsageMetadata, excludes_cached: bool) -> Option<(u64, u64, u64)> {
        let tokens = tokens(usage, excludes_cached)?;
        Some((tokens.prompt_tokens?, tokens.completion_tokens?, tokens.total_tokens?))
    }

    #[test]
    fn thoughts_that_are_counted_beside_the_answer_become_part_of_it() {
        let gemini = UsageMetadata { thinking_token_count: Some(5), ..usage(12, 7, 24) };
        assert_eq!(sums(&gemini, false), Some((12, 12, 24)));
        let openai = UsageMetadata { thinking_token_count: Some(5), ..usage(12, 7, 19) };
        assert_eq!(sums(&openai, false), Some((12, 7, 19)));
    }

    #[test]
    fn cached_tokens_that_are_counted_beside_the_prompt_become_part_of_it() {
        let anthropic = UsageMetadata {
            cache_read_input_token_count: Some(100),
            cache_creation_input_token_count: Some(20),
            ..usage(500, 7, 507)
        };
        assert_eq!(sums(&anthropic, excludes_cached("claude-sonnet-4-5")), Some((620, 7, 627)));
        assert_eq!(sums(&anthropic, excludes_cached("anthropic/claude-sonnet-4.5")), Some((500, 7, 507)));
        let openai = UsageMetadata { cache_read_input_token_count: Some(64), ..usage(100, 7, 107) };
        assert_eq!(sums(&openai, excludes_cached("gpt-4o-mini")), Some((100, 7, 107)));
        let more_than_all = UsageMetadata { cache_read_input_token_count: Some(64), ..usage(10, 7, 17) };
        assert_eq!(sums(&more_than_all, false), Some((74, 7, 81)));
    }

    #[test]
    fn counts_that_say_nothing_are_absent() {
        assert_eq!(tokens(&usage(0, 0, 0), false), None);
        assert_eq!(sums(&usage(-3, i32::MAX, 0), false), Some((0, 2_147_483_647, 2_147_483_647)));
    }
}

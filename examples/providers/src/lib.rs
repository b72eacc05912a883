//! Recipes for providers other than OpenAI: each module asks one question with the client that the provider's users have,
//! and is traced by what that client lets in.
//!
//! | provider | client | traced by |
//! |---|---|---|
//! | [`anthropic`] | requests of one's own with `reqwest` | `HttpHandler` as a middleware |
//! | [`gemini`] | requests of one's own with `reqwest`, streamed | `HttpHandler` as a middleware |
//! | [`ollama`] | requests of one's own with `reqwest`, streamed | `HttpHandler` as a middleware |
//! | [`mistral`] | `async-openai` | `OpenAiHandler`: Mistral speaks OpenAI's protocol |
//! | [`bedrock`] | `aws-sdk-bedrockruntime` | `HttpHandler::layer` in its HTTP client |

pub mod anthropic;
pub mod bedrock;
pub mod gemini;
pub mod mistral;
pub mod ollama;

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Where a provider is, and the key for it.
#[derive(Clone, Debug)]
pub struct Server {
    /// The base URL, as the provider documents it.
    pub url: String,
    /// The API key.
    pub key: String,
}

use std::fmt;

use crate::{StandInModel, Travel};

/// Where an example sends its model calls.
pub struct Endpoint {
    /// The API root, with its version and without a trailing slash.
    pub base_url: String,
    /// The key to authenticate with.
    pub api_key: String,
    /// The model to ask for.
    pub model: String,
    /// The server behind `base_url` if no key was given. It stops when this is dropped.
    pub stand_in: Option<StandInModel>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("base_url", &self.base_url)
            .field("api_key", &"<hidden>")
            .field("model", &self.model)
            .field("stand_in", &self.stand_in)
            .finish()
    }
}

/// The endpoint the environment names, or a stand-in that answers as [`Travel`].
///
/// With `OPENAI_API_KEY` set, the endpoint is `OPENAI_BASE_URL` (default `https://api.openai.com/v1`) and the model is
/// `OPENAI_MODEL` (default `gpt-4o-mini`). Without it, a stand-in is started and one line on stderr says so. An empty
/// variable counts as absent.
///
/// # Panics
///
/// If the stand-in is needed and no loopback port can be bound.
#[must_use = "dropping the endpoint stops the stand-in"]
pub fn endpoint() -> Endpoint {
    let model = variable("OPENAI_MODEL").unwrap_or_else(|| "gpt-4o-mini".to_owned());
    match variable("OPENAI_API_KEY") {
        Some(api_key) => Endpoint {
            base_url: variable("OPENAI_BASE_URL")
                .map_or_else(|| "https://api.openai.com/v1".to_owned(), without_trailing_slash),
            api_key,
            model,
            stand_in: None,
        },
        None => stand_in(model),
    }
}

#[expect(clippy::print_stderr, reason = "whoever runs an example must see that no real model answers")]
fn stand_in(model: String) -> Endpoint {
    let server = StandInModel::spawn(Travel).expect("a loopback port for the stand-in model");
    eprintln!("OPENAI_API_KEY is not set: a scripted stand-in answers at {}", server.base_url());
    Endpoint {
        base_url: server.base_url().to_owned(),
        api_key: "stand-in".to_owned(),
        model,
        stand_in: Some(server),
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn without_trailing_slash(url: String) -> String {
    url.trim_end_matches('/').to_owned()
}

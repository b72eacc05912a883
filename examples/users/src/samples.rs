//! The samples, one function each.

use async_openai::{
    Client,
    config::OpenAIConfig,
    error::OpenAIError,
    types::chat::{ChatCompletionRequestUserMessage, CreateChatCompletionRequestArgs},
};
use pandaprobe::{Messages, OpenAiHandler};

/// A user for a part of the program: what begins inside belongs to them, what comes after does not.
pub(crate) async fn scoped() {
    pandaprobe::user("user-abc")
        .scope(async {
            let trace = pandaprobe::trace("my-agent").input(Messages::new().user("hi"));
            trace.scope(async |trace| trace.set_output(Messages::new().assistant("hello"))).await;
        })
        .await;
    pandaprobe::trace("after").run(|_| ());
}

/// Session and user together.
pub(crate) async fn combined() {
    pandaprobe::session("conversation-123")
        .user("user-abc")
        .scope(async {
            pandaprobe::trace("my-agent").run(|_| ());
        })
        .await;
}

/// Set once, where a request begins: for that request. `pandaprobe::tower` opens the scope in a web service; here it is
/// written out. In `main`, outside of any scope, the same call sets the default of the process.
pub(crate) async fn imperative() {
    let request = async {
        pandaprobe::set_user("user-abc");
        pandaprobe::trace("first").run(|_| ());
        tokio::task::yield_now().await;
        // All that follows inherits it.
        pandaprobe::trace("second").run(|_| ());
    };
    pandaprobe::Scope::new().scope(request).await;
    pandaprobe::trace("another request").run(|_| ());
}

/// What is explicit comes before scopes.
#[pandaprobe::trace(user_id = "explicit-user")]
fn my_agent(query: &str) -> String {
    format!("an answer to {query}")
}

pub(crate) fn explicit() {
    pandaprobe::user("scoped-user").run(|| {
        my_agent("why?");
        pandaprobe::trace("agent").user_id("explicit-user").run(|_| ());
    });
}

/// Handlers take both ids.
pub(crate) async fn handler(client: Client<OpenAIConfig>, model: &str) -> Result<(), OpenAIError> {
    let handler = OpenAiHandler::new().session_id("conversation-123").user_id("user-abc");
    let client = handler.wrap(client);
    let request = CreateChatCompletionRequestArgs::default()
        .model(model)
        .messages([ChatCompletionRequestUserMessage::from("Hello!").into()])
        .build()?;
    client.chat().create(request).await?;
    Ok(())
}

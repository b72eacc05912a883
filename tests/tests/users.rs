//! The samples of the page on users, as they stand in the example.

#[path = "../../examples/users/src/samples.rs"]
mod samples;

use async_openai::{Client, config::OpenAIConfig};
use pandaprobe::testing::capture;
use stand_in_model::{StandInModel, Travel};

#[tokio::test]
async fn every_sample_records_whose_it_is() {
    let server = StandInModel::start(Travel).await.unwrap();
    let config = OpenAIConfig::new().with_api_base(server.base_url()).with_api_key("none");
    let captured = capture(|| async {
        samples::scoped().await;
        samples::combined().await;
        samples::imperative().await;
        samples::explicit();
        samples::handler(Client::with_config(config), "gpt-4o-mini").await.unwrap();
    })
    .await;
    let whose: Vec<(&str, Option<&str>, Option<&str>)> = captured
        .traces
        .iter()
        .map(|trace| (trace.name.as_str(), trace.session_id.as_deref(), trace.user_id.as_deref()))
        .collect();
    let (session, user) = (Some("conversation-123"), Some("user-abc"));
    let expected = [
        ("my-agent", None, user),
        ("after", None, None),
        ("my-agent", session, user),
        ("first", None, user),
        ("second", None, user),
        ("another request", None, None),
        ("my_agent", None, Some("explicit-user")),
        ("agent", None, Some("explicit-user")),
        ("openai-chat", session, user),
    ];
    assert_eq!(whose, expected);
    captured.assert_nothing_lost();
}

//! Where the agents' model is: at OpenAI, or a stand-in here that knows when to hand over.

use serde_json::json;
use stand_in_model::{ChatRequest, Endpoint, Model, Reply, StandInModel, Travel};

/// As [`stand_in_model::endpoint`], with a stand-in that transfers to the agent for hotels.
pub(crate) fn endpoint() -> Endpoint {
    let mut endpoint = stand_in_model::endpoint();
    if endpoint.stand_in.is_some()
        && let Ok(server) = StandInModel::spawn(reply)
    {
        server.base_url().clone_into(&mut endpoint.base_url);
        endpoint.stand_in = Some(server);
    }
    endpoint
}

fn reply(request: &ChatRequest) -> Reply {
    let offers = |name: &str| request.tools.iter().any(|tool| tool.name == name);
    let wants_hotel = request.last_user().is_some_and(|question| question.contains("hotel"));
    if wants_hotel && offers("transfer_to_agent") && !offers("find_hotels") {
        return Reply::tool_calls([("transfer_to_agent".to_owned(), json!({"agent_name": "hotels"}))]);
    }
    Travel.reply(request)
}

//! The agent's tools. What they say is made up.

use std::sync::Arc;

use langgraph::prebuilt::{BaseTool, ClosureTool, ToolError};
use serde_json::{Value, json};

pub(crate) fn all() -> [Arc<dyn BaseTool>; 2] {
    let city = json!({"type": "string"});
    let weather = ClosureTool::new("get_weather", "Today's weather in a city", get_weather)
        .with_parameters(json!({"type": "object", "properties": {"city": city}, "required": ["city"]}));
    let hotels =
        ClosureTool::new("find_hotels", "Hotels in a city, for at most that many euros a night", find_hotels)
            .with_parameters(json!({
                "type": "object",
                "properties": {"city": city, "max_price": {"type": "number"}},
                "required": ["city", "max_price"],
            }));
    [Arc::new(weather), Arc::new(hotels)]
}

fn get_weather(wanted: &Value) -> Result<Value, ToolError> {
    Ok(json!({"city": wanted["city"], "degrees": 22, "wind": "light"}))
}

fn find_hotels(wanted: &Value) -> Result<Value, ToolError> {
    if wanted["city"] == "Atlantis" {
        return Err(ToolError::Execution("the registry of hotels is flooded".to_owned()));
    }
    let limit = wanted["max_price"].as_f64().unwrap_or(f64::MAX);
    let all = [("Old Harbour", 95.0), ("Garden House", 110.0), ("Grand Palace", 240.0)];
    let fitting = all.into_iter().filter(|(_, price)| *price <= limit);
    Ok(fitting.map(|(name, price)| json!({"hotel": name, "price": price})).collect())
}

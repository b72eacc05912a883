//! The agent's tools. What they say is made up.

use async_openai::types::chat::{ChatCompletionTool, ChatCompletionTools, FunctionObject};
use serde_json::{Value, json};

/// The tools as the model sees them.
pub(crate) fn offered() -> Vec<ChatCompletionTools> {
    let city = json!({"type": "string", "description": "Name of a city"});
    let price = json!({"type": "number", "description": "The most that a night may cost, in euros"});
    vec![
        tool("get_weather", "Today's weather in a city", json!({"city": city}), &["city"]),
        tool("find_hotels", "Hotels in a city", json!({"city": city, "max_price": price}), &["city"]),
    ]
}

fn tool(name: &str, description: &str, properties: Value, required: &[&str]) -> ChatCompletionTools {
    let parameters = json!({"type": "object", "properties": properties, "required": required});
    let function = FunctionObject {
        name: name.to_owned(),
        description: Some(description.to_owned()),
        parameters: Some(parameters),
        strict: None,
    };
    ChatCompletionTools::Function(ChatCompletionTool { function })
}

/// What a tool says, or what is wrong with the call: a model can react to both.
pub(crate) fn run(name: &str, arguments: &str) -> String {
    let Ok(arguments) = serde_json::from_str::<Value>(arguments) else {
        return "error: the arguments are not JSON".to_owned();
    };
    let Some(city) = arguments["city"].as_str() else {
        return "error: no city".to_owned();
    };
    match name {
        "get_weather" => format!("{city}: 22 degrees, light wind from the sea"),
        "find_hotels" => hotels(city, arguments["max_price"].as_f64().unwrap_or(f64::INFINITY)),
        _ => format!("error: there is no tool {name}"),
    }
}

fn hotels(city: &str, max_price: f64) -> String {
    let all = [("Old Harbour", 95.0), ("Garden House", 110.0), ("Grand Palace", 240.0)];
    let fitting = all.iter().filter(|(_, price)| *price <= max_price);
    let named: Vec<String> = fitting.map(|(name, price)| format!("{name} at {price} euros")).collect();
    if named.is_empty() { format!("no hotel in {city} for that price") } else { named.join(", ") }
}

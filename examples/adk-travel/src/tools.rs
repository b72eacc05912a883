//! The agents' tools. What they say is made up.

use std::sync::Arc;

use adk_core::{AdkError, Result, Tool, ToolContext};
use async_trait::async_trait;
use serde_json::{Value, json};

pub(crate) struct GetWeather;

#[async_trait]
impl Tool for GetWeather {
    fn name(&self) -> &str {
        "get_weather"
    }

    fn description(&self) -> &str {
        "Today's weather in a city"
    }

    fn parameters_schema(&self) -> Option<Value> {
        Some(json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}))
    }

    async fn execute(&self, _: Arc<dyn ToolContext>, wanted: Value) -> Result<Value> {
        let city = wanted["city"].as_str().unwrap_or_default();
        // What a tool does is below it.
        let degrees = pandaprobe::span("station").input(city).run(|_| 16 + city.len());
        Ok(json!({"city": city, "degrees": degrees, "wind": "light"}))
    }
}

pub(crate) struct FindHotels;

#[async_trait]
impl Tool for FindHotels {
    fn name(&self) -> &str {
        "find_hotels"
    }

    fn description(&self) -> &str {
        "Hotels in a city, for at most that many euros a night"
    }

    fn parameters_schema(&self) -> Option<Value> {
        let properties = json!({"city": {"type": "string"}, "max_price": {"type": "number"}});
        Some(json!({"type": "object", "properties": properties, "required": ["city", "max_price"]}))
    }

    async fn execute(&self, _: Arc<dyn ToolContext>, wanted: Value) -> Result<Value> {
        if wanted["city"] == "Atlantis" {
            return Err(AdkError::tool("the registry of hotels is flooded"));
        }
        let max_price = wanted["max_price"].as_f64().unwrap_or(f64::INFINITY);
        let all = [("Old Harbour", 95.0), ("Garden House", 110.0), ("Grand Palace", 240.0)];
        let fitting = all.into_iter().filter(|(_, price)| *price <= max_price);
        Ok(fitting.map(|(name, price)| json!({"hotel": name, "price": price})).collect())
    }
}

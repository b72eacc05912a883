//! The agent's tools. What they say is made up.

use std::{convert::Infallible, time::Duration};

use rig::tool::{Tool, ToolContext};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
pub(crate) struct City {
    city: String,
}

pub(crate) struct GetWeather;

impl Tool for GetWeather {
    const NAME: &'static str = "get_weather";
    type Args = City;
    type Output = Value;
    type Error = Infallible;

    fn description(&self) -> String {
        "Today's weather in a city".to_owned()
    }

    fn parameters(&self) -> Value {
        json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
    }

    async fn call(&self, _: &mut ToolContext, City { city }: City) -> Result<Value, Infallible> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(json!({"city": city, "degrees": 22, "wind": "light"}))
    }
}

#[derive(Deserialize)]
pub(crate) struct Wanted {
    city: String,
    max_price: f64,
}

pub(crate) struct FindHotels;

impl Tool for FindHotels {
    const NAME: &'static str = "find_hotels";
    type Args = Wanted;
    type Output = Value;
    type Error = std::io::Error;

    fn description(&self) -> String {
        "Hotels in a city, for at most that many euros a night".to_owned()
    }

    fn parameters(&self) -> Value {
        let properties = json!({"city": {"type": "string"}, "max_price": {"type": "number"}});
        json!({"type": "object", "properties": properties, "required": ["city", "max_price"]})
    }

    async fn call(&self, _: &mut ToolContext, wanted: Wanted) -> Result<Value, std::io::Error> {
        if wanted.city == "Atlantis" {
            return Err(std::io::Error::other("the registry of hotels is flooded"));
        }
        let all = [("Old Harbour", 95.0), ("Garden House", 110.0), ("Grand Palace", 240.0)];
        let fitting = all.into_iter().filter(|(_, price)| *price <= wanted.max_price);
        Ok(fitting.map(|(name, price)| json!({"hotel": name, "price": price})).collect())
    }
}

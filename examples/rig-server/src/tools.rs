//! A tool that takes its time. What it says is made up.

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
        // A step by hand stands below the tool, in the trace of whoever asked.
        let lookup = pandaprobe::span("station").input(city.as_str());
        lookup.scope(tokio::time::sleep(Duration::from_millis(30))).await;
        Ok(json!({"city": city, "degrees": 22}))
    }
}

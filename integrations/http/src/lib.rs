#![doc = include_str!("../README.md")]

mod handler;
mod layer;
mod middleware;

pub use handler::HttpHandler;
pub use layer::{HttpLayer, HttpService};
pub use pandaprobe_core::exchange::{Operation, RequestBody, Tapped};

#![doc = include_str!("../README.md")]

mod body;
mod exchange;
mod future;
mod identity;
mod layer;
mod root;

pub use body::ResponseBody;
pub use future::ResponseFuture;
pub use layer::{PandaProbeLayer, PandaProbeService};

//! rig's agents, models and indexes, recorded.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails where it stops")]

mod crowd;
mod kit;
mod models;
mod odd_paths;
mod places;
mod requests;
mod retrieval;
mod tree;

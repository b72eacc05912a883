//! adk's runners, agents, models and tools, recorded.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails where it stops")]

mod context;
mod crowd;
mod ends;
mod golden;
mod identity;
mod kit;
mod messages;
mod plain_runners;
mod same;
mod tree;
mod unseen;
mod workflows;

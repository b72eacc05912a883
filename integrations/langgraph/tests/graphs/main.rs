//! Graphs of each runtime, recorded through the public interface.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails where it stops")]

mod adk;
mod crowd;
mod flow;
mod forwarding;
mod gaps;
mod golden;
mod kit;
mod lang;
mod together;

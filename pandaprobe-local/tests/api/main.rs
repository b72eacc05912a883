//! The API over HTTP, as any SDK sees it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails where it stops")]

mod hostile;
mod kit;
mod projects;
mod reading;
mod scores;
mod sdks;
mod security;
mod surviving;
mod terminal;
mod writing;

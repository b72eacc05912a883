//! The viewer in a browser.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail the test")]

mod driver;
mod fill;
mod hostile;
mod live;
mod pages;
mod plain;
mod sizes;
mod strangers;

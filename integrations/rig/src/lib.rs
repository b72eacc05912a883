#![doc = include_str!("../README.md")]

mod agent;
mod handler;
mod hook;
mod http;
mod index;
mod message;
mod model_calls;
mod place;
mod request;
mod run;
mod runner;
mod step;
mod tool;

pub use agent::{BuildTraced, Traced, TracedAgent};
pub use handler::RigHandler;
pub use http::TracedHttp;
pub use index::TracedIndex;
pub use place::TracedRun;
pub use runner::{TracedRunner, TracedStream};

/// What a panic of another thread left is whole: nothing of the application's runs under these locks.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

//! What the tests of PandaProbe share: a loopback backend, a loopback provider, and the contract they are held to.
//!
//! Nothing here reaches beyond loopback, and nothing is mocked below HTTP: clients under test open real connections,
//! which [`backend::Backend`] and [`provider::Provider`] record and, when scripted to, break.
#![expect(clippy::expect_used, clippy::panic, reason = "test support fails the test that uses it")]

pub mod backend;
pub mod contract;
pub mod fidelity;
pub mod golden;
pub mod provider;
pub mod shared;

mod directory;
mod loopback;
mod recorded;
mod wait;

pub use directory::Directory;
pub use loopback::{free_port, url_at};
pub use recorded::Recorded;

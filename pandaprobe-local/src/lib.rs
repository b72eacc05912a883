#![doc = include_str!("../README.md")]

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
mod exporter;
#[cfg(feature = "server")]
mod server;
mod store;
pub mod time;
#[cfg(feature = "server")]
mod view;
pub mod wire;

pub use exporter::{LocalExporter, exporter};
#[cfg(feature = "server")]
pub use server::{DEFAULT_PORT, LocalServer, MAX_BODY_BYTES, ServerConfig, ServerError};
pub use store::{
    Bucket, Granularity, ModelUse, NameUse, Order, Page, Pruned, Retention, Score, ScoreFilter, ScoreSummary,
    SessionBucket, SessionFilter, SessionRow, SortBy, SpanRow, Store, StoreError, StoredTrace, TokenBucket,
    TraceFilter, TraceRow, UserRow,
};

//! rig's agents, models and indexes, recorded.

mod kit;
mod models;
mod odd_paths;
mod places;
mod retrieval;
mod tree;

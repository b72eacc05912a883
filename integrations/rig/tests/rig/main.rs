//! rig's agents, models and indexes, recorded.

mod kit;
mod odd_paths;
mod places;
mod tree;

//! rig's agents, models and indexes, recorded.

mod kit;
mod tree;

//! The dialects of OpenAI.

pub(crate) mod chat;
mod choice;
pub(crate) mod completions;
pub(crate) mod embeddings;
pub(crate) mod images;
mod input;
pub(crate) mod moderation;
mod output;
pub(crate) mod responses;
pub(crate) mod speech;
mod tool;
pub(crate) mod transcription;
mod usage;

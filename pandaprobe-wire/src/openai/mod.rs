//! The dialects of OpenAI.

pub(crate) mod chat;
mod choice;
mod usage;

//! Places that are told by a token in the configuration of a step.
//!
//! The runtime polls streams, and the tools of a `ToolNode`, in tasks of their own, where nothing is current. What reaches
//! them is the configuration, in which a wrapped step finds the place where it belongs.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex},
};

use langgraph::checkpoint::config::RunnableConfig;
use pandaprobe_core::{Scope, Span, SpanId};
use serde_json::{Value, json};

use crate::{current::Here, lock, recorder::GraphRun};

/// The key of the token in `config["configurable"]`.
const KEY: &str = "pandaprobe";

static TOLD: LazyLock<Mutex<HashMap<String, Here>>> = LazyLock::new(Mutex::default);

/// The place where something that is called with `config` belongs, if that is known.
pub(super) fn place(config: &RunnableConfig) -> Option<Here> {
    if !pandaprobe_core::is_enabled() {
        return None;
    }
    // What is current is nearer than what the configuration was given on the way.
    Here::current().or_else(|| {
        let token = token(config)?;
        lock(&TOLD).get(token).cloned()
    })
}

fn token(config: &RunnableConfig) -> Option<&str> {
    config.get("configurable")?.get(KEY)?.as_str()
}

/// `config` as it was before a place was told by it.
pub(super) fn without(config: &RunnableConfig) -> Cow<'_, RunnableConfig> {
    if token(config).is_none() {
        return Cow::Borrowed(config);
    }
    let mut config = config.clone();
    if let Some(Value::Object(fields)) = config.get_mut("configurable") {
        fields.remove(KEY);
    }
    Cow::Owned(config)
}

/// `new`, which tells the place that `old` tells.
pub(super) fn carry_over(old: &RunnableConfig, mut new: RunnableConfig) -> RunnableConfig {
    if let (Some(token), Some(Value::Object(fields))) = (token(old), new.get_mut("configurable")) {
        fields.insert(KEY.to_owned(), token.into());
    }
    new
}

/// Tells a place until it is dropped.
#[derive(Debug)]
pub(super) struct Token(String);

impl Token {
    /// Tells what is called with the configuration that is given back that it belongs below `parent`.
    pub(super) fn tell(
        run: &Arc<GraphRun>,
        parent: &Span,
        config: &RunnableConfig,
    ) -> (Self, RunnableConfig) {
        let mut config = config.clone();
        // Of its own, and never the same again: a configuration may be kept for longer than what it tells.
        let token = SpanId::random().to_string();
        if let Value::Object(fields) = config.entry("configurable".to_owned()).or_insert_with(|| json!({})) {
            fields.insert(KEY.to_owned(), token.clone().into());
        }
        let place = Some(Arc::new(parent.run(|| Scope::shared().open())));
        let here = Here { run: Arc::clone(run), parent: parent.clone(), place };
        lock(&TOLD).insert(token.clone(), here);
        (Self(token), config)
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        // Dropped outside of the lock: the last handle of a span ends it, which others may hear of.
        let told = lock(&TOLD).remove(&self.0);
        drop(told);
    }
}

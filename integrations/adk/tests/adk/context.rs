//! The context of a tool that nobody runs.

use std::sync::{Arc, Mutex};

use adk_core::{
    Artifacts, CallbackContext, Content, EventActions, MemoryEntry, ReadonlyContext, Result, ToolContext,
};
use async_trait::async_trait;

struct Context {
    user: String,
    content: Content,
    actions: Mutex<EventActions>,
}

pub(crate) fn tool_context(user: &str) -> Arc<dyn ToolContext> {
    let (content, actions) = (crate::kit::question("Hello!"), Mutex::default());
    Arc::new(Context { user: user.to_owned(), content, actions })
}

impl ReadonlyContext for Context {
    fn invocation_id(&self) -> &str {
        "inv-1"
    }

    fn agent_name(&self) -> &str {
        "agent"
    }

    fn user_id(&self) -> &str {
        &self.user
    }

    fn app_name(&self) -> &str {
        "trips"
    }

    fn session_id(&self) -> &str {
        "a-session"
    }

    fn branch(&self) -> &str {
        ""
    }

    fn user_content(&self) -> &Content {
        &self.content
    }
}

impl CallbackContext for Context {
    fn artifacts(&self) -> Option<Arc<dyn Artifacts>> {
        None
    }
}

#[async_trait]
impl ToolContext for Context {
    fn function_call_id(&self) -> &str {
        "call-1"
    }

    fn actions(&self) -> EventActions {
        self.actions.lock().unwrap().clone()
    }

    fn set_actions(&self, actions: EventActions) {
        *self.actions.lock().unwrap() = actions;
    }

    async fn search_memory(&self, _: &str) -> Result<Vec<MemoryEntry>> {
        Ok(Vec::new())
    }
}

//! Where sessions are kept.

use std::sync::Arc;

use async_trait::async_trait;
use graph_flow::{Result, Session, SessionStorage};

use super::context_value;
use crate::{LangGraphHandler, current::Here};

impl LangGraphHandler {
    /// The same storage. The run says what its session held when it began, and the id and number of what was saved
    /// (`checkpoint_id`, `checkpoints`).
    pub fn storage(&self, storage: Arc<dyn SessionStorage>) -> Arc<dyn SessionStorage> {
        Arc::new(TracedStorage { storage })
    }
}

struct TracedStorage {
    storage: Arc<dyn SessionStorage>,
}

#[async_trait]
impl SessionStorage for TracedStorage {
    async fn save(&self, session: Session) -> Result<()> {
        let saved = Here::current().map(|here| (here, session.id.clone(), session.version));
        self.storage.save(session).await?;
        if let Some((here, id, version)) = saved {
            // A storage counts the versions of a session up as it saves it.
            here.run.checkpoint(&id, &format!("{id}@{}", version.saturating_add(1)));
        }
        Ok(())
    }

    async fn get(&self, id: &str) -> Result<Option<Session>> {
        let session = self.storage.get(id).await?;
        if let (Some(session), Some(here)) = (&session, Here::current()) {
            here.run.takes(Some(id), || context_value(&session.context));
        }
        Ok(session)
    }

    async fn delete(&self, id: &str) -> Result<()> {
        self.storage.delete(id).await
    }
}

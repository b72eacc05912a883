//! Checkpoints.

use adk_graph::{
    checkpoint::{Checkpointer, RetentionPolicy},
    error::Result,
    state::Checkpoint,
};
use async_trait::async_trait;

use crate::{LangGraphHandler, current::Here};

/// The key under which a checkpoint says of which trace it is.
const TRACE_ID: &str = "pandaprobe.trace_id";

/// A checkpointer whose checkpoints are told to the run. Made by [`LangGraphHandler::checkpointer`].
#[derive(Debug)]
pub struct TracedCheckpointer<C> {
    checkpointer: C,
}

impl LangGraphHandler {
    /// The same checkpointer. The run says the id and number of its checkpoints (`checkpoint_id`, `checkpoints`), and a run
    /// that resumes another one says which, also if that was in another process: a checkpoint that a traced run saves has
    /// `pandaprobe.trace_id` in its metadata, for which it is copied.
    pub fn checkpointer<C: Checkpointer>(&self, checkpointer: C) -> TracedCheckpointer<C> {
        TracedCheckpointer { checkpointer }
    }
}

impl<C: Checkpointer> TracedCheckpointer<C> {
    /// Saves what no traced run saves: an update of the state, which leaves out what the checkpoint before said.
    async fn save_outside(&self, checkpoint: &Checkpoint) -> Result<String> {
        if pandaprobe_core::is_enabled()
            && !checkpoint.metadata.contains_key(TRACE_ID)
            && let Some(before) = self.checkpointer.load(&checkpoint.thread_id).await?
            && let Some(first) = before.metadata.get(TRACE_ID).filter(|_| !before.pending_nodes.is_empty())
        {
            let marked = checkpoint.clone().with_metadata(TRACE_ID, first.clone());
            return self.checkpointer.save(&marked).await;
        }
        self.checkpointer.save(checkpoint).await
    }
}

#[async_trait]
impl<C: Checkpointer> Checkpointer for TracedCheckpointer<C> {
    async fn save(&self, checkpoint: &Checkpoint) -> Result<String> {
        let recorded = Here::current().filter(|here| here.parent.is_recorded());
        let Some((run, first)) = recorded.and_then(|here| {
            let first = here.run.first_run()?;
            Some((here.run, first))
        }) else {
            return self.save_outside(checkpoint).await;
        };
        let marked = checkpoint.clone().with_metadata(TRACE_ID, first.into());
        let id = self.checkpointer.save(&marked).await?;
        run.checkpoint(&checkpoint.thread_id, &id);
        Ok(id)
    }

    async fn load(&self, thread_id: &str) -> Result<Option<Checkpoint>> {
        self.checkpointer.load(thread_id).await.inspect(loaded)
    }

    async fn load_by_id(&self, checkpoint_id: &str) -> Result<Option<Checkpoint>> {
        self.checkpointer.load_by_id(checkpoint_id).await.inspect(loaded)
    }

    async fn list(&self, thread_id: &str) -> Result<Vec<Checkpoint>> {
        self.checkpointer.list(thread_id).await
    }

    async fn delete(&self, thread_id: &str) -> Result<()> {
        self.checkpointer.delete(thread_id).await
    }

    async fn prune(&self, thread_id: &str, policy: &RetentionPolicy) -> Result<usize> {
        self.checkpointer.prune(thread_id, policy).await
    }
}

/// A run that loads what still has nodes to run resumes it.
#[expect(clippy::ref_option, reason = "what `inspect` gives")]
fn loaded(checkpoint: &Option<Checkpoint>) {
    let Some(checkpoint) = checkpoint.as_ref().filter(|checkpoint| !checkpoint.pending_nodes.is_empty())
    else {
        return;
    };
    let first = checkpoint.metadata.get(TRACE_ID).and_then(|first| first.as_str());
    if let (Some(first), Some(here)) = (first, Here::current()) {
        here.run.resumes(&checkpoint.thread_id, first);
    }
}

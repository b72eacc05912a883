//! Checkpoints.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use langgraph::checkpoint::{
    BaseCheckpointSaver, ChannelVersion, ChannelVersions, Checkpoint, CheckpointMetadata, CheckpointTuple,
    config::{RunnableConfig, RunnableConfigExt},
    error::CheckpointError,
};
use serde_json::Value;

use super::told;
use crate::LangGraphHandler;

impl LangGraphHandler {
    /// The same saver. The run says the id and number of its checkpoints (`checkpoint_id`, `checkpoints`).
    ///
    /// After each checkpoint the runtime goes on with the configuration that its saver gives back, in which nothing is left by
    /// which a [stream](Self::astream) knows its nodes: streams of graphs with a saver need this.
    pub fn saver(&self, saver: Arc<dyn BaseCheckpointSaver>) -> Arc<dyn BaseCheckpointSaver> {
        Arc::new(TracedSaver { saver })
    }
}

struct TracedSaver {
    saver: Arc<dyn BaseCheckpointSaver>,
}

/// Tells the run of a checkpoint. The configuration that is given back leads to the run as the one before did.
fn saved(config: &RunnableConfig, checkpoint: &Checkpoint, put: RunnableConfig) -> RunnableConfig {
    if let (Some(thread), Some(here)) = (config.get_thread_id(), told::place(config)) {
        here.run.checkpoint(thread, &checkpoint.id);
    }
    told::carry_over(config, put)
}

#[async_trait]
impl BaseCheckpointSaver for TracedSaver {
    fn get_tuple(&self, config: &RunnableConfig) -> Result<Option<CheckpointTuple>, CheckpointError> {
        self.saver.get_tuple(&told::without(config))
    }

    fn list(
        &self,
        config: Option<&RunnableConfig>,
        filter: Option<&HashMap<String, Value>>,
        before: Option<&RunnableConfig>,
        limit: Option<usize>,
    ) -> Result<Vec<CheckpointTuple>, CheckpointError> {
        let (config, before) = (config.map(told::without), before.map(told::without));
        self.saver.list(config.as_deref(), filter, before.as_deref(), limit)
    }

    fn put(
        &self,
        config: &RunnableConfig,
        checkpoint: &Checkpoint,
        metadata: &CheckpointMetadata,
        new_versions: &ChannelVersions,
    ) -> Result<RunnableConfig, CheckpointError> {
        let put = self.saver.put(&told::without(config), checkpoint, metadata, new_versions)?;
        Ok(saved(config, checkpoint, put))
    }

    fn put_writes(
        &self,
        config: &RunnableConfig,
        writes: &[(String, String, Value)],
        task_id: &str,
        task_path: &str,
    ) -> Result<(), CheckpointError> {
        self.saver.put_writes(&told::without(config), writes, task_id, task_path)
    }

    fn delete_thread(&self, thread_id: &str) -> Result<(), CheckpointError> {
        self.saver.delete_thread(thread_id)
    }

    fn get_next_version(&self, current: Option<&ChannelVersion>) -> ChannelVersion {
        self.saver.get_next_version(current)
    }

    async fn aget_tuple(&self, config: &RunnableConfig) -> Result<Option<CheckpointTuple>, CheckpointError> {
        self.saver.aget_tuple(&told::without(config)).await
    }

    async fn aput(
        &self,
        config: &RunnableConfig,
        checkpoint: &Checkpoint,
        metadata: &CheckpointMetadata,
        new_versions: &ChannelVersions,
    ) -> Result<RunnableConfig, CheckpointError> {
        let put = self.saver.aput(&told::without(config), checkpoint, metadata, new_versions).await?;
        Ok(saved(config, checkpoint, put))
    }

    async fn aput_writes(
        &self,
        config: &RunnableConfig,
        writes: Vec<(String, String, Value)>,
        task_id: String,
        task_path: String,
    ) -> Result<(), CheckpointError> {
        self.saver.aput_writes(&told::without(config), writes, task_id, task_path).await
    }

    async fn adelete_thread(&self, thread_id: String) -> Result<(), CheckpointError> {
        self.saver.adelete_thread(thread_id).await
    }
}

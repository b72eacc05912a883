//! Writes straight into a store.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use pandaprobe_core::{Envelope, ExportError, ExportFuture, Exporter, Payload};

use crate::{
    Store, StoreError,
    wire::{self, ScoreIn},
};

/// The project of traces that name none.
pub(crate) const DEFAULT_PROJECT: &str = "default";

/// Writes traces into the store in that file, to be looked at later with `pandaprobe-local`. The file is opened when the first
/// trace arrives.
///
/// ```no_run
/// use pandaprobe_core::{Config, init};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let _guard = init(Config::from_env_or(pandaprobe_local::exporter(".pandaprobe/traces.db"))?)?;
/// # Ok(()) }
/// ```
pub fn exporter(path: impl AsRef<Path>) -> LocalExporter {
    let path = path.as_ref();
    LocalExporter {
        // By then the program may have gone to another folder.
        path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
        store: Mutex::default(),
        project: DEFAULT_PROJECT.to_owned(),
    }
}

/// The exporter of [`exporter`].
#[derive(Debug)]
pub struct LocalExporter {
    path: PathBuf,
    store: Mutex<Option<Store>>,
    project: String,
}

impl LocalExporter {
    /// Of which project the traces are. `default` if nobody says.
    #[must_use]
    pub fn project(mut self, project: impl Into<String>) -> Self {
        self.project = project.into();
        self
    }

    fn store(&self) -> Result<Store, StoreError> {
        let store = &mut *self.store.lock().unwrap_or_else(PoisonError::into_inner);
        match store {
            Some(store) => Ok(store.clone()),
            none => Ok(none.insert(Store::open(&self.path)?).clone()),
        }
    }

    async fn write(&self, envelope: &Envelope) -> Result<(), ExportError> {
        let store = self.store().map_err(|error| self.later(&error))?;
        let body = envelope.body();
        let trace_id = envelope.trace_id().as_uuid();
        let ours = Some(self.project.clone());
        let written = match envelope.payload() {
            Payload::Trace => {
                let trace = wire::parse(body).map_err(rejected)?;
                let is_ours = store.post_trace(self.project.clone(), trace).await;
                is_ours.map(|is_ours| {
                    is_ours.then_some(()).ok_or_else(|| rejected("the trace is another project's"))
                })
            }
            Payload::Spans => {
                known(store.post_spans(ours, trace_id, wire::parse(body).map_err(rejected)?).await)
            }
            Payload::Update => {
                known(store.patch_trace(ours, trace_id, wire::parse(body).map_err(rejected)?).await)
            }
            Payload::Score => {
                let score: ScoreIn = wire::parse(body).map_err(rejected)?;
                if let Some(wrong) = score.refused() {
                    return Err(rejected(wrong));
                }
                let posted = store.post_score(ours, score).await;
                known(posted.map(|id| id.is_some()))
            }
            other => return Err(rejected(format!("{other:?} is not known to this store"))),
        };
        written.map_err(|error| self.later(&error))?
    }

    fn later(&self, error: &StoreError) -> ExportError {
        let message = format!("{}: {error}", self.path.display());
        ExportError::Retry { message, after: None, everything: true }
    }
}

/// What is about a trace that is not there, or another project's, has to wait for it: another process may write it.
fn known(is_known: Result<bool, StoreError>) -> Result<Result<(), ExportError>, StoreError> {
    let message = "the trace is not in the store, or another project's";
    let wait = || ExportError::Retry { message: message.to_owned(), after: None, everything: false };
    is_known.map(|is_known| is_known.then_some(()).ok_or_else(wait))
}

fn rejected(message: impl ToString) -> ExportError {
    ExportError::Rejected { message: message.to_string() }
}

impl Exporter for LocalExporter {
    fn export<'a>(&'a self, envelope: &'a Envelope) -> ExportFuture<'a> {
        Box::pin(self.write(envelope))
    }
}

#[cfg(test)]
mod tests {
    use super::exporter;

    #[test]
    fn the_folder_is_that_of_the_moment() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(exporter("traces.db").path, here.join("traces.db"));
    }
}

//! The store: one SQLite file.

mod analytics;
mod filter;
mod prune;
mod read;
mod schema;
mod scores;
mod sessions;
#[cfg(feature = "server")]
pub(crate) mod viewing;
mod words;
mod write;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

pub use analytics::{Bucket, Granularity, ModelUse, NameUse, SessionBucket, TokenBucket};
pub use filter::{Order, Page, SortBy, TraceFilter};
pub use prune::{Pruned, Retention};
pub use read::{SpanRow, StoredTrace, TraceRow};
use rusqlite::{Connection, OpenFlags};
#[cfg(feature = "cli")]
pub(crate) use scores::post_score_once;
pub use scores::{Score, ScoreFilter, ScoreSummary};
pub use sessions::{SessionFilter, SessionRow, UserRow};
use tokio::sync::oneshot;
#[cfg(feature = "cli")]
pub(crate) use write::{patch_trace, post_spans, post_trace};

/// How long to wait for another process that writes.
const BUSY: Duration = Duration::from_secs(10);

/// How many changes one transaction may hold.
const BATCH: usize = 512;

/// Why the store cannot do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// SQLite says so.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// The folder or the file cannot be made.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A newer version of this program made the store.
    #[error("the store is of version {version}, and this program knows {known} at most")]
    Newer {
        /// Its version.
        version: usize,
        /// The newest that is known here.
        known: usize,
    },
    /// What is stored is not what was stored.
    #[error("what is stored cannot be read: {0}")]
    Damaged(#[from] serde_json::Error),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// Traces, spans and scores in one file. Clones share it; other processes may have it open too.
///
/// What a method that writes has returned is in the file, and survives the end of the process.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    writer: Mutex<Option<mpsc::Sender<Change>>>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
    readers: Mutex<Vec<Connection>>,
}

/// Makes a change, and gives what tells of it once it is in the file.
type Change = Box<dyn FnOnce(&Connection) -> Told + Send>;
type Told = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

impl Store {
    /// Opens the store in that file. The file and its folder are made if they are not there; an older store is brought up to
    /// date.
    ///
    /// # Errors
    ///
    /// If that cannot be done, or the store is newer than this program.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref().to_owned();
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)?;
        }
        let mut connection = connect(&path, OpenFlags::default())?;
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        schema::migrate(&mut connection)?;
        let (writer, changes) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("pandaprobe-store".to_owned())
            .spawn(move || write_all(&mut connection, &changes))?;
        Ok(Self {
            inner: Arc::new(Inner {
                path,
                writer: Mutex::new(Some(writer)),
                thread: Mutex::new(Some(thread)),
                readers: Mutex::default(),
            }),
        })
    }

    /// Where the store is.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Makes a change on the thread that writes. The future is done when the change is in the file.
    pub(crate) fn change<T, F>(&self, f: F) -> impl Future<Output = Result<T, StoreError>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let done = self.submit(f);
        async move { done.await.unwrap_or(Err(StoreError::Closed)) }
    }

    /// [`change`](Self::change), for programs without a runtime.
    #[cfg(feature = "cli")]
    pub(crate) fn change_blocking<T, F>(&self, f: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.submit(f).blocking_recv().unwrap_or(Err(StoreError::Closed))
    }

    fn submit<T, F>(&self, f: F) -> oneshot::Receiver<Result<T, StoreError>>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (tell, done) = oneshot::channel();
        let change: Change = Box::new(move |connection| {
            let made = alone(connection, f);
            Box::new(move |committed| {
                let _ = tell.send(committed.and(made));
            })
        });
        if let Some(writer) = &*lock(&self.inner.writer) {
            let _ = writer.send(change);
        }
        done
    }

    /// Reads. What is written meanwhile is not seen.
    pub(crate) fn read<T>(
        &self,
        f: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let reader = lock(&self.inner.readers).pop();
        let mut reader = match reader {
            Some(reader) => reader,
            None => {
                connect(&self.inner.path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?
            }
        };
        let transaction = reader.transaction()?;
        let read = f(&transaction)?;
        drop(transaction);
        let readers = &mut *lock(&self.inner.readers);
        if readers.len() < 8 {
            readers.push(reader);
        }
        Ok(read)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        lock(&self.writer).take();
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "foreign_keys", true)?;
    // What was committed survives the end of the process; of the machine, it may lose the last moments.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "cache_size", -32_000)?;
    connection.pragma_update(None, "mmap_size", 256 << 20)?;
    Ok(connection)
}

/// A change that fails leaves nothing behind, and the others of its transaction alone.
fn alone<T>(
    connection: &Connection,
    f: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    connection.execute_batch("SAVEPOINT change")?;
    let made = f(connection);
    let end = if made.is_ok() { "RELEASE change" } else { "ROLLBACK TO change; RELEASE change" };
    connection.execute_batch(end)?;
    made
}

/// Makes changes as they come, those that wait in one transaction.
fn write_all(connection: &mut Connection, changes: &mpsc::Receiver<Change>) {
    while let Ok(first) = changes.recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok(next) = changes.try_recv()
        {
            batch.push(next);
        }
        let mut told = Vec::with_capacity(batch.len());
        let committed = commit(connection, batch, &mut told);
        for tell in told {
            tell(committed.as_ref().copied().map_err(|error| StoreError::Sqlite(same(error))));
        }
    }
}

fn commit(
    connection: &mut Connection,
    batch: Vec<Change>,
    told: &mut Vec<Told>,
) -> Result<(), rusqlite::Error> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    told.extend(batch.into_iter().map(|change| change(&transaction)));
    transaction.commit()
}

/// The same error for each of those whose transaction failed.
fn same(error: &rusqlite::Error) -> rusqlite::Error {
    match error {
        rusqlite::Error::SqliteFailure(code, text) => rusqlite::Error::SqliteFailure(*code, text.clone()),
        other => rusqlite::Error::ToSqlConversionFailure(other.to_string().into()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

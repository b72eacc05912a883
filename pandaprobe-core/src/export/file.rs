//! Writes JSON Lines.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::{Envelope, ExportError, ExportFuture, Exporter, Payload, done};
use crate::sync::{Mutex, lock};

/// Appends to a file, one line an item. The file and its folders are made when the first item arrives.
///
/// A trace is a line by itself, exactly the body of `POST /traces`. What belongs to a trace of an earlier line
/// is `{"trace_id": …, "spans": […]}`, `{"trace_id": …, "update": {…}}` or `{"score": {…}}`.
#[derive(Debug)]
pub struct FileExporter {
    path: PathBuf,
    file: Mutex<Option<File>>,
}

impl FileExporter {
    /// Appends to the file at `path`.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self { path: path.as_ref().to_owned(), file: Mutex::new(None) }
    }

    fn write(&self, envelope: &Envelope) -> io::Result<()> {
        let mut file = lock(&self.file);
        let file = match &mut *file {
            Some(file) => file,
            none => none.insert(open(&self.path)?),
        };
        // One write a line, so that several processes can share the file.
        file.write_all(&line(envelope))
    }
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

fn line(envelope: &Envelope) -> Vec<u8> {
    let (id, body) = (envelope.trace_id(), envelope.body());
    let (before, after) = match envelope.payload() {
        Payload::Trace => (String::new(), ""),
        Payload::Spans => (format!(r#"{{"trace_id":"{id}","spans":"#), "}"),
        Payload::Update => (format!(r#"{{"trace_id":"{id}","update":"#), "}"),
        Payload::Score => (r#"{"score":"#.to_owned(), "}"),
    };
    [before.as_bytes(), body, after.as_bytes(), b"\n"].concat()
}

impl Exporter for FileExporter {
    fn export<'a>(&'a self, envelope: &'a Envelope) -> ExportFuture<'a> {
        done(self.write(envelope).map_err(|error| ExportError::Retry {
            message: format!("{}: {error}", self.path.display()),
            after: None,
            everything: true,
        }))
    }
}

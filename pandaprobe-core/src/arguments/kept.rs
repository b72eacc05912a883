//! What is kept of a value while it is written.

use std::{fmt, io};

use serde_json::Value;

use crate::cut::longer_than;

/// Keeps what fits, and stops whoever writes more.
pub(super) struct Kept {
    most: usize,
    bytes: Vec<u8>,
    pub(super) is_full: bool,
}

impl Kept {
    pub(super) fn new(most: usize) -> Self {
        Self { most, bytes: Vec::new(), is_full: false }
    }

    fn take(&mut self, bytes: &[u8]) -> bool {
        let fits = bytes.len().min(self.most - self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..fits]);
        self.is_full |= fits < bytes.len();
        !self.is_full
    }

    /// What was written, as `read` sees it, or as text.
    pub(super) fn whole(self, read: impl FnOnce(&str, Option<&str>) -> Option<Value>) -> Value {
        let text = String::from_utf8_lossy(&self.bytes).into_owned();
        read(&text, None).unwrap_or(Value::String(text))
    }

    /// What was written until it was full, as `read` sees it, or as text.
    pub(super) fn cut(mut self, read: impl FnOnce(&str, Option<&str>) -> Option<Value>) -> Value {
        let mark = longer_than(self.most);
        while std::str::from_utf8(&self.bytes).is_err() && self.bytes.pop().is_some() {}
        let text = String::from_utf8_lossy(&self.bytes);
        read(&text, Some(&mark)).unwrap_or_else(|| format!("{text}{mark}").into())
    }
}

impl io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.take(bytes) {
            true => Ok(bytes.len()),
            false => Err(io::ErrorKind::WriteZero.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Write for Kept {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.take(text.as_bytes()) { Ok(()) } else { Err(fmt::Error) }
    }
}

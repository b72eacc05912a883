//! What is kept of a value while it is written.

use std::{fmt, io};

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

    pub(super) fn text(self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub(super) fn cut(mut self) -> String {
        let most = self.most;
        while std::str::from_utf8(&self.bytes).is_err() && self.bytes.pop().is_some() {}
        format!("{}… [cut by pandaprobe: longer than {most} bytes]", self.text())
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

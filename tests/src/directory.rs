//! A directory for a spool.

use std::{
    fs,
    path::{Path, PathBuf},
};

use uuid::Uuid;

/// A directory that goes with this. It is not made.
#[derive(Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// One that nobody else has.
    #[expect(clippy::new_without_default, reason = "each is another")]
    pub fn new() -> Self {
        Self(std::env::temp_dir().join(format!("pandaprobe-spool-{}", Uuid::new_v4())))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The files of all processes that have a spool in it.
    pub fn files(&self) -> Vec<PathBuf> {
        entries(&self.0).iter().flat_map(|process| entries(process)).collect()
    }

    /// Those of them that hold records, the oldest first.
    pub fn segments(&self) -> Vec<PathBuf> {
        let is_segment = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "seg");
        let mut segments: Vec<PathBuf> = self.files().into_iter().filter(is_segment).collect();
        segments.sort();
        segments
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn entries(path: &Path) -> Vec<PathBuf> {
    fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

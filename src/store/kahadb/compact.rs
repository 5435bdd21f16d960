//! Making a store as small as it can be, while no broker has it open.

use super::fs::Filesystem;
use super::inspect::Deaf;
use super::options::{KahaDbOptions, OpenError};
use super::store::KahaDb;
use crate::store::{MessageForm, Store, StoreError};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What a store took before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Compaction {
    pub directory: PathBuf,
    pub before: Size,
    pub after: Size,
    pub messages: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Size {
    pub journal_files: u64,
    /// Length of the journal files, with one that is prepared.
    pub journal_bytes: u64,
}

/// Why a store was not compacted. What was stored is stored.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the compaction did not end")]
    Store(#[from] StoreError),
}

/// Moves what is live out of every journal file that has garbage, and drops the files. The store in
/// `options.directory` is locked by the caller; `options` say how files are written. Needs space
/// for what is moved, at most as much as is live.
///
/// # Errors
/// When the store does not open, or the disk fails.
pub fn compact(
    fs: &Arc<dyn Filesystem>,
    options: &KahaDbOptions,
    form: MessageForm,
) -> Result<Compaction, CompactError> {
    let before = size(fs, options)?;
    let options = KahaDbOptions {
        compacts_all: true,
        checkpoint_interval: LOOK,
        cleanup_interval: LOOK,
        cleanup_on_stop: true,
        ..options.clone()
    };
    let store = KahaDb::open(Arc::clone(fs), options.clone(), form, Arc::new(Deaf))?;
    store.wait_for_compaction(LOOK)?;
    let messages = store.status().messages;
    store.close()?;
    let after = size(fs, &options)?;
    Ok(Compaction { directory: options.directory, before, after, messages })
}

fn size(fs: &Arc<dyn Filesystem>, options: &KahaDbOptions) -> Result<Size, OpenError> {
    let path = &options.directory;
    let entries = fs.list(path).map_err(|source| OpenError::Io {
        action: "list",
        path: path.clone(),
        source,
    })?;
    let is_journal = |name: &str| name.starts_with("db-") && name.ends_with(".log");
    let files = entries.iter().filter(|entry| !entry.is_folder && is_journal(&entry.name));
    Ok(files.fold(Size::default(), |size, file| Size {
        journal_files: size.journal_files + 1,
        journal_bytes: size.journal_bytes + file.length,
    }))
}

/// How often files are collected, and how often it is looked whether that was all.
const LOOK: Duration = Duration::from_millis(20);

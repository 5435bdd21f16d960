//! Which store a command works on, and that nobody else does.

use super::StoreCommandError;
use crate::cli::pid_file::{self, Found};
use crate::cli::source::{self, Source};
use crate::config::PersistenceAdapter;
use crate::ha::{Attempt, HeldLock, Locker, ReadLock, SharedFile};
use crate::server::store;
use crate::store::fs::Filesystem;
use crate::store::fs::real::RealFilesystem;
use crate::store::kahadb::{Fence, KahaDbOptions, OpenError};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The arguments that choose a store.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Place {
    /// The folder of the db-N.log files, instead of the one that a configuration names
    #[arg(short, long, value_name = "DIR", conflicts_with_all = ["config", "uri"])]
    directory: Option<PathBuf>,
    #[command(flatten)]
    source: Source,
}

/// A store that is there.
#[derive(Debug)]
pub(super) struct Located {
    pub(super) options: KahaDbOptions,
    lock_folder: PathBuf,
    /// Where its broker may have its pid file.
    pid_paths: Vec<PathBuf>,
    /// How its broker is stopped.
    stop: String,
}

impl Place {
    /// Finds the store; nobody may have used it yet, so it need not be unused.
    pub(super) fn locate(&self) -> Result<Located, StoreCommandError> {
        let located = match &self.directory {
            Some(directory) => of_directory(directory),
            None => self.of_configuration()?,
        };
        let directory = &located.options.directory;
        let listed = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(StoreCommandError::Nothing { directory: directory.clone() });
            }
            Err(source) => {
                return Err(StoreCommandError::List { directory: directory.clone(), source });
            }
        };
        let is_journal = |name: &str| name.starts_with("db-") && name.ends_with(".log");
        let mut names = listed.flatten().map(|entry| entry.file_name());
        if !names.any(|name| name.to_str().is_some_and(is_journal)) {
            return Err(StoreCommandError::Nothing { directory: directory.clone() });
        }
        Ok(located)
    }

    fn of_configuration(&self) -> Result<Located, StoreCommandError> {
        let location = self.source.location()?;
        let config = self.source.load()?;
        let Some((plan, _)) = store::of_config(&config.broker) else {
            let element = match config.broker.store() {
                PersistenceAdapter::Memory(_) => "it is in memory",
                _ => "another kind of store",
            };
            return Err(StoreCommandError::NotInFiles { element });
        };
        if plan.several.is_some() {
            let element = "<mKahaDB> has several: name the folder of one with --directory";
            return Err(StoreCommandError::NotInFiles { element });
        }
        let lock = plan.lock.as_ref().map(|lock| lock.directory.clone());
        Ok(Located {
            options: plan.options(&config.broker.name, 0, &Fence::default()),
            lock_folder: lock.unwrap_or_else(|| plan.directory.clone()),
            pid_paths: vec![source::pid_path(&config)],
            stop: format!("broker stop --config {location}"),
        })
    }
}

fn of_directory(directory: &Path) -> Located {
    // A store is commonly in a folder of the data directory.
    let above = directory.canonicalize().ok();
    let above = above.as_deref().and_then(Path::parent);
    // The stores of an <mKahaDB> have one lock, in the folder that also has their txStore.
    let several = above.filter(|above| above.join("txStore").is_dir());
    let pid_paths = [above, several.and_then(Path::parent)];
    Located {
        options: KahaDbOptions { directory: directory.to_owned(), ..KahaDbOptions::default() },
        lock_folder: several.unwrap_or(directory).to_owned(),
        pid_paths: pid_paths.into_iter().flatten().map(source::pid_path_in).collect(),
        stop: "broker stop".to_owned(),
    }
}

impl Located {
    /// Looks at the store, and keeps brokers out meanwhile.
    pub(super) fn read<T>(
        &self,
        look: impl FnOnce(&Arc<dyn Filesystem>, &KahaDbOptions) -> Result<T, OpenError>,
    ) -> Result<T, StoreCommandError> {
        let _lock = ReadLock::try_lock(&self.lock_folder)?.ok_or_else(|| self.in_use())?;
        let disk: Arc<dyn Filesystem> = Arc::new(RealFilesystem);
        look(&disk, &self.options).map_err(|source| StoreCommandError::Open {
            directory: self.options.directory.clone(),
            source,
        })
    }

    /// Takes the place of a broker until it is dropped.
    pub(super) fn lock_for_writing(&self) -> Result<Box<dyn HeldLock>, StoreCommandError> {
        match SharedFile::new(&self.lock_folder).try_lock()? {
            Attempt::Acquired { lock, .. } => Ok(lock),
            Attempt::Locked => Err(self.in_use()),
        }
    }

    fn in_use(&self) -> StoreCommandError {
        let pid = self.pid_paths.iter().find_map(|path| match pid_file::look(path) {
            Ok(Found::Running(holder)) => Some(format!("a broker ({holder})")),
            _ => None,
        });
        StoreCommandError::InUse {
            directory: self.options.directory.clone(),
            holder: pid.unwrap_or_else(|| "a broker, perhaps on another machine".to_owned()),
            how: self.stop.clone(),
        }
    }
}

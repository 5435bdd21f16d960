//! Small files that follow what is in the broker: the selectors of `virtualSelectorCacheBrokerPlugin` and
//! the destinations of `destinationsPlugin`.
//!
//! ```text
//! selectors 1                                         queue://Orders
//! queue://Consumer.A.Orders <tab> color = 'red'       topic://News
//! ```
//!
//! A file is replaced as a whole, so that there is always one that can be read.

use crate::broker::Broker;
use crate::broker::interceptors::selector_cache::SelectorCache;
use crate::config::{BrokerConfig, Plugin};
use crate::jms::{Destination, DestinationKind};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Which of these files the broker keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// `persistFile` and `persistInterval`.
    pub selectors: Option<(PathBuf, Duration)>,
    /// `location`.
    pub destinations: Option<PathBuf>,
}

impl Kept {
    pub(super) fn of_config(broker: &BrokerConfig) -> Self {
        let mut kept = Self::default();
        for plugin in &broker.plugins {
            match plugin {
                Plugin::VirtualSelectorCache(cache) => {
                    let file = cache.persist_file.clone();
                    kept.selectors = file.map(|file| (file, cache.persist_interval));
                }
                Plugin::Destinations(listed) => {
                    let location = listed.location.clone();
                    let default = || broker.own_directory().join("destinations");
                    kept.destinations = Some(location.unwrap_or_else(default));
                }
                _ => {}
            }
        }
        kept
    }
}

/// First line of the file of selectors.
const SELECTORS_HEAD: &str = "selectors 1\n";

/// A larger file is none of ours.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Keeps one file up to date until it is told to end.
pub(super) struct Keeper {
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Keeper {
    /// Writes what is left to write.
    pub(super) async fn finish(self) {
        drop(self.end);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "a kept file was not written at the end");
        }
    }
}

/// Remembers what `file` has of selectors. Whatever else is there, such as the file of a Java broker, is
/// put aside.
pub(super) fn restore_selectors(cache: &SelectorCache, file: &Path) {
    let text = match read(file) {
        Ok(Some(text)) => text,
        Ok(None) => return,
        Err(error) => {
            tracing::warn!(file = %file.display(), %error, "the selectors of absent consumers are not known");
            return put_aside(file);
        }
    };
    match text.strip_prefix(SELECTORS_HEAD) {
        Some(lines) => {
            let skipped = cache.restore(lines);
            if skipped > 0 {
                tracing::warn!(file = %file.display(), skipped, "lines without a selector were passed over");
            }
        }
        None => {
            tracing::warn!(file = %file.display(), "this is not a file of selectors of this broker");
            put_aside(file);
        }
    }
}

fn put_aside(file: &Path) {
    let mut aside = file.as_os_str().to_owned();
    aside.push(".aside");
    match fs::rename(file, &aside) {
        Ok(()) => {
            tracing::warn!(file = %file.display(), aside = %aside.display(), "it was put aside")
        }
        Err(error) => tracing::warn!(file = %file.display(), %error, "it could not be put aside"),
    }
}

/// Writes the selectors every `interval`, if there are new ones, and at the end.
pub(super) fn keep_selectors(
    cache: Arc<SelectorCache>,
    file: PathBuf,
    interval: Duration,
) -> Keeper {
    let (end, mut ended) = oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        loop {
            let over = tokio::select! {
                _ = &mut ended => true,
                () = tokio::time::sleep(interval.max(Duration::from_millis(1))) => false,
            };
            if let Some(lines) = cache.take_changes() {
                write(&file, format!("{SELECTORS_HEAD}{lines}")).await;
            }
            if over {
                return;
            }
        }
    });
    Keeper { end, task }
}

/// The destinations that `file` lists, one qualified name in each line.
pub(super) fn listed_destinations(file: &Path) -> Vec<Destination> {
    match read(file) {
        Ok(text) => {
            let text = text.unwrap_or_default();
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            lines.map(|line| Destination::parse(line, DestinationKind::Queue)).collect()
        }
        Err(error) => {
            tracing::error!(file = %file.display(), %error, "the list of destinations could not be read");
            Vec::new()
        }
    }
}

/// Writes the list of destinations whenever it changes.
pub(super) fn keep_destinations(broker: &Arc<Broker>, file: PathBuf) -> Keeper {
    let (end, mut ended) = oneshot::channel::<()>();
    let mut changes = broker.router.changes();
    let broker = Arc::clone(broker);
    let task = tokio::spawn(async move {
        let mut written = None;
        loop {
            let mut lines: Vec<String> = Vec::new();
            for handle in broker.router.all() {
                let destination = &handle.destination;
                let line = destination.to_string();
                let listed = !destination.kind().is_temporary() && !destination.is_advisory();
                if listed && !line.contains(['\n', '\r']) {
                    lines.push(line + "\n");
                }
            }
            lines.sort_unstable();
            let text = lines.concat();
            if written.as_ref() != Some(&text) {
                write(&file, text.clone()).await;
                written = Some(text);
            }
            tokio::select! {
                biased;
                changed = changes.changed() => if changed.is_err() { return },
                _ = &mut ended => return,
            }
        }
    });
    Keeper { end, task }
}

fn read(file: &Path) -> io::Result<Option<String>> {
    let file = match File::open(file) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if file.metadata()?.len() > FILE_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(Some(text))
}

/// Puts `text` in the place of what `file` has.
async fn write(file: &Path, text: String) {
    let path = file.to_owned();
    let written = tokio::task::spawn_blocking(move || replace(&path, &text));
    let error = match written.await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error,
        Err(error) => io::Error::other(error),
    };
    tracing::error!(file = %file.display(), %error, "it could not be written");
}

fn replace(file: &Path, text: &str) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(folder)?;
    let mut name = file.as_os_str().to_owned();
    name.push(".new");
    let mut new = File::create(&name)?;
    new.write_all(text.as_bytes())?;
    new.sync_all()?;
    fs::rename(&name, file)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jms::ConsumerInfo;
    use crate::jms::selector::Selector;

    #[tokio::test]
    async fn selectors_are_there_again_and_a_foreign_file_is_put_aside() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("selectors");
        fs::write(&file, [0xac, 0xed, 0, 5]).expect("it can be written");
        let cache = Arc::new(SelectorCache::default());
        restore_selectors(&cache, &file);
        assert!(!file.exists() && folder.path().join("selectors.aside").exists());
        let selector = Selector::parse("a = 1").expect("a selector");
        let destination = Some(Destination::queue("Q"));
        cache.note(&ConsumerInfo { destination, ..ConsumerInfo::default() }, Some(&selector));
        keep_selectors(Arc::clone(&cache), file.clone(), Duration::from_secs(600)).finish().await;
        assert_eq!(
            read(&file).expect("it can be read").as_deref(),
            Some("selectors 1\nqueue://Q\ta = 1\n")
        );
        let again = SelectorCache::default();
        restore_selectors(&again, &file);
        assert!(again.take_changes().is_none());
        again.forget(&Destination::queue("Q"));
        assert!(again.take_changes().is_some(), "it was known");
    }

    #[test]
    fn a_list_of_destinations_is_read_line_by_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("destinations");
        assert_eq!(listed_destinations(&file), []);
        fs::write(&file, "queue://A\n\n topic://B.C\n").expect("it can be written");
        let expected = [Destination::queue("A"), Destination::topic("B.C")];
        assert_eq!(listed_destinations(&file), expected);
    }
}

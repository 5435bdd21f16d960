//! Limits of what is on disk, looked at again: a limit that was lowered because the disk was full
//! must not stay when there is space again.

use super::disk::{self, Adjust, DiskLimits, TooHigh};
use super::store::StorePlan;
use super::temp_folder;
use crate::broker::usage::Usage;
use crate::config::{Config, SystemUsage};
use crate::store::Store;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// What the limits follow from.
#[derive(Debug)]
pub(super) struct Space {
    usage: SystemUsage,
    store_folder: PathBuf,
    file_bytes: u64,
    temp_folder: PathBuf,
    /// `schedulePeriodForDiskUsageCheck`; zero: only while a limit is reached.
    period: Duration,
    adjust: Adjust,
    /// `diskUsageCheckRegrowThreshold`: a limit grows by so many percent of its partition at least.
    regrow_percent: u64,
}

/// Why limits are not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum LimitsError {
    /// The system cannot tell how much there is.
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    TooHigh(#[from] TooHigh),
}

impl Space {
    pub(super) fn of_config(config: &Config, plan: &StorePlan) -> Self {
        Self {
            usage: config.broker.system_usage.clone(),
            store_folder: plan.directory.clone(),
            file_bytes: plan.journal_file_bytes.into(),
            temp_folder: temp_folder(&config.broker),
            period: config.broker.schedule_period_for_disk_usage_check,
            adjust: if config.broker.adjust_usage_limits { Adjust::Yes } else { Adjust::No },
            regrow_percent: config.broker.disk_usage_check_regrow_threshold.unwrap_or(0).into(),
        }
    }

    /// The limits now, lowered to what the disk has; those are told if `is_told`.
    ///
    /// # Errors
    /// When the system cannot tell how much there is, or a limit may not be lowered to it.
    pub(super) fn limits(
        &self,
        used: DiskLimits,
        is_told: bool,
    ) -> Result<DiskLimits, LimitsError> {
        self.limits_with(used, is_told, self.adjust)
    }

    fn limits_with(
        &self,
        used: DiskLimits,
        is_told: bool,
        adjust: Adjust,
    ) -> Result<DiskLimits, LimitsError> {
        let kept = |folder, used_bytes, file_bytes| {
            let space = disk::Space::of(folder)?;
            Ok::<_, io::Error>(disk::Kept { folder, space, used_bytes, file_bytes })
        };
        let store = kept(&self.store_folder, used.store_bytes, self.file_bytes)?;
        let temp = kept(&self.temp_folder, used.temp_bytes, 0)?;
        let (limits, notes) = disk::limits(&self.usage, store, temp, adjust)?;
        if is_told {
            notes.iter().for_each(super::Note::log);
        }
        Ok(limits)
    }

    /// Whether a limit for `folder` may grow by `bytes`.
    fn is_worth(&self, folder: &Path, bytes: u64) -> bool {
        let total = disk::Space::of(folder).map_or(0, |space| space.total_bytes);
        bytes.saturating_mul(100) >= total.saturating_mul(self.regrow_percent)
    }

    /// Keeps the limits of `store` and `temp` as the disk allows, and `kept`, which is what uses
    /// the former, informed. Ends when it is dropped.
    pub(super) fn watch(
        self,
        store: Arc<Usage>,
        temp: Arc<Usage>,
        kept: Arc<dyn Store>,
    ) -> Watching {
        Watching(tokio::spawn(async move {
            let every = if self.period.is_zero() { LOOK } else { self.period };
            loop {
                tokio::time::sleep(every).await;
                let is_full = store.full().is_some() || temp.full().is_some();
                if self.period.is_zero() && !is_full {
                    continue;
                }
                let used = DiskLimits { store_bytes: store.used(), temp_bytes: temp.used() };
                // What the system cannot tell now stays as it is.
                let Ok(limits) = self.limits_with(used, false, Adjust::Yes) else { continue };
                let folders = [&self.store_folder, &self.temp_folder];
                let wanted = [(&store, limits.store_bytes), (&temp, limits.temp_bytes)];
                for (folder, (usage, limit)) in folders.into_iter().zip(wanted) {
                    // A file that is prepared takes space and is not used: no reason to lower it.
                    let may_lower = !self.period.is_zero();
                    if limit > usage.limit() && self.is_worth(folder, limit - usage.limit())
                        || may_lower && limit < usage.limit()
                    {
                        usage.set_limit(limit);
                    }
                }
                kept.set_limit(store.limit());
            }
        }))
    }
}

/// A task that ends with this.
#[derive(Debug)]
pub(super) struct Watching(JoinHandle<()>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How often to look while a limit is reached.
const LOOK: Duration = Duration::from_secs(2);

//! The scheduler as it is configured, and the folder where ActiveMQ has its jobs.

use super::StartError;
use super::disk::Space;
use crate::broker::scheduler::SchedulerOptions;
use crate::broker::usage::Usage;
use crate::config::{BrokerConfig, JobSchedulerStore};
use std::path::PathBuf;

/// What the scheduler is started with.
pub(super) fn of_config(broker: &BrokerConfig) -> SchedulerOptions {
    let usage = &broker.system_usage.job_scheduler;
    // What the system cannot tell does not matter unless the limit is a share of it.
    let partition = Space::of(&broker.data_directory).map_or(u64::MAX, |space| space.total_bytes);
    SchedulerOptions {
        is_active: broker.scheduler_support,
        repeats_max: broker.max_scheduler_repeat_allowed,
        usage: Usage::new(usage.limit_bytes(partition), None),
    }
}

/// Looks for jobs of an ActiveMQ, and leaves word where those of this broker are.
///
/// # Errors
/// When there are some: they would never be delivered.
pub(super) fn prepare_directory(broker: &BrokerConfig) -> Result<(), StartError> {
    if !broker.scheduler_support || !broker.persistent {
        return Ok(());
    }
    let directory = directory(broker);
    if directory.join(JAVA_INDEX).exists() {
        return Err(StartError::ForeignJobs(directory));
    }
    let note = directory.join("README");
    let written = std::fs::create_dir_all(&directory).and_then(|()| std::fs::write(&note, NOTE));
    if let Err(error) = written {
        tracing::debug!(note = %note.display(), %error, "the note could not be written");
    }
    Ok(())
}

fn directory(broker: &BrokerConfig) -> PathBuf {
    let of_store = match &broker.job_scheduler_store {
        Some(JobSchedulerStore::KahaDb(jobs)) => jobs.directory.clone(),
        Some(JobSchedulerStore::Memory) | None => None,
    };
    let named = of_store.or_else(|| broker.scheduler_directory.clone());
    named.unwrap_or_else(|| broker.own_directory().join("scheduler"))
}

/// The index of a scheduler's KahaDB.
const JAVA_INDEX: &str = "scheduleDB.data";

const NOTE: &str = "Scheduled messages are kept in the broker's store, with all others.\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_of_an_activemq_are_not_given_up_in_silence() {
        let folder = tempfile::tempdir().expect("a folder");
        let broker = BrokerConfig {
            scheduler_support: true,
            scheduler_directory: Some(folder.path().join("jobs")),
            ..BrokerConfig::default()
        };
        assert!(prepare_directory(&broker).is_ok());
        assert!(folder.path().join("jobs/README").exists());
        std::fs::write(folder.path().join("jobs/scheduleDB.data"), "pages").expect("written");
        assert!(matches!(prepare_directory(&broker), Err(StartError::ForeignJobs(_))));
        let without = BrokerConfig { scheduler_support: false, ..broker };
        assert!(prepare_directory(&without).is_ok());
    }
}

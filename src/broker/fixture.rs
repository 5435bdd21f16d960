//! What tests of the whole broker, without sockets, share.

use super::inactive::InactiveSweeps;
use super::live::Live;
use super::plugins::Plugins;
use super::policy::Policy;
use super::scheduler::SchedulerOptions;
use super::usage::{MemoryShare, Usage};
use super::{Broker, BrokerOptions, OfflineDurables, PreparedFate, UserId, VirtualSubscriptions};
use crate::jms::BrokerId;
use crate::store::Store;
use crate::store::memory::MemoryStore;
use std::sync::Arc;
use std::time::Duration;

/// As in a configuration that says nothing, with neither store nor advisories.
pub(super) fn options() -> BrokerOptions {
    BrokerOptions {
        name: "test".into(),
        id: BrokerId::default(),
        policy: Box::new(|_| Policy::default()),
        memory_limit_bytes: 0,
        producer_memory: MemoryShare::Broker,
        consumer_memory: MemoryShare::Broker,
        advisories: false,
        interceptors: Arc::default(),
        virtual_subscriptions: VirtualSubscriptions::default(),
        path_separator: None,
        user_id: UserId::AsSent,
        shows_users: false,
        anonymous_producer_advisories: false,
        create_temporaries_on_send: false,
        keep_durables_active: true,
        expire_active_durables: false,
        keep_temporaries: None,
        rollback_only_on_async_failure: true,
        monitors_splits: false,
        reject_durables: false,
        statistics: true,
        authenticator: Live::default(),
        store_usage: Usage::new(0, None),
        store_share: None,
        temp_usage: Usage::new(0, None),
        spool: None,
        dispatches_early: true,
        prepared_fate: PreparedFate::Wait,
        deletes_all: false,
        offline_durables: OfflineDurables { timeout: None, check_every: Duration::ZERO },
        inactive_sweeps: InactiveSweeps::default(),
        scheduler: SchedulerOptions::default(),
        plugins: Plugins::default(),
        addresses: Vec::new(),
        data_directory: "".into(),
        default_url: "vm://test".into(),
    }
}

pub(super) async fn start(options: BrokerOptions) -> Arc<Broker> {
    start_on(options, Arc::new(MemoryStore)).await
}

pub(super) async fn start_on(options: BrokerOptions, store: Arc<dyn Store>) -> Arc<Broker> {
    Broker::start(options, store).await.expect("nothing is in its way")
}

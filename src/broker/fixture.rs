//! What tests of the whole broker, without sockets, share.

use super::client::{Closing, Transport};
use super::inactive::InactiveSweeps;
use super::live::Live;
use super::plugins::Plugins;
use super::policy::Policy;
use super::scheduler::SchedulerOptions;
use super::usage::{MemoryShare, Usage};
use super::{Broker, BrokerOptions, OfflineDurables, PreparedFate, UserId, VirtualSubscriptions};
use crate::jms::{BrokerId, Message};
use crate::store::fs::simulated::SimulatedDisk;
use crate::store::kahadb::{KahaDb, KahaDbOptions};
use crate::store::memory::MemoryStore;
use crate::store::{
    Fetch, FetchDone, MessageForm, Recovered, Store, StoreError, StoreEvents, StoreStatus, Submit,
};
use bytes::{Buf, BufMut};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// As in a configuration that says nothing, with neither store nor advisories.
pub(crate) fn options() -> BrokerOptions {
    BrokerOptions {
        name: "test".into(),
        id: BrokerId::default(),
        policy: Box::new(|_| Policy::default()),
        memory_name: "Main".into(),
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

/// Of a peer that is not there.
pub(crate) fn transport() -> Transport {
    Transport {
        remote: "tcp://peer".into(),
        connector: "openwire".into(),
        connector_url: "tcp://broker".into(),
        stop: Arc::default(),
        closing: Closing::default(),
        allow_link_stealing: false,
        producers_max: 100,
        consumers_max: 100,
    }
}

pub(crate) async fn start(options: BrokerOptions) -> Arc<Broker> {
    start_on(options, Arc::new(MemoryStore)).await
}

/// A broker whose store had this when it was opened.
pub(super) async fn restart(options: BrokerOptions, recovered: Recovered) -> Arc<Broker> {
    start_on(options, Arc::new(Reopened(Mutex::new(recovered)))).await
}

pub(super) async fn start_on(options: BrokerOptions, store: Arc<dyn Store>) -> Arc<Broker> {
    Broker::start(options, store).await.expect("nothing is in its way")
}

/// A store that was closed with something in it.
#[derive(Debug)]
struct Reopened(Mutex<Recovered>);

impl Store for Reopened {
    fn name(&self) -> String {
        MemoryStore.name()
    }

    fn keeps(&self) -> bool {
        false
    }

    fn recovered(&self) -> Recovered {
        std::mem::take(&mut self.0.lock())
    }

    fn submit(&self, submit: Submit) {
        MemoryStore.submit(submit);
    }

    fn fetch(&self, fetch: Fetch, done: FetchDone) {
        MemoryStore.fetch(fetch, done);
    }

    fn status(&self) -> StoreStatus {
        MemoryStore.status()
    }

    fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// The file store on a disk in memory, which may have been left by another one that was closed.
pub(super) fn store_on(disk: &SimulatedDisk) -> Arc<KahaDb> {
    let options = KahaDbOptions {
        directory: "store".into(),
        journal_max_file_length: 256 << 10,
        // Nothing happens but what the test does.
        checkpoint_interval: Duration::ZERO,
        cleanup_interval: Duration::ZERO,
        ..KahaDbOptions::default()
    };
    let disk = Arc::new(disk.clone());
    KahaDb::open(disk, options, WRITTEN, Arc::new(Unheard)).expect("a sound disk")
}

/// How messages are written on a disk in memory: as their places among all that ever were.
const WRITTEN: MessageForm = MessageForm {
    version: 1,
    encode: |message, out| {
        let mut all = MESSAGES.lock();
        out.put_u64(all.len() as u64);
        all.push(Arc::new(message.clone()));
    },
    decode: |mut body| {
        let place = usize::try_from(body.try_get_u64().ok()?).ok()?;
        MESSAGES.lock().get(place).cloned()
    },
};

static MESSAGES: Mutex<Vec<Arc<Message>>> = Mutex::new(Vec::new());

#[derive(Debug)]
struct Unheard;

impl StoreEvents for Unheard {
    fn bytes_used(&self, _: u64) {}

    fn failed(&self, error: &StoreError) {
        panic!("a disk in memory does not fail: {error}");
    }
}

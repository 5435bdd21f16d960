//! Who is connected, and what the clients have open: for client ids, advisories and the console.

use super::client::{Closing, Transport};
use super::destination::durable::{DurableKey, DurableSubscription};
use super::error::BrokerError;
use super::outbox::Outbox;
use crate::jms::info::{ConnectionInfo, ProducerInfo};
use crate::jms::{ConnectionId, ConsumerId, ConsumerInfo, ProducerId, Text};
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use tokio::sync::Notify;

/// One connection as the broker knows it.
#[derive(Debug)]
pub struct ConnectionEntry {
    /// The broker's number for it.
    pub number: u64,
    pub info: Arc<ConnectionInfo>,
    /// The peer's address, such as `tcp://127.0.0.1:51234`.
    pub remote: Text,
    /// The connector it came through.
    pub connector: Text,
    /// Where that listens, as clients are told.
    pub connector_url: Text,
    /// Ends the transport of this connection.
    pub stop: Arc<Notify>,
    pub outbox: Arc<Outbox>,
    /// Its sender waits for room.
    pub blocked: AtomicBool,
    /// Open local transactions.
    pub transactions: AtomicU32,
    /// Everything of the connection is cleaned up.
    gone: Closing,
}

/// One producer as the broker knows it: what it does is noted by the task of its connection.
#[derive(Debug)]
pub struct ProducerEntry {
    pub info: Arc<ProducerInfo>,
    pub(super) sent: AtomicU64,
    pub(super) blocked: AtomicBool,
    pub(super) blocked_sends: AtomicU64,
    pub(super) blocked_micros: AtomicU64,
}

impl ProducerEntry {
    pub fn new(info: ProducerInfo) -> Arc<Self> {
        Arc::new(Self {
            info: Arc::new(info),
            sent: AtomicU64::new(0),
            blocked: AtomicBool::new(false),
            blocked_sends: AtomicU64::new(0),
            blocked_micros: AtomicU64::new(0),
        })
    }
}

/// What there is now.
#[derive(Debug, Default)]
pub struct Registry {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    connections: HashMap<ConnectionId, Arc<ConnectionEntry>>,
    clients: HashMap<Text, ConnectionId>,
    consumers: HashMap<ConsumerId, Arc<ConsumerInfo>>,
    producers: HashMap<ProducerId, Arc<ProducerEntry>>,
    durables: HashMap<DurableKey, Arc<DurableSubscription>>,
    /// Connections there have been.
    connected: u64,
}

/// Whom a new connection must wait for.
pub enum Admission {
    Welcome(Arc<ConnectionEntry>),
    /// An older connection is in the way; it was told to stop.
    Wait(Closing),
}

impl Registry {
    /// Notes a connection. An older one with the same connection id (or, where links are stolen, the same
    /// client id) is stopped first.
    pub fn enter(
        &self,
        number: u64,
        info: &Arc<ConnectionInfo>,
        transport: &Transport,
        outbox: &Arc<Outbox>,
        broker: &Text,
    ) -> Result<Admission, BrokerError> {
        let id = info.connection_id.clone().unwrap_or_default();
        let client = info.client_id.clone().ok_or(BrokerError::ClientIdMissing)?;
        let mut state = self.state.lock();
        let rival = match state.connections.get(&id) {
            Some(older) => Some(Arc::clone(older)),
            None => match state.clients.get(&client).and_then(|id| state.connections.get(id)) {
                Some(other) if transport.allow_link_stealing => Some(Arc::clone(other)),
                Some(other) => {
                    return Err(BrokerError::ClientIdInUse {
                        broker: Text::clone(broker),
                        client,
                        address: Text::clone(&other.remote),
                    });
                }
                None => None,
            },
        };
        if let Some(rival) = rival {
            rival.stop.notify_one();
            return Ok(Admission::Wait(rival.gone.clone()));
        }
        let entry = Arc::new(ConnectionEntry {
            number,
            info: Arc::clone(info),
            remote: Text::clone(&transport.remote),
            connector: Text::clone(&transport.connector),
            connector_url: Text::clone(&transport.connector_url),
            stop: Arc::clone(&transport.stop),
            outbox: Arc::clone(outbox),
            blocked: AtomicBool::new(false),
            transactions: AtomicU32::new(0),
            gone: Closing::default(),
        });
        state.connected += 1;
        state.clients.insert(client, id.clone());
        state.connections.insert(id, Arc::clone(&entry));
        Ok(Admission::Welcome(entry))
    }

    /// The connection is cleaned up.
    pub fn leave(&self, entry: &Arc<ConnectionEntry>) {
        let mut state = self.state.lock();
        let id = entry.info.connection_id.clone().unwrap_or_default();
        if state.connections.get(&id).is_some_and(|present| Arc::ptr_eq(present, entry)) {
            state.connections.remove(&id);
            if let Some(client) = &entry.info.client_id
                && state.clients.get(client) == Some(&id)
            {
                state.clients.remove(client);
            }
        }
        drop(state);
        entry.gone.close();
    }

    /// How many connections there have been since the broker's start.
    pub fn connected(&self) -> u64 {
        self.state.lock().connected
    }

    pub fn connections(&self) -> Vec<Arc<ConnectionEntry>> {
        self.state.lock().connections.values().cloned().collect()
    }

    pub fn connection(&self, id: Option<&Text>) -> Option<Arc<ConnectionEntry>> {
        let id = ConnectionId::new(Text::clone(id?));
        self.state.lock().connections.get(&id).cloned()
    }

    pub fn consumer_added(&self, id: ConsumerId, info: Arc<ConsumerInfo>) {
        self.state.lock().consumers.insert(id, info);
    }

    pub fn consumer_removed(&self, id: &ConsumerId) {
        self.state.lock().consumers.remove(id);
    }

    pub fn consumers(&self) -> Vec<Arc<ConsumerInfo>> {
        self.state.lock().consumers.values().cloned().collect()
    }

    pub fn producer_added(&self, id: ProducerId, entry: Arc<ProducerEntry>) {
        self.state.lock().producers.insert(id, entry);
    }

    pub fn producer_removed(&self, id: &ProducerId) {
        self.state.lock().producers.remove(id);
    }

    pub fn producers(&self) -> Vec<Arc<ProducerInfo>> {
        self.state.lock().producers.values().map(|entry| Arc::clone(&entry.info)).collect()
    }

    pub fn producer_entries(&self) -> Vec<Arc<ProducerEntry>> {
        self.state.lock().producers.values().cloned().collect()
    }

    pub fn durable(&self, key: &DurableKey) -> Option<Arc<DurableSubscription>> {
        self.state.lock().durables.get(key).cloned()
    }

    pub fn durable_added(&self, durable: Arc<DurableSubscription>) {
        self.state.lock().durables.insert(durable.owner.clone(), durable);
    }

    pub fn durable_removed(&self, key: &DurableKey) -> Option<Arc<DurableSubscription>> {
        self.state.lock().durables.remove(key)
    }

    pub fn durables(&self) -> Vec<Arc<DurableSubscription>> {
        self.state.lock().durables.values().cloned().collect()
    }
}

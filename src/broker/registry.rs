//! Who is connected, and what the clients have open: for client ids, advisories and the console.

use super::destination::durable::{DurableKey, DurableSubscription};
use super::error::BrokerError;
use crate::jms::info::{ConnectionInfo, ProducerInfo};
use crate::jms::{ConnectionId, ConsumerId, ConsumerInfo, ProducerId, Text};
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::{Notify, watch};

/// One connection as the broker knows it.
#[derive(Debug)]
pub struct ConnectionEntry {
    /// The broker's number for it.
    pub number: u64,
    pub info: Arc<ConnectionInfo>,
    /// The peer's address, such as `tcp://127.0.0.1:51234`.
    pub remote: Text,
    /// Ends the transport of this connection.
    pub stop: Arc<Notify>,
    /// True once everything of the connection is cleaned up.
    gone: watch::Sender<bool>,
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
    producers: HashMap<ProducerId, Arc<ProducerInfo>>,
    durables: HashMap<DurableKey, Arc<DurableSubscription>>,
}

/// Whom a new connection must wait for.
pub enum Admission {
    Welcome(Arc<ConnectionEntry>),
    /// An older connection is in the way; it was told to stop.
    Wait(watch::Receiver<bool>),
}

impl Registry {
    /// Notes a connection. An older one with the same connection id (or, with `steal`, the same client
    /// id) is stopped first.
    pub fn enter(
        &self,
        number: u64,
        info: &Arc<ConnectionInfo>,
        remote: &Text,
        stop: &Arc<Notify>,
        steal: bool,
        broker: &Text,
    ) -> Result<Admission, BrokerError> {
        let id = info.connection_id.clone().unwrap_or_default();
        let client = info.client_id.clone().ok_or(BrokerError::ClientIdMissing)?;
        let mut state = self.state.lock();
        let rival = match state.connections.get(&id) {
            Some(older) => Some(Arc::clone(older)),
            None => match state.clients.get(&client).and_then(|id| state.connections.get(id)) {
                Some(other) if steal => Some(Arc::clone(other)),
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
            return Ok(Admission::Wait(rival.gone.subscribe()));
        }
        let entry = Arc::new(ConnectionEntry {
            number,
            info: Arc::clone(info),
            remote: Text::clone(remote),
            stop: Arc::clone(stop),
            gone: watch::Sender::new(false),
        });
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
        entry.gone.send_replace(true);
    }

    pub fn connections(&self) -> Vec<Arc<ConnectionEntry>> {
        self.state.lock().connections.values().cloned().collect()
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

    pub fn producer_added(&self, id: ProducerId, info: Arc<ProducerInfo>) {
        self.state.lock().producers.insert(id, info);
    }

    pub fn producer_removed(&self, id: &ProducerId) {
        self.state.lock().producers.remove(id);
    }

    pub fn producers(&self) -> Vec<Arc<ProducerInfo>> {
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

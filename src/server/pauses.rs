//! `stopStartConnectors`: ports and connections close while the store has no space, and open again when it
//! has some. Clients go elsewhere meanwhile.

use super::connector::Connector;
use crate::broker::Broker;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The connectors of a broker, open or not.
pub(super) struct Connectors {
    broker: Arc<Broker>,
    host: String,
    all: Mutex<Vec<Arc<Connector>>>,
}

/// The stores that have no space, by the names of their folders; the empty name stands for all of them.
pub(super) type Short = BTreeSet<String>;

impl Connectors {
    pub(super) fn new(broker: Arc<Broker>, host: &str, all: Vec<Connector>) -> Arc<Self> {
        let all = Mutex::new(all.into_iter().map(Arc::new).collect());
        Arc::new(Self { broker, host: host.to_owned(), all })
    }

    pub(super) fn all(&self) -> Vec<Arc<Connector>> {
        self.all.lock().clone()
    }

    /// Closes all ports and ends all connections, which get `patience` for that.
    pub(super) async fn close(&self, patience: Duration) {
        let all = self.all();
        // First all of them: who has lost its lock must not serve on one while another one closes.
        all.iter().for_each(|connector| connector.close());
        for connector in all {
            connector.closed(patience).await;
        }
    }

    /// Opens the ports again, each where it was.
    fn reopen(&self) -> io::Result<()> {
        let mut all = self.all.lock();
        let bound: Result<Vec<_>, _> =
            all.iter().map(|connector| connector.again(&self.host)).collect();
        let serve = |(connector, listener): (Connector, _)| {
            connector.serve(listener, Arc::clone(&self.broker));
            Arc::new(connector)
        };
        *all = bound?.into_iter().map(serve).collect();
        Ok(())
    }
}

/// Ends when it is dropped.
#[derive(Debug)]
pub(super) struct Pauses(JoinHandle<()>);

impl Pauses {
    /// Keeps `connectors` closed while a store is `short`, of which it assures itself every `period`. Tells
    /// `failed` when they cannot be opened again.
    pub(super) fn begin(
        connectors: Arc<Connectors>,
        mut short: watch::Receiver<Short>,
        period: Duration,
        failed: watch::Sender<bool>,
    ) -> Self {
        Self(tokio::spawn(async move {
            let broker = &connectors.broker.options.name;
            while short.wait_for(|short| !short.is_empty()).await.is_ok() {
                tracing::info!(
                    "Initiating stop/restart of transports on {broker}: the store has no space left"
                );
                connectors.close(super::STOP_PATIENCE).await;
                tracing::info!("Successfully stopped transports on {broker}");
                while !short.borrow_and_update().is_empty() {
                    tracing::info!("waiting for space in the store before restarting transports");
                    tokio::time::sleep(period.max(SHORTEST_PERIOD)).await;
                }
                match connectors.reopen() {
                    Ok(()) => tracing::info!("Successfully restarted transports on {broker}"),
                    Err(error) => {
                        tracing::error!(%error, "Stopping {broker}: the transports could not be restarted");
                        failed.send_replace(true);
                        return;
                    }
                }
            }
        }))
    }
}

impl Drop for Pauses {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A period of zero would never rest.
const SHORTEST_PERIOD: Duration = Duration::from_millis(10);

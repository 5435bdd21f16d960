//! Destinations a client creates and removes: temporary ones, and rarely others.

use super::super::error::BrokerError;
use super::super::names;
use super::super::plugins::Event;
use super::super::router::matches;
use super::{Client, OBJECTS_MAX};
use crate::jms::info::DestinationInfo;
use crate::jms::{ConnectionId, Destination};

impl Client {
    /// Whether a temporary destination was made by this connection: its name is the connection's id,
    /// a colon and a counter. The last colon counts: another client's id may begin with ours.
    pub(super) fn owns(&self, destination: &Destination) -> bool {
        let creator = destination.name().rsplit_once(':').map(|(creator, _)| creator);
        creator == self.entry.info.connection_id.as_ref().map(ConnectionId::as_str)
    }

    /// Creates a destination; one that exists is fine.
    pub async fn add_destination(&mut self, mut info: DestinationInfo) -> Result<(), BrokerError> {
        names::resolve(&mut info.destination, self.broker.options.path_separator.as_deref());
        self.note(&Event::DestinationInfoAdded(&info));
        let destination = info.destination.ok_or(BrokerError::DestinationNameEmpty)?;
        if destination.parts().is_empty() {
            return Err(BrokerError::DestinationNameEmpty);
        }
        if destination.kind().is_temporary() && !self.temporaries.contains(&destination) {
            if !self.owns(&destination) && !self.network {
                return Err(BrokerError::NotOwner(destination));
            }
            self.check_limit("temporary destination", self.temporaries.len(), OBJECTS_MAX)?;
            self.temporaries.push(destination.clone());
        }
        self.destination(&destination).await?;
        Ok(())
    }

    /// Removes a destination; refused while it has subscriptions, fine when it does not exist.
    pub async fn remove_destination(
        &mut self,
        mut info: DestinationInfo,
    ) -> Result<(), BrokerError> {
        names::resolve(&mut info.destination, self.broker.options.path_separator.as_deref());
        self.note(&Event::DestinationInfoRemoved(&info));
        let destination = info.destination.ok_or(BrokerError::DestinationNameEmpty)?;
        let Some(handle) = self.broker.router.find(&destination) else { return Ok(()) };
        if destination.kind().is_temporary() && !self.owns(&destination) && !self.network {
            return Err(BrokerError::NotOwner(destination));
        }
        self.flush().await;
        if info.timeout == 0 && handle.gauges.consumers.count() > 0 {
            let consumers = self.broker.registry.consumers();
            let reads =
                |of: &Destination| of.parts().iter().any(|part| matches(part, &destination));
            let holder = consumers.iter().find(|info| info.destination.as_ref().is_some_and(reads));
            let holder = holder.and_then(|info| info.consumer_id.as_ref()).map(ToString::to_string);
            let durables = self.broker.registry.durables();
            let durable = durables.iter().find(|durable| reads(&durable.destination));
            let durable = durable.map(|durable| &durable.owner);
            let durable = durable.map(|owner| format!("{}:{}", owner.client, owner.name));
            let consumer = holder.or(durable).unwrap_or_default().into();
            return Err(BrokerError::DestinationInUse { destination, consumer });
        }
        self.temporaries.retain(|temporary| *temporary != destination);
        self.routes.remove(&destination);
        self.broker.remove_destination(&destination, Some(&self.connection_id())).await;
        Ok(())
    }

    /// Makes the temporary destination a consumer names, if it is this connection's to make.
    pub(super) async fn adopt_temporary(
        &mut self,
        destination: &Destination,
    ) -> Result<(), BrokerError> {
        if !destination.kind().is_temporary() {
            return Ok(());
        }
        // A pattern stands for the destinations of others, too.
        if !self.network && (!self.owns(destination) || destination.is_pattern()) {
            return Err(BrokerError::NotOwner(destination.clone()));
        }
        if destination.is_pattern() {
            return Ok(());
        }
        if self.broker.router.find(destination).is_none() && !self.temporaries.contains(destination)
        {
            self.temporaries.push(destination.clone());
        }
        Ok(())
    }
}

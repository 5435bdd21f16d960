//! A line in the log for what clients do, in ActiveMQ's words (semantics.md section 21).

mod text;

use crate::broker::advisory::Notice;
use crate::broker::outbox::Delivery;
use crate::jms::info::{ConnectionInfo, DestinationInfo, ProducerInfo, RemoveSubscriptionInfo};
use crate::jms::{
    ConsumerInfo, Destination, Message, MessageAck, MessagePull, SessionId, Text, TransactionId,
    XaId,
};
use std::sync::Arc;

/// `<loggingBrokerPlugin>`: what is worth a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Logging {
    pub all: bool,
    pub connections: bool,
    pub sessions: bool,
    pub consumers: bool,
    pub producers: bool,
    pub transactions: bool,
    pub internal: bool,
}

/// Something that happened.
#[derive(Debug)]
pub enum Event<'a> {
    ConnectionAdded(&'a ConnectionInfo),
    ConnectionRemoved(&'a ConnectionInfo),
    SessionAdded(&'a SessionId),
    SessionRemoved(&'a SessionId),
    ConsumerAdded(&'a ConsumerInfo),
    ConsumerRemoved(&'a ConsumerInfo),
    SubscriptionRemoved(&'a RemoveSubscriptionInfo),
    ProducerAdded(&'a ProducerInfo),
    /// With how many messages it has sent.
    ProducerRemoved(&'a ProducerInfo, u64),
    Sent(&'a Message),
    /// With the client's id.
    Acknowledged(Option<&'a Text>, &'a MessageAck),
    Pulled(&'a MessagePull),
    Began(&'a TransactionId),
    Prepared(&'a TransactionId),
    Committed(&'a TransactionId),
    RolledBack(&'a TransactionId),
    Forgot(&'a TransactionId),
    /// The branches that are prepared were asked for.
    Recovered(&'a [Arc<XaId>]),
    DestinationAdded(&'a Destination),
    DestinationRemoved(&'a Destination),
    DestinationInfoAdded(&'a DestinationInfo),
    DestinationInfoRemoved(&'a DestinationInfo),
    /// A message is about to go to the dead letter queue.
    Dead(&'a Message),
    Noticed(&'a Notice),
    /// A delivery is about to be written for its consumer.
    Dispatching(&'a Delivery),
    /// It is written.
    Dispatched(&'a Delivery),
    Started(&'a Text),
    Stopping(&'a Text),
}

/// Which switches make an event worth a line, apart from `logAll`.
type Switches = fn(&Logging) -> bool;

impl Logging {
    fn wants(&self, event: &Event<'_>) -> bool {
        event.switches().is_some_and(|switches| self.all || switches(self))
    }

    /// Whether it wants to hear what destinations have to tell.
    pub(super) fn hears_notices(&self) -> bool {
        self.all || self.internal || self.consumers || self.producers
    }

    /// Whether it wants to hear of deliveries.
    pub(super) fn hears_deliveries(&self) -> bool {
        self.all || self.internal || self.consumers
    }

    /// Writes the line for `event`, if it is worth one.
    pub(super) fn note(&self, event: &Event<'_>) {
        if self.wants(event) {
            tracing::info!("{event}");
        }
    }
}

impl Event<'_> {
    /// None: nobody writes a line for it.
    fn switches(&self) -> Option<Switches> {
        Some(match self {
            Self::ConnectionAdded(_) | Self::ConnectionRemoved(_) => |of| of.connections,
            Self::SessionAdded(_) | Self::SessionRemoved(_) => |of| of.sessions,
            Self::ConsumerAdded(_)
            | Self::ConsumerRemoved(_)
            | Self::SubscriptionRemoved(_)
            | Self::Acknowledged(..)
            | Self::Pulled(_) => |of| of.consumers,
            Self::ProducerAdded(_) | Self::ProducerRemoved(..) | Self::Sent(_) => |of| of.producers,
            Self::Began(_)
            | Self::Prepared(_)
            | Self::Committed(_)
            | Self::RolledBack(_)
            | Self::Forgot(_)
            | Self::Recovered(_) => |of| of.transactions,
            Self::DestinationAdded(_)
            | Self::DestinationRemoved(_)
            | Self::DestinationInfoAdded(_)
            | Self::DestinationInfoRemoved(_)
            | Self::Dead(_)
            | Self::Started(_)
            | Self::Stopping(_) => |of| of.internal,
            Self::Dispatching(_) | Self::Dispatched(_) => |of| of.consumers || of.internal,
            Self::Noticed(notice) => match notice.what() {
                "MessageConsumed" | "MessageDelivered" | "SlowConsumer" => {
                    |of| of.consumers || of.internal
                }
                "FastProducer" | "FULL" => |of| of.producers || of.internal,
                "Expired" | "MessageDiscarded" => |of| of.internal,
                _ => return None,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::outbox::SubscriptionKey;
    use crate::jms::ConsumerId;

    #[test]
    fn logging_switches_choose_the_lines() {
        let session = SessionId::default();
        let (event, sent) = (Event::SessionAdded(&session), Message::default());
        let sent = Event::Sent(&sent);
        let only = |logging: Logging| (logging.wants(&event), logging.wants(&sent));
        assert_eq!(only(Logging::default()), (false, false));
        assert_eq!(only(Logging { sessions: true, ..Logging::default() }), (true, false));
        assert_eq!(only(Logging { producers: true, ..Logging::default() }), (false, true));
        assert_eq!(only(Logging { all: true, ..Logging::default() }), (true, true));
    }

    #[test]
    fn deliveries_are_logged_before_and_after() {
        let consumer_id = ConsumerId { connection: Some("ID:c:1".into()), session: 1, value: 2 };
        let info = ConsumerInfo { consumer_id: Some(consumer_id), ..ConsumerInfo::default() };
        let nothing = Delivery {
            subscription: SubscriptionKey(1),
            consumer: Arc::new(info),
            destination: Destination::queue("Q"),
            message: None,
            sequence: 0,
            redeliveries: 0,
            group_first: false,
            hold: None,
            source: None,
        };
        let told = "MessageDispatch {commandId = 0, responseRequired = false, consumerId = ID:c:1:1:2, \
                    destination = null, message = null, redeliveryCounter = 0}";
        let before = Event::Dispatching(&nothing).to_string();
        assert_eq!(before, format!("preProcessDispatch: {told}"));
        let after = Event::Dispatched(&nothing).to_string();
        assert_eq!(after, format!("postProcessDispatch: {told}"));
        let some = Delivery { message: Some(Arc::default()), redeliveries: 2, ..nothing };
        let told = Event::Dispatched(&some).to_string();
        let (start, end) =
            ("destination = queue://Q, message = ActiveMQ", "}, redeliveryCounter = 2}");
        assert!(told.contains(start) && told.ends_with(end), "{told}");
    }

    #[test]
    fn logging_lines_are_those_of_the_original() {
        let session = SessionId { connection: Some("ID:c:1".into()), value: 3 };
        assert_eq!(
            Event::SessionAdded(&session).to_string(),
            "Adding Session: SessionInfo {commandId = 0, responseRequired = false, sessionId = ID:c:1:3}"
        );
        assert_eq!(
            Event::DestinationRemoved(&Destination::queue("A.B")).to_string(),
            "Removing destination: Queue:A.B"
        );
        let info = ConnectionInfo {
            command_id: 1,
            response_required: true,
            client_id: Some("me".into()),
            password: Some("secret".into()),
            ..ConnectionInfo::default()
        };
        assert_eq!(
            Event::ConnectionAdded(&info).to_string(),
            "Adding Connection: ConnectionInfo {commandId = 1, responseRequired = true, connectionId = null, \
             clientId = me, clientIp = null, userName = null, password = *****, brokerPath = null, \
             brokerMasterConnector = false, manageable = false, clientMaster = false, \
             faultTolerant = false, failoverReconnect = false}"
        );
    }
}

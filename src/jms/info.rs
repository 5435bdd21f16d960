//! How a client describes its objects when it opens and closes them. Advisory messages carry the same
//! descriptions to those who watch.

use super::{Array, BrokerId, ConnectionId, ConsumerId, Destination, ProducerId, SessionId, Text};

/// `BrokerInfo`: a broker introduces itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BrokerInfo {
    pub command_id: i32,
    pub response_required: bool,
    pub broker_id: Option<BrokerId>,
    pub broker_url: Option<Text>,
    pub peer_broker_infos: Array<Box<Self>>,
    pub broker_name: Option<Text>,
    pub slave_broker: bool,
    pub master_broker: bool,
    pub fault_tolerant_configuration: bool,
    pub duplex_connection: bool,
    pub network_connection: bool,
    pub connection_id: i64,
    pub broker_upload_url: Option<Text>,
    pub network_properties: Option<Text>,
}

/// `ConnectionInfo`: a client introduces itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnectionInfo {
    pub command_id: i32,
    pub response_required: bool,
    pub connection_id: Option<ConnectionId>,
    pub client_id: Option<Text>,
    pub password: Option<Text>,
    pub user_name: Option<Text>,
    pub broker_path: Array<BrokerId>,
    pub broker_master_connector: bool,
    pub manageable: bool,
    pub client_master: bool,
    pub fault_tolerant: bool,
    pub failover_reconnect: bool,
    pub client_ip: Option<Text>,
}

/// `ConsumerInfo`: what a consumer wants.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConsumerInfo {
    pub command_id: i32,
    pub response_required: bool,
    pub consumer_id: Option<ConsumerId>,
    pub browser: bool,
    pub destination: Option<Destination>,
    pub prefetch_size: i32,
    pub maximum_pending_message_limit: i32,
    pub dispatch_async: bool,
    pub selector: Option<Text>,
    pub client_id: Option<Text>,
    pub subscription_name: Option<Text>,
    pub no_local: bool,
    pub exclusive: bool,
    pub retroactive: bool,
    pub priority: i8,
    pub broker_path: Array<BrokerId>,
    pub additional_predicate: Option<NetworkBridgeFilter>,
    pub network_subscription: bool,
    pub optimized_acknowledge: bool,
    pub no_range_acks: bool,
    pub network_consumer_path: Array<ConsumerId>,
}

impl ConsumerInfo {
    /// The connection of the consumer.
    pub fn connection(&self) -> Option<&Text> {
        self.consumer_id.as_ref()?.connection.as_ref()
    }
}

/// `NetworkBridgeFilter`: keeps messages from going back to the broker they came from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NetworkBridgeFilter {
    /// Versions 1 to 9 only.
    pub network_ttl: i32,
    pub network_broker_id: Option<BrokerId>,
    pub message_ttl: i32,
    pub consumer_ttl: i32,
}

/// `ProducerInfo`: what a producer will send to; no destination for an anonymous one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProducerInfo {
    pub command_id: i32,
    pub response_required: bool,
    pub producer_id: Option<ProducerId>,
    pub destination: Option<Destination>,
    pub broker_path: Array<BrokerId>,
    pub dispatch_async: bool,
    /// Bytes the producer sends ahead of `ProducerAck`s; 0 without window.
    pub window_size: i32,
}

/// `DestinationInfo`: creates or removes a destination.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DestinationInfo {
    pub command_id: i32,
    pub response_required: bool,
    pub connection_id: Option<ConnectionId>,
    pub destination: Option<Destination>,
    /// 0 add, 1 remove.
    pub operation_type: i8,
    /// ms; a removal with 0 is refused while there are subscriptions.
    pub timeout: i64,
    pub broker_path: Array<BrokerId>,
}

/// What a `RemoveInfo` takes away.
#[derive(Clone, Debug, PartialEq)]
pub enum ObjectId {
    Connection(ConnectionId),
    Session(SessionId),
    Consumer(ConsumerId),
    Producer(ProducerId),
    /// A broker id: legal on the wire, refused by the broker.
    Broker(BrokerId),
}

/// `RemoveInfo`: a client closes one of its objects.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RemoveInfo {
    pub command_id: i32,
    pub response_required: bool,
    pub object_id: Option<ObjectId>,
    /// Broker sequence of the last message the application saw; -1 none, -2 unknown.
    pub last_delivered_sequence_id: i64,
}

/// `RemoveSubscriptionInfo`: deletes a durable subscription.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RemoveSubscriptionInfo {
    pub command_id: i32,
    pub response_required: bool,
    pub connection_id: Option<ConnectionId>,
    pub subscription_name: Option<Text>,
    pub client_id: Option<Text>,
}

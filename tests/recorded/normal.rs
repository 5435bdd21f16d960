//! Commands as text in which what differs from run to run is set aside.

use broker::jms::properties::PropertyMap;
use broker::jms::{Described, Message, Text, Throwable};
use broker::protocol::openwire::Command;
use broker::protocol::openwire::negotiation::Offer;
use bytes::Bytes;
use regex_lite::Regex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How a broker calls itself.
#[derive(Default)]
pub(crate) struct Names {
    pub(crate) broker: Option<Text>,
}

impl Names {
    /// The text of a command.
    pub(crate) fn describe(&self, command: &Command) -> String {
        let mut command = command.clone();
        let mut more = String::new();
        match &mut command {
            Command::WireFormatInfo(info) => {
                let mut offer = Offer::from_wire(info).unwrap();
                offer.provider_version = None;
                offer.platform_details = None;
                // Ours has a limit where the configuration names none.
                offer.max_frame_size = offer.max_frame_size.min(100 << 20);
                more = format!("{offer:#?}");
                info.properties = None;
            }
            Command::MessageDispatch(dispatch) => {
                if let Some(message) = &mut dispatch.message {
                    more = self.message(message);
                }
            }
            Command::Message(message) => more = self.message(Arc::make_mut(message)),
            Command::ExceptionResponse(response) => plain(&mut response.exception),
            Command::ConnectionError(error) => plain(&mut error.exception),
            _ => {}
        }
        let text = format!("{command:#?}\n{more}");
        self.replace(&text)
    }

    fn replace(&self, text: &str) -> String {
        let mut text = text.to_owned();
        if let Some(broker) = &self.broker {
            text = text.replace(&**broker, "BROKER");
        }
        let address = Regex::new(r"(tcp|nio)://[a-zA-Z0-9.]+:\d+").unwrap();
        address.replace_all(&text, "ADDRESS").into_owned()
    }

    /// Sets aside what a broker makes up; returns the properties.
    fn message(&self, message: &mut Message) -> String {
        let by_broker = |text: &str| {
            let base = self.broker.as_deref().and_then(|b| b.rsplit_once("-0:"));
            base.is_some_and(|(base, _)| text.starts_with(base))
        };
        if let Some(id) = &mut message.message_id {
            id.broker_sequence = 0;
            let producer = id.producer.as_ref().and_then(|p| p.connection.as_deref());
            if producer.is_some_and(by_broker) {
                id.producer = None;
                id.producer_sequence = 0;
                message.producer_id = None;
                message.timestamp = message.timestamp.min(1);
            }
        }
        message.broker_in_time = message.broker_in_time.min(1);
        message.broker_out_time = message.broker_out_time.min(1);
        message.received_by_df_bridge = false;
        if message.expiration > 0 {
            message.expiration -= message.timestamp;
            message.timestamp = 1;
        }
        if let Some(described) = &message.described {
            message.described = Some(Arc::new(self.described(described)));
        }
        let Some(properties) = message.properties.take() else { return String::new() };
        let map = PropertyMap::decode(&properties).unwrap();
        let entries: BTreeMap<_, _> = map.iter().collect();
        format!("{entries:#?}")
    }

    /// What an advisory describes need not tell with which command it came about.
    fn described(&self, described: &Described) -> Described {
        let mut described = described.clone();
        match &mut described {
            Described::Destination(info) => {
                info.command_id = 0;
                info.response_required = false;
            }
            Described::Producer(info) => {
                info.command_id = 0;
                info.response_required = false;
            }
            Described::Connection(info) => {
                info.client_ip = info.client_ip.take().map(|_| "".into())
            }
            Described::Message(message) => {
                let mut copy = (**message).clone();
                let properties = self.message(&mut copy);
                copy.properties = Some(Bytes::from(properties));
                *message = Arc::new(copy);
            }
            _ => {}
        }
        described
    }
}

/// Class and message are what counts.
fn plain(exception: &mut Option<Throwable>) {
    if let Some(exception) = exception {
        exception.frames.clear();
        exception.cause = None;
    }
}

//! Whole conversations between ActiveMQ's client, broker and bridges, from the first frame on.

use super::json::hex;
use super::{codec, frame, lines};
use crate::protocol::openwire::codec::{Decoder, Encoder, Settings};
use crate::protocol::openwire::command::Command;
use crate::protocol::openwire::negotiation::{Offer, negotiate};
use crate::transport::WriteBuffer;
use serde_json::Value;
use std::collections::HashMap;

/// One connection as the recorder between the two sides saw it.
struct Connection {
    /// By direction, as are the offers.
    codecs: HashMap<String, (Decoder, Encoder)>,
    offers: Vec<Offer>,
}

impl Connection {
    fn new() -> Self {
        let settings = Settings::before_negotiation(u64::MAX);
        let codecs = ["c2b", "b2c"].map(|dir| (dir.to_owned(), codec(&settings)));
        Self { codecs: codecs.into(), offers: Vec::new() }
    }

    /// Both sides compute what was recorded.
    fn negotiated(&mut self, row: &Value) {
        let [one, other] = &self.offers[..] else { panic!("two offers") };
        let agreement = negotiate(one, other, 1).unwrap();
        assert_eq!(Ok(agreement), negotiate(other, one, 1));
        let settings = agreement.settings;
        assert_eq!(row["version"], settings.version);
        assert_eq!(row["tight"], settings.tight);
        assert_eq!(row["cache"], settings.cache_size.is_some());
        assert_eq!(row["stack_trace"], settings.stack_trace);
        for (decoder, encoder) in self.codecs.values_mut() {
            decoder.apply(&settings);
            encoder.apply(&settings);
        }
    }

    fn frame(&mut self, row: &Value) {
        let (decoder, encoder) = self.codecs.get_mut(row["dir"].as_str().unwrap()).unwrap();
        let bytes = frame(row, true);
        let command = decoder.decode(&bytes, None).unwrap().unwrap();
        assert_eq!(row["command"], command.name());
        let mut out = WriteBuffer::default();
        encoder.encode(&command, &mut out).unwrap();
        assert_eq!(hex(&out.into_bytes()), row["hex"]);
        if let Command::WireFormatInfo(info) = command {
            self.offers.push(Offer::from_wire(&info).unwrap());
        }
    }
}

#[test]
fn whole_conversations_decode_and_encode() {
    let (mut connections, mut frames) = (HashMap::new(), 0);
    for row in lines("sessions") {
        let Some(number) = row["conn"].as_i64() else {
            if row["session"].is_string() {
                connections.clear();
            }
            continue;
        };
        let connection = connections.entry(number).or_insert_with(Connection::new);
        if row["event"] == "negotiated" {
            connection.negotiated(&row);
        } else if row["hex"].is_string() {
            connection.frame(&row);
            frames += 1;
        }
    }
    assert!(frames > 1500, "only {frames} frames");
}

//! Bytes that are no frames, and frames that are no commands.

use super::harness::{Broker, Peer, closes, connection_info, raw};
use broker::jms::{Destination, MessageId};
use broker::protocol::openwire::Command;
use broker::protocol::openwire::command::{FlushCommand, Object};
use broker::protocol::openwire::negotiation::Offer;
use std::io::Write;
use std::net::Shutdown;

/// Numbers that look random and are the same in every run (xorshift).
pub(super) struct Noise(pub(super) u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| (self.next() >> 24) as u8).collect()
    }
}

/// Sends to a connection that may be closed under our hands.
pub(super) fn throw(stream: &mut std::net::TcpStream, bytes: &[u8]) {
    drop(stream.write_all(bytes));
    drop(stream.shutdown(Shutdown::Write));
}

#[test]
fn random_bytes_cost_only_their_connection() {
    let mut broker = Broker::start();
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    for round in 0..64 {
        let mut stream = raw(broker.port());
        throw(&mut stream, &noise.bytes(1 << (round % 14)));
        closes(&mut stream);
    }
    broker.assert_healthy();
}

#[test]
fn random_frames_after_negotiation_cost_only_their_connection() {
    let mut broker = Broker::start();
    let mut noise = Noise(0x2545_f491_4f6c_dd1d);
    for code in 0..=255 {
        let mut peer = Peer::negotiated(broker.port(), &Peer::offer());
        let mut frame = vec![0, 0, 0, 60, code];
        frame.extend(noise.bytes(59));
        throw(&mut peer.stream, &frame);
        closes(&mut peer.stream);
    }
    broker.assert_healthy();
}

#[test]
fn http_request_is_refused() {
    let mut broker = Broker::start();
    let mut stream = raw(broker.port());
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    closes(&mut stream);
    broker.assert_healthy();
}

#[test]
fn huge_size_is_refused_before_anything_is_allocated() {
    let mut broker = Broker::start();
    let before = broker.resident_bytes();
    for _ in 0..32 {
        let mut stream = raw(broker.port());
        stream.write_all(&i32::MAX.to_be_bytes()).unwrap();
        closes(&mut stream);
    }
    assert!(broker.resident_bytes() < before + (16 << 20));
    broker.assert_healthy();
}

#[test]
fn size_of_a_connected_client_is_not_allocated_in_advance() {
    let mut broker = Broker::start();
    let before = broker.resident_bytes();
    let mut peers: Vec<Peer> = (0..16).map(|n| broker.client(&format!("c{n}"))).collect();
    for peer in &mut peers {
        // 100 MiB announced, one byte sent.
        peer.stream.write_all(&[0x06, 0x40, 0, 0, 23]).unwrap();
    }
    broker.assert_healthy();
    assert!(broker.resident_bytes() < before + (32 << 20));
}

#[test]
fn negative_and_empty_sizes_are_refused() {
    let mut broker = Broker::start();
    for size in [-1, i32::MIN, 0] {
        let mut stream = raw(broker.port());
        stream.write_all(&size.to_be_bytes()).unwrap();
        closes(&mut stream);
        let mut peer = broker.client("c");
        peer.stream.write_all(&size.to_be_bytes()).unwrap();
        assert_eq!(peer.closes(), []);
    }
    broker.assert_healthy();
}

#[test]
fn half_a_frame_holds_up_nobody() {
    let mut broker = Broker::start();
    let mut silent = broker.client("silent");
    let frame = silent.frame(FlushCommand { command_id: 99, response_required: true });
    let (begin, end) = frame.split_at(frame.len() / 2);
    silent.stream.write_all(begin).unwrap();

    let queue = Destination::queue("Q");
    let mut other = broker.client("other");
    let producer = other.producer();
    other.consumer(queue.clone(), 10);
    for n in 0..100 {
        other.publish(&producer, &queue, &n.to_string());
        let dispatch = other.next_dispatch();
        other.acknowledge(&dispatch).unwrap();
    }

    silent.stream.write_all(end).unwrap();
    silent.response(99).unwrap();
    broker.assert_healthy();
}

#[test]
fn truncated_frames_are_refused() {
    let mut broker = Broker::start();
    for tight in [false, true] {
        let offer = Offer { tight, ..Peer::offer() };
        let whole = Peer::negotiated(broker.port(), &offer).frame(connection_info("c", "c"));
        for length in 5..whole.len() {
            let mut peer = Peer::negotiated(broker.port(), &offer);
            let size = u32::try_from(length - 4).unwrap();
            peer.stream.write_all(&size.to_be_bytes()).unwrap();
            peer.stream.write_all(&whole[4..length]).unwrap();
            assert_eq!(peer.closes(), [], "tight {tight}, {length} of {} bytes", whole.len());
        }
    }
    broker.assert_healthy();
}

#[test]
fn connection_that_ends_within_a_frame_is_forgotten() {
    let mut broker = Broker::start();
    let whole = Peer::negotiated(broker.port(), &Peer::offer()).frame(connection_info("c", "c"));
    for length in 1..whole.len() {
        let mut peer = Peer::negotiated(broker.port(), &Peer::offer());
        throw(&mut peer.stream, &whole[..length]);
        assert_eq!(peer.closes(), []);
    }
    broker.assert_healthy();
}

#[test]
fn slow_sender_of_a_valid_handshake_is_served() {
    let broker = Broker::start();
    let offer = Peer::offer();
    let mut peer = Peer::silent(broker.port());
    let frame = peer.frame(offer.to_wire().unwrap());
    for byte in frame {
        peer.stream.write_all(&[byte]).unwrap();
    }
    peer.agree(&offer);
    let mut info = Command::from(connection_info("slow", "slow"));
    info.set_command_id(1);
    info.set_response_required(true);
    for byte in peer.frame(info) {
        peer.stream.write_all(&[byte]).unwrap();
    }
    peer.response(1).unwrap();
}

#[test]
fn unknown_type_code_is_refused() {
    let mut broker = Broker::start();
    for code in [13, 99, 127, 200, 255] {
        let mut peer = broker.client("c");
        peer.stream.write_all(&[0, 0, 0, 4, code, 1, 0, 0]).unwrap();
        assert_eq!(peer.closes(), [], "type {code}");
    }
    broker.assert_healthy();
}

#[test]
fn object_that_is_no_command_is_refused() {
    let mut broker = Broker::start();
    let mut peer = broker.client("c");
    peer.send(Command::Object(Object::MessageId(MessageId::default())));
    assert_eq!(peer.closes(), []);
    broker.assert_healthy();
}

#[test]
fn bytes_left_over_in_a_frame_are_refused() {
    let mut broker = Broker::start();
    let mut peer = broker.client("c");
    let mut frame = peer.frame(FlushCommand { command_id: 5, response_required: true });
    frame.push(0);
    let size = u32::try_from(frame.len() - 4).unwrap();
    frame[..4].copy_from_slice(&size.to_be_bytes());
    peer.stream.write_all(&frame).unwrap();
    assert_eq!(peer.closes(), []);
    broker.assert_healthy();
}

#[test]
fn null_object_is_ignored() {
    let broker = Broker::start();
    let mut peer = broker.client("c");
    peer.stream.write_all(&[0, 0, 0, 1, 0]).unwrap();
    peer.request(FlushCommand::default()).unwrap();
}

#[test]
fn frame_over_64_kib_is_refused_until_the_client_is_known() {
    let mut broker = Broker::start();
    let size = 64 * 1024 + 1_u32;
    let mut stranger = Peer::negotiated(broker.port(), &Peer::offer());
    stranger.stream.write_all(&size.to_be_bytes()).unwrap();
    assert_eq!(stranger.closes(), []);
    let mut stranger = raw(broker.port());
    stranger.write_all(&size.to_be_bytes()).unwrap();
    closes(&mut stranger);

    let mut known = broker.client("known");
    let (producer, queue) = (known.producer(), Destination::queue("Q"));
    known.consumer(queue.clone(), 1);
    let large = "x".repeat(1 << 20);
    known.publish(&producer, &queue, &large);
    assert_eq!(known.next_body(), large);
    broker.assert_healthy();
}

#[test]
fn frame_over_the_agreed_size_is_refused() {
    let broker = Broker::start();
    let offer = Offer { max_frame_size: 4096, ..Peer::offer() };
    let mut peer = Peer::negotiated(broker.port(), &offer);
    peer.introduce("c");
    peer.stream.write_all(&4097_u32.to_be_bytes()).unwrap();
    assert_eq!(peer.closes(), []);
}

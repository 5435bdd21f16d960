//! Many bad connections, and connections that do not read: the others go on.

use super::frames::{Noise, throw};
use super::harness::{Broker, Peer, closes, raw};
use broker::jms::{Destination, DestinationKind};
use broker::protocol::openwire::command::FlushCommand;
use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Memory a broker may take for what these tests do to it, beyond what it had.
const GROWTH_MAX: u64 = 64 << 20;

/// Sends and receives until told to stop; returns how many messages. Each must come, in order.
fn canary(broker: &Broker, stop: &AtomicBool) -> usize {
    let queue = Destination::queue("canary");
    let mut peer = broker.client("canary");
    let producer = peer.producer();
    peer.consumer(queue.clone(), 10);
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) || count < 100 {
        peer.publish(&producer, &queue, &count.to_string());
        let dispatch = peer.next_dispatch();
        assert_eq!(super::harness::body(&dispatch), count.to_string());
        peer.acknowledge(&dispatch).unwrap();
        count += 1;
    }
    count
}

#[test]
fn a_thousand_bad_connections_disturb_nobody() {
    const THREADS: u64 = 8;
    const EACH: usize = 125;
    let mut broker = Broker::start();
    let before = broker.resident_bytes();
    let done = AtomicBool::new(false);
    let port = broker.port();
    thread::scope(|scope| {
        let canary = scope.spawn(|| canary(&broker, &done));
        let floods: Vec<_> = (1..=THREADS)
            .map(|seed| {
                scope.spawn(move || {
                    let mut noise = Noise(seed << 32 | 1);
                    for n in 0..EACH {
                        if n % 2 == 0 {
                            let mut stream = raw(port);
                            throw(&mut stream, &noise.bytes(4096));
                            closes(&mut stream);
                        } else {
                            let mut peer = Peer::negotiated(port, &Peer::offer());
                            throw(&mut peer.stream, &noise.bytes(4096));
                            closes(&mut peer.stream);
                        }
                    }
                })
            })
            .collect();
        for flood in floods {
            flood.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        assert!(canary.join().unwrap() >= 100);
    });
    let after = broker.resident_bytes();
    assert!(after < before + GROWTH_MAX, "{before} bytes before, {after} after");
    broker.assert_healthy();
}

#[test]
fn many_silent_connections_disturb_nobody() {
    let mut broker = Broker::start();
    let before = broker.resident_bytes();
    let silent: Vec<_> = (0..500).map(|_| raw(broker.port())).collect();
    assert!(canary(&broker, &AtomicBool::new(true)) >= 100);
    let after = broker.resident_bytes();
    assert!(after < before + GROWTH_MAX, "{before} bytes before, {after} after");
    drop(silent);
    broker.assert_healthy();
}

#[test]
fn consumer_that_never_reads_blocks_no_other() {
    const COUNT: usize = 400;
    let large = "x".repeat(32 * 1024);
    for kind in [DestinationKind::Queue, DestinationKind::Topic] {
        let mut broker = Broker::start();
        let shared = Destination::new(kind, Some("shared".into()));
        let mut deaf = broker.client("deaf");
        deaf.consumer(shared.clone(), 10_000);
        let mut hearing = broker.client("hearing");
        hearing.consumer(shared.clone(), 10_000);
        let mut sender = broker.client("sender");
        let producer = sender.producer();
        // More than the buffers of a socket hold.
        for _ in 0..COUNT {
            sender.publish(&producer, &shared, &large);
        }
        let share = if kind.is_queue() { COUNT / 2 } else { COUNT };
        for _ in 0..share {
            let dispatch = hearing.next_dispatch();
            hearing.acknowledge(&dispatch).unwrap();
        }
        canary(&broker, &AtomicBool::new(true));
        drop(deaf);
        broker.assert_healthy();
    }
}

#[test]
fn peer_that_never_reads_its_responses_is_not_read_on() {
    const BYTES: usize = 32 << 20;
    let mut broker = Broker::start();
    let mut deaf = broker.client("deaf");
    let before = broker.resident_bytes();
    let frame = deaf.frame(FlushCommand { command_id: 1, response_required: true });
    let many = frame.repeat((1 << 20) / frame.len());
    // Once the broker has stopped reading, writing comes to an end. A broker that reads on takes all.
    deaf.stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut sent = 0;
    while sent < BYTES {
        match deaf.stream.write(&many) {
            Ok(written) => sent += written,
            Err(e) if e.kind() == ErrorKind::WouldBlock => break,
            Err(e) => panic!("{e}"),
        }
        // A frame may be cut here; the rest of it must follow.
        let rest = (frame.len() - sent % frame.len()) % frame.len();
        if rest > 0 && deaf.stream.write_all(&frame[frame.len() - rest..]).is_err() {
            break;
        }
        sent += rest;
    }
    let after = broker.resident_bytes();
    assert!(after < before + GROWTH_MAX, "{sent} bytes sent, {before} bytes before, {after} after");
    canary(&broker, &AtomicBool::new(true));
    broker.assert_healthy();
}

#[test]
fn deaf_clients_do_not_keep_a_broker_from_stopping() {
    let mut broker = Broker::start();
    let queue = Destination::queue("Q");
    let mut deaf = broker.client("deaf");
    deaf.consumer(queue.clone(), 10_000);
    let mut sender = broker.client("sender");
    let producer = sender.producer();
    let large = "x".repeat(32 * 1024);
    for _ in 0..400 {
        sender.publish(&producer, &queue, &large);
    }
    assert_eq!(broker.stop(), Some(0), "{}", broker.log());
    broker.restart();
    broker.assert_healthy();
    broker.kill9();
    broker.restart();
    broker.assert_healthy();
}

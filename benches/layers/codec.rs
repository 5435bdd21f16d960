//! OpenWire frames of a message of 1 KiB with four properties, and the form in which it is stored.

use crate::support::Outcome;
use crate::support::destination::with_body;
use crate::support::instructions::{Case, Run};
use broker::jms::{ConsumerId, Destination, Message};
use broker::protocol::openwire::codec::{Dispatch, Settings};
use broker::protocol::openwire::{Command, Decoder, Encoder, MESSAGE_FORM};
use broker::transport::WriteBuffer;
use bytes::Bytes;
use std::hint::black_box;

pub(crate) const CASES: &[Case] = &[
    Case { name: "codec: send, tight, decoded", operations: 2000, ready: |_| decode(TIGHT) },
    Case { name: "codec: send, loose, decoded", operations: 2000, ready: |_| decode(LOOSE) },
    Case { name: "codec: dispatch, tight, encoded", operations: 2000, ready: |_| encode(TIGHT) },
    Case { name: "codec: dispatch, loose, encoded", operations: 2000, ready: |_| encode(LOOSE) },
    Case { name: "codec: stored form, encoded", operations: 2000, ready: |_| store() },
    Case { name: "codec: stored form, decoded", operations: 2000, ready: |_| load() },
];

const BODY_BYTES: usize = 1024;

/// What the Java client asks for, and the other encoding.
const TIGHT: Settings = Settings {
    version: 12,
    tight: true,
    cache_size: Some(1024),
    stack_trace: true,
    max_frame_size: 100 << 20,
};
const LOOSE: Settings = Settings { tight: false, ..TIGHT };

fn message() -> Message {
    with_body(&Destination::queue("BENCH"), 1, BODY_BYTES)
}

/// All frames but the first find ids and destination in the cache.
fn decode(settings: Settings) -> Outcome<Run> {
    let (mut encoder, mut decoder) = (Encoder::new(&settings), Decoder::new(u64::MAX));
    decoder.apply(&settings);
    let command = Command::from(message());
    let frame = |encoder: &mut Encoder| {
        let mut frame = WriteBuffer::default();
        encoder.encode(&command, &mut frame).map(|()| frame.into_bytes())
    };
    let (first, frame) = (frame(&mut encoder)?, frame(&mut encoder)?);
    decoder.decode(&first, None)?;
    Ok(Box::new(move |operations| {
        for _ in 0..operations {
            black_box(decoder.decode(black_box(&frame), None)?);
        }
        Ok(())
    }))
}

fn encode(settings: Settings) -> Outcome<Run> {
    let mut encoder = Encoder::new(&settings);
    let (message, destination) = (message(), Destination::queue("BENCH"));
    let consumer = ConsumerId { connection: Some("ID:consumer".into()), session: 1, value: 1 };
    Ok(Box::new(move |operations| {
        let dispatch = Dispatch {
            consumer_id: &consumer,
            destination: Some(&destination),
            message: Some(&message),
            broker_sequence: 1 << 20,
            redelivery_counter: 0,
            broker_out_time: 1 << 40,
            group_first: false,
        };
        let mut out = WriteBuffer::default();
        for _ in 0..operations {
            encoder.encode_dispatch(black_box(&dispatch), &mut out)?;
            black_box(&out);
            out.clear();
        }
        Ok(())
    }))
}

fn store() -> Outcome<Run> {
    let (message, mut out) = (message(), Vec::with_capacity(4096));
    Ok(Box::new(move |operations| {
        for _ in 0..operations {
            (MESSAGE_FORM.encode)(black_box(&message), &mut out);
            black_box(&out);
            out.clear();
        }
        Ok(())
    }))
}

fn load() -> Outcome<Run> {
    let mut stored = Vec::new();
    (MESSAGE_FORM.encode)(&message(), &mut stored);
    let stored = Bytes::from(stored);
    Ok(Box::new(move |operations| {
        for _ in 0..operations {
            black_box((MESSAGE_FORM.decode)(stored.clone()).ok_or("not the stored form")?);
        }
        Ok(())
    }))
}

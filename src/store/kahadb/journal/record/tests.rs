use super::*;
use proptest::prelude::*;

/// The bytes of a record as the journal has them.
fn encode(record: &Record) -> (RecordHeader, Bytes) {
    let mut head = BytesMut::new();
    record.put_head(&mut head);
    let mut header = record.header(head.len());
    let mut out = BytesMut::new();
    out.put_slice(&header.encode([&head, record.payload()]));
    out.put_slice(&head);
    out.put_slice(record.payload());
    (header, out.freeze())
}

fn any_ranges() -> impl Strategy<Value = Ranges> {
    prop::collection::vec(any::<u64>(), 0..5).prop_map(|numbers| numbers.into_iter().collect())
}

fn any_bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from)
}

fn any_record() -> impl Strategy<Value = Record> {
    let numbers = (any::<u32>(), any::<u64>(), any::<u64>(), any::<u64>(), any::<u8>());
    let flags = (any::<bool>(), any::<bool>());
    (0..20_u8, numbers, flags, any_ranges(), any_bytes(), ".{0,10}", ".{0,10}").prop_map(
        |(kind, (destination, a, b, c, byte), (x, y), seqs, bytes, text, name)| match kind {
            0 => Record::Add(Add {
                destination,
                seq: b,
                band: byte,
                expiration_ms: c,
                producer: a ^ b,
                producer_seq: b ^ c,
                subscriptions: x.then_some(seqs),
                moved_from: y.then_some(Lsn(a)),
                is_delivered: byte > 100,
                message: bytes,
            }),
            1 => Record::Remove { destination, seqs },
            2 => Record::SubAck { destination, subscription: b, seqs },
            3 => Record::Purge { destination, last: a },
            4 => Record::Destination { destination, kind: byte, name },
            5 => Record::Deleted { destination },
            6 => Record::Subscription(Subscription {
                subscription: a,
                client_id: text.clone(),
                name: name.clone(),
                kind: byte,
                destination: name,
                selector: x.then_some(text),
                no_local: y,
            }),
            7 => Record::Unsubscribed { subscription: a },
            8 => Record::Prepare { branch: bytes },
            9 => Record::Forget { xid: bytes },
            10 => Record::Producer {
                producer: a,
                connection: x.then_some(text),
                session: b,
                value: c,
            },
            11 => Record::JobAdd(Job {
                job: a,
                id: text,
                due_ms: b,
                start_ms: c,
                cron: name,
                delay_ms: a ^ c,
                period_ms: b ^ c,
                repeat: a as i64,
                message: bytes,
            }),
            12 => Record::JobMove { job: a, due_ms: b, repeats_done: c },
            13 => Record::JobRemove { job: a },
            14 => Record::Live { file: destination, as_of: Lsn(a), set: bytes },
            15 => Record::EpochStart { epoch: a, node: text, version: name },
            16 => Record::DropFile {
                action: DropAction::decode(byte % 3).unwrap(),
                counters: [a, b, c, 0],
                gaps: bytes,
            },
            17 => Record::Delivered { destination, seqs },
            18 => Record::Share { destination, subscription: b },
            _ => Record::Nothing { padding: bytes },
        },
    )
}

proptest! {
    #[test]
    fn decode_inverts_encode_and_survives_damage(
        record in any_record(), cut: prop::sample::Index, flip in 1..=255_u8,
    ) {
        let (header, bytes) = encode(&record);
        prop_assert!(bytes.len() as u64 <= record.bytes_max().unwrap());
        prop_assert!(header.is_sound(&bytes));
        prop_assert_eq!(RecordHeader::decode(&bytes), Some(header));
        prop_assert_eq!(Record::decode(&header, &bytes), Ok(Decoded::Record(record)));
        let at = cut.index(bytes.len());
        prop_assert_eq!(RecordHeader::decode(&bytes[..at]), None);
        let mut damaged = bytes.to_vec();
        damaged[at] ^= flip;
        if let Some(header) = RecordHeader::decode(&damaged) {
            prop_assert!(!header.is_sound(&damaged));
            drop(Record::decode(&header, &damaged.into())); // any answer, no panic
        }
    }
}

#[test]
fn heads_are_laid_out_as_documented() {
    let add = Add {
        destination: 3,
        seq: 300,
        band: 4,
        subscriptions: Some(Ranges::one(7, 9)),
        message: Bytes::from_static(b"body"),
        ..Add::default()
    };
    let (header, bytes) = encode(&Record::Add(add));
    assert_eq!((header.kind, header.flags, header.head_length), (1, 4, 9));
    assert_eq!(bytes[16..25], [0xAC, 0x02, 4, 0, 0, 0, 1, 7, 2]);
    assert_eq!(&bytes[25..], b"body");
    let seqs: Ranges = [1, 2, 3, 10].into_iter().collect();
    let (header, bytes) = encode(&Record::Remove { destination: 3, seqs });
    assert_eq!((header.kind, header.flags), (2, 0));
    assert_eq!(bytes[16..], [2, 1, 2, 6, 0]);
}

#[test]
fn an_unknown_kind_is_skipped_only_if_it_says_so() {
    let (mut header, bytes) = encode(&Record::Nothing { padding: Bytes::new() });
    header.kind = 77;
    assert_eq!(Record::decode(&header, &bytes), Ok(Decoded::Skipped));
    header.flags = 0;
    assert_eq!(Record::decode(&header, &bytes), Ok(Decoded::Newer));
}

#[test]
fn a_head_has_a_limit_and_very_many_ranges_become_several_records() {
    let long = Record::Destination { destination: 1, kind: 0, name: "x".repeat(70_000) };
    assert_eq!(long.bytes_max(), None);
    let seqs: Ranges = (0..10_000).map(|n| u64::MAX - n * 2).collect();
    let record = Record::Remove { destination: 1, seqs: seqs.clone() };
    let bytes_max = record.bytes_max().unwrap();
    let (mut joined, mut bytes) = (Ranges::default(), 0);
    for part in record.split() {
        bytes += encode(&part).1.len() as u64; // panics if the head is too long
        let Record::Remove { seqs, .. } = part else { panic!("another record") };
        joined.merge(&seqs);
    }
    assert_eq!(joined, seqs);
    assert!(bytes <= bytes_max);
}

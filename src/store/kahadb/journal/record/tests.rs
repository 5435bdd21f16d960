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
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (0..19_u8, numbers, flags, any_ranges(), any_bytes(), ".{0,10}", ".{0,10}").prop_map(
        |(kind, (destination, a, b, c, byte), (w, x, y, z), ranges, bytes, text, name)| {
            let transaction = w.then_some(a);
            match kind {
                0 => Record::Add(Add {
                    destination,
                    transaction,
                    seq: b,
                    priority: byte,
                    expiration_ms: c,
                    producer: a ^ b,
                    producer_seq: b ^ c,
                    subscriptions: x.then_some(ranges),
                    moved: y,
                    redelivered: z,
                    message: bytes,
                }),
                1 => Record::Remove { destination, transaction, seqs: ranges },
                2 => Record::SubAck { destination, transaction, subscription: b, seqs: ranges },
                3 => Record::Update { destination, seq: a, message: bytes },
                4 => Record::Delivered { destination, seqs: ranges },
                5 => {
                    Record::Destination { destination, exists: w, kind: byte, name, options: bytes }
                }
                6 => Record::Subscription(Subscription {
                    destination,
                    subscription: a,
                    exists: w,
                    client_id: text.clone(),
                    name,
                    selector: x.then_some(text),
                    no_local: y,
                    first_seq: b,
                    info: bytes,
                }),
                7 => Record::Commit {
                    transaction: a,
                    first_seqs: vec![(destination, b); usize::from(byte % 4)],
                },
                8 => Record::Rollback { transaction: a },
                9 => Record::Prepare { transaction: a, xid: bytes },
                10 => Record::Producer { producer: a, id: text },
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
                14 => Record::Live { file: destination, as_of: Lsn(a), form: byte, set: bytes },
                15 => Record::State {
                    kind: byte,
                    part: destination,
                    parts: !destination,
                    rows: bytes,
                },
                16 => Record::EpochStart { epoch: a, node: text, version: name },
                17 => Record::DropFile {
                    files: vec![destination; usize::from(byte % 4)],
                    action: DropAction::decode(byte % 3).unwrap(),
                },
                _ => Record::Nothing { padding: bytes },
            }
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
        transaction: Some(300),
        seq: 5,
        priority: 4,
        subscriptions: Some(Ranges::one(7, 9)),
        redelivered: true,
        message: Bytes::from_static(b"body"),
        ..Add::default()
    };
    let (header, bytes) = encode(&Record::Add(add));
    assert_eq!((header.kind, header.flags, header.head_length), (1, 1 | 4 | 8, 10));
    assert_eq!(bytes[16..26], [0xAC, 0x02, 5, 4, 0, 0, 0, 1, 7, 2]);
    assert_eq!(&bytes[26..], b"body");
    let seqs: Ranges = [1, 2, 3, 10].into_iter().collect();
    let (header, bytes) = encode(&Record::Remove { destination: 3, transaction: None, seqs });
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
    let id = "x".repeat(70_000);
    assert_eq!(Record::Producer { producer: 1, id }.bytes_max(), None);
    let seqs: Ranges = (0..10_000).map(|n| u64::MAX - n * 2).collect();
    let record = Record::Remove { destination: 1, transaction: None, seqs: seqs.clone() };
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

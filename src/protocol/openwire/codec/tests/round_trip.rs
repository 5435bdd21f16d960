//! What was encoded decodes to the same, in every version and encoding.

use super::codec;
use crate::jms::info::{ConsumerInfo, NetworkBridgeFilter, ObjectId, RemoveInfo};
use crate::jms::message::Blob;
use crate::jms::throwable::StackFrame;
use crate::jms::{
    Array, BodyKind, BrokerId, ConnectionId, ConsumerId, Described, Destination, DestinationKind,
    Message, MessageAck, MessageId, ProducerId, SessionId, Text, Throwable, TransactionId, XaId,
};
use crate::protocol::openwire::codec::{Dispatch, Settings};
use crate::protocol::openwire::command::{Command, MessageDispatch};
use crate::transport::WriteBuffer;
use bytes::Bytes;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

fn text() -> impl Strategy<Value = Option<Text>> {
    of(prop_oneof![
        "[a-z]{0,12}".prop_map(Text::from),
        any::<String>().prop_map(Text::from),
        (0..40_000usize).prop_map(|len| "x".repeat(len).into()),
    ])
}

/// Few, so that the cache has something to do.
fn name() -> impl Strategy<Value = Option<Text>> {
    of("[a-c\u{e9}]{1,2}".prop_map(Text::from))
}

fn long() -> impl Strategy<Value = i64> {
    prop_oneof![any::<i64>(), 0..70_000i64, 0xffff_fff0..0x1_0000_0010i64]
}

fn bytes() -> impl Strategy<Value = Option<Bytes>> {
    of(prop_oneof![
        vec(any::<u8>(), 0..50).prop_map(Bytes::from),
        (16_000..17_000usize).prop_map(|len| vec![len as u8; len].into()),
    ])
}

fn broker() -> impl Strategy<Value = BrokerId> {
    name().prop_map(|value| BrokerId { value })
}

fn connection() -> impl Strategy<Value = ConnectionId> {
    name().prop_map(|value| ConnectionId { value })
}

fn consumer() -> impl Strategy<Value = ConsumerId> {
    (name(), -1..2i64, 0..3i64).prop_map(|(connection, session, value)| ConsumerId {
        connection,
        session,
        value,
    })
}

fn producer() -> impl Strategy<Value = ProducerId> {
    (name(), -1..2i64, 0..3i64).prop_map(|(connection, session, value)| ProducerId {
        connection,
        session,
        value,
    })
}

fn destination() -> impl Strategy<Value = Destination> {
    let kinds = [
        DestinationKind::Queue,
        DestinationKind::Topic,
        DestinationKind::TempQueue,
        DestinationKind::TempTopic,
    ];
    (prop::sample::select(kinds.to_vec()), name())
        .prop_map(|(kind, name)| Destination::new(kind, name))
}

fn transaction() -> impl Strategy<Value = TransactionId> {
    prop_oneof![
        (0..3i64, of(connection()))
            .prop_map(|(value, connection)| TransactionId::Local { value, connection }),
        (any::<i32>(), bytes(), bytes()).prop_map(|(format_id, global, branch)| {
            TransactionId::Xa(
                XaId { format_id, global_transaction_id: global, branch_qualifier: branch }.into(),
            )
        }),
    ]
}

fn message_id() -> impl Strategy<Value = MessageId> {
    (of(producer()), long(), long()).prop_map(|(producer, producer_sequence, broker_sequence)| {
        MessageId { text_view: None, producer, producer_sequence, broker_sequence }
    })
}

fn array<T: std::fmt::Debug + Clone>(
    element: impl Strategy<Value = T>,
) -> impl Strategy<Value = Array<T>> {
    // At least as many objects as nulls, as in any real frame.
    of(vec(element.prop_map(Some), 0..4))
}

fn object_id() -> impl Strategy<Value = ObjectId> {
    prop_oneof![
        connection().prop_map(ObjectId::Connection),
        consumer().prop_map(ObjectId::Consumer),
        producer().prop_map(ObjectId::Producer),
        broker().prop_map(ObjectId::Broker),
        (name(), 0..3i64)
            .prop_map(|(connection, value)| ObjectId::Session(SessionId { connection, value })),
    ]
}

fn kind() -> impl Strategy<Value = BodyKind> {
    prop_oneof![
        Just(BodyKind::Message),
        Just(BodyKind::Bytes),
        Just(BodyKind::Map),
        Just(BodyKind::Object),
        Just(BodyKind::Stream),
        Just(BodyKind::Text),
        (text(), text(), any::<bool>()).prop_map(|(remote_url, mime_type, deleted_by_broker)| {
            BodyKind::Blob(Box::new(Blob { remote_url, mime_type, deleted_by_broker }))
        }),
    ]
}

fn throwable() -> impl Strategy<Value = Throwable> {
    let frame = (text(), name(), any::<i32>()).prop_map(|(class, file, line)| StackFrame {
        class,
        method: Some("m".into()),
        file,
        line,
    });
    let one = (text(), text(), vec(frame, 0..3)).prop_map(|(class, message, frames)| Throwable {
        class,
        message,
        frames,
        cause: None,
    });
    one.prop_recursive(3, 3, 1, |inner| {
        (inner, text()).prop_map(|(cause, class)| Throwable {
            class,
            cause: Some(Box::new(cause)),
            ..Throwable::default()
        })
    })
}

fn message() -> impl Strategy<Value = Message> {
    let ids = (
        kind(),
        of(producer()),
        of(destination()),
        of(transaction()),
        of(message_id()),
        of(consumer()),
        array(broker()),
        of(object_id()),
    );
    let texts = (text(), text(), text(), bytes(), bytes());
    let numbers = (any::<i32>(), any::<bool>(), any::<i8>(), long(), long(), any::<bool>());
    (ids, texts, numbers).prop_map(|(ids, texts, numbers)| {
        let (kind, producer_id, destination, transaction_id, message_id, consumer, path, object) =
            ids;
        let (group_id, correlation_id, jms_type, content, properties) = texts;
        let (int, flag, priority, timestamp, expiration, compressed) = numbers;
        let remove = |object_id| RemoveInfo { object_id, ..RemoveInfo::default() };
        Message {
            command_id: int,
            response_required: flag,
            kind,
            producer_id,
            reply_to: destination.clone(),
            original_destination: destination.clone(),
            destination,
            original_transaction_id: transaction_id.clone(),
            transaction_id,
            message_id,
            group_id,
            group_sequence: int,
            correlation_id,
            persistent: flag,
            expiration,
            priority,
            timestamp,
            jms_type,
            content,
            properties,
            described: object.map(|object| Described::Remove(remove(Some(object))).into()),
            target_consumer_id: consumer,
            compressed,
            redelivery_counter: int,
            cluster: path.clone(),
            broker_path: path,
            broker_in_time: timestamp,
            broker_out_time: expiration,
            group_first_for_consumer: flag,
            ..Message::default()
        }
    })
}

fn command() -> impl Strategy<Value = Command> {
    let ack =
        (of(destination()), of(transaction()), of(consumer()), of(message_id()), of(throwable()))
            .prop_map(|(destination, transaction_id, consumer_id, id, poison_cause)| {
                Command::from(Box::new(MessageAck {
                    destination,
                    transaction_id,
                    consumer_id,
                    first_message_id: id.clone(),
                    last_message_id: id,
                    message_count: 1,
                    poison_cause,
                    ..MessageAck::default()
                }))
            });
    let consumer_info = (of(consumer()), text(), array(consumer()), of(broker()), any::<i32>())
        .prop_map(|(consumer_id, selector, network_consumer_path, network_broker_id, number)| {
            Command::from(Box::new(ConsumerInfo {
                consumer_id,
                selector,
                network_consumer_path,
                prefetch_size: number,
                additional_predicate: Some(NetworkBridgeFilter {
                    network_ttl: 0,
                    network_broker_id,
                    message_ttl: number,
                    consumer_ttl: number,
                }),
                ..ConsumerInfo::default()
            }))
        });
    let remove = (of(object_id()), long()).prop_map(|(object_id, last_delivered_sequence_id)| {
        RemoveInfo { object_id, last_delivered_sequence_id, ..RemoveInfo::default() }.into()
    });
    prop_oneof![message().prop_map(Command::from), ack, consumer_info, remove]
}

fn encoding() -> impl Strategy<Value = Settings> {
    let cache_size = of(prop_oneof![Just(0), Just(50), Just(101), Just(110), Just(1024)]);
    (any::<bool>(), cache_size, 11..=12).prop_map(|(tight, cache_size, version)| Settings {
        version,
        tight,
        cache_size,
        ..Settings::stored()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_conversation_arrives_as_it_was_sent(
        commands in vec(command(), 1..40), settings in encoding(),
    ) {
        let (mut decoder, mut encoder) = codec(&settings);
        let mut out = WriteBuffer::default();
        for command in &commands {
            encoder.encode(command, &mut out).unwrap();
        }
        let sent = out.into_bytes();
        let mut rest = &sent[..];
        for command in &commands {
            let len = decoder.frame_length(rest).unwrap().unwrap();
            let (frame, after) = rest.split_at(len);
            let shared = sent.slice_ref(frame);
            prop_assert_eq!(&decoder.decode(frame, Some(&shared)).unwrap().unwrap(), command);
            rest = after;
        }
        prop_assert!(rest.is_empty());
    }

    /// A dispatch of a shared message has the bytes of one whose message was changed.
    #[test]
    fn a_dispatch_is_written_as_if_the_message_had_been_changed(
        message in message(), consumer in consumer(), destination in destination(),
        number: i32, sequence in long(), settings in encoding(),
    ) {
        let dispatch = Dispatch {
            consumer_id: &consumer,
            destination: Some(&destination),
            message: Some(&message),
            broker_sequence: sequence,
            redelivery_counter: number,
            broker_out_time: sequence,
            group_first: true,
        };
        let mut changed = message.clone();
        changed.destination.get_or_insert_with(|| destination.clone());
        changed.redelivery_counter = number;
        changed.broker_out_time = sequence;
        changed.group_first_for_consumer = true;
        if let Some(id) = &mut changed.message_id {
            id.broker_sequence = sequence;
        }
        let expected = MessageDispatch {
            consumer_id: Some(consumer.clone()),
            destination: Some(destination.clone()),
            message: Some(Box::new(changed)),
            redelivery_counter: number,
            ..MessageDispatch::default()
        };
        let (mut one, mut other) = (WriteBuffer::default(), WriteBuffer::default());
        codec(&settings).1.encode_dispatch(&dispatch, &mut one).unwrap();
        codec(&settings).1.encode(&expected.into(), &mut other).unwrap();
        prop_assert_eq!(one.into_bytes(), other.into_bytes());
    }
}

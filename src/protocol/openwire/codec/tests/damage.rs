//! Nothing a peer sends makes the decoder panic, recurse without end or take memory it was not sent
//! bytes for.

use super::{VERSIONS, codec, frame, lines, settings};
use crate::jms::{Described, Message};
use crate::protocol::openwire::codec::input::DEPTH_MAX;
use crate::protocol::openwire::codec::{Decoder, Encoder, Settings, WireError};
use crate::protocol::openwire::command::{Command, DataResponse};
use crate::transport::WriteBuffer;

#[test]
fn a_frame_that_ends_early_is_an_error_wherever_it_ends() {
    for file in VERSIONS {
        for line in lines(file) {
            let settings = settings(&line);
            let bytes = frame(&line, line["size_prefix"] == true);
            let cuts =
                (0..bytes.len().min(1500)).chain(bytes.len().saturating_sub(100)..bytes.len());
            for cut in cuts {
                let result = codec(&settings).0.decode(&bytes[..cut], None);
                assert!(result.is_err(), "{} {} cut at {cut}", line["command"], line["case"]);
            }
        }
    }
}

#[test]
fn flipped_bits_and_wild_bytes_are_answered() {
    // Every bit of every byte would take long; each frame gets its own few.
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 11) as usize % below
    };
    for file in VERSIONS {
        for line in lines(file) {
            let mut settings = settings(&line);
            let bytes = frame(&line, line["size_prefix"] == true);
            for round in 0..40 {
                let mut damaged = bytes.clone();
                for _ in 0..1 + round / 10 {
                    let at = 4 + next((damaged.len() - 4).min(400));
                    damaged[at] = if round % 2 == 0 { next(256) as u8 } else { 0xff };
                }
                settings.tight ^= round == 39;
                let (mut decoder, mut encoder) = codec(&settings);
                if let Ok(Some(command)) = decoder.decode(&damaged, None) {
                    drop(encoder.encode(&command, &mut WriteBuffer::default()));
                }
            }
        }
    }
}

/// The start of a loose frame: its size is not looked at again.
fn loose(body: &[u8]) -> Vec<u8> {
    [&[0; 4][..], body].concat()
}

#[test]
fn lengths_and_counts_beyond_the_frame_are_refused() {
    let mut decoder = Decoder::new(u64::MAX);
    let mut decode = |body: &[u8]| decoder.decode(&loose(body), None);
    for len in [b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\x01"] {
        let partial_command = [b"\x3c\0\0\0\0\x01", &len[..]].concat();
        assert!(decode(&partial_command).is_err());
    }
    for count in [b"\x7f\xff", b"\xff\xff", b"\x80\0"] {
        let data_array = [b"\x21\0\0\0\0\0\0\0\0\0\x01", &count[..], &[0; 100]].concat();
        let field = "DataArrayResponse.data";
        assert!(
            matches!(decode(&data_array), Err(WireError::Count { field: f, .. }) if f == field)
        );
    }
    // One level of an array in an array may not use the same bytes again.
    let mut peers = b"\x02\0\0\0\0\0\0\0\x01\0\x40".to_vec();
    for _ in 0..0x40 {
        peers.extend(b"\x01\x02\0\0\0\0\0\0\0\x01\x01\0");
    }
    assert!(matches!(decode(&peers), Err(WireError::Count { .. })));
    // Tight: 32767 bytes of flags promised.
    let mut decoder = Decoder::new(u64::MAX);
    decoder.apply(&Settings { tight: true, ..Settings::stored() });
    assert!(decoder.decode(&loose(b"\x02\x80\x7f\xff\0\0"), None).is_err());
}

#[test]
fn a_frame_over_the_limit_is_refused_by_its_size() {
    let mut decoder = Decoder::new(1000);
    assert_eq!(decoder.frame_length(b"\0\0\x03"), Ok(None));
    assert_eq!(decoder.frame_length(b"\0\0\x03\xe8"), Ok(Some(1004)));
    for size in [b"\0\0\x03\xe9", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff"] {
        assert!(matches!(decoder.frame_length(size), Err(WireError::FrameSize { .. })));
    }
    decoder.set_max_frame_size(10);
    assert!(decoder.frame_length(b"\0\0\0\x0b").is_err());
}

#[test]
fn odd_frames_get_the_error_that_says_so() {
    let mut decoder = Decoder::new(u64::MAX);
    let mut decode = |body: &[u8]| decoder.decode(&loose(body), None);
    assert_eq!(decode(b"\0"), Ok(None));
    assert_eq!(decode(b"\0\0"), Err(WireError::TrailingBytes(1)));
    assert_eq!(decode(b"\x0a\0\0\0\x01\0x"), Err(WireError::TrailingBytes(1)));
    let (field, code) = ("a frame", 13);
    assert_eq!(decode(b"\x0d"), Err(WireError::UnknownType { field, code }));
    let (field, code) = ("SessionInfo.sessionId", 120);
    let wrong = decode(b"\x04\0\0\0\x01\0\x01\x78\0");
    assert_eq!(wrong, Err(WireError::UnexpectedType { field, code }));
    let malformed = decode(b"\x35\x01\0\x01\x80");
    assert_eq!(malformed, Err(WireError::Text { field: "JournalTrace.message" }));

    let mut decoder = Decoder::new(u64::MAX);
    decoder.apply(&Settings { version: 2, ..Settings::stored() });
    let (code, since, version) = (19, 3, 2);
    let early = decoder.decode(&loose(b"\x13\0\0\0\0\0\0\0\0\0\0"), None);
    assert_eq!(early, Err(WireError::NotInVersion { code, since, version }));
}

#[test]
fn a_slot_that_was_never_filled_is_null_and_one_of_another_type_is_refused() {
    let mut decoder = Decoder::new(u64::MAX);
    decoder.apply(&Settings { cache_size: Some(1024), ..Settings::stored() });
    // A SessionInfo with a reference to slot 5; one that puts a session id there; a ProducerInfo
    // that takes it for a producer.
    let (index, field) = (5, "SessionInfo.sessionId");
    let unknown = decoder.decode(&loose(b"\x04\0\0\0\x01\0\0\0\x05"), None);
    assert!(matches!(unknown, Ok(Some(Command::SessionInfo(info))) if info.session_id.is_none()));
    let outside = decoder.decode(&loose(b"\x04\0\0\0\x01\0\0\x04\0"), None);
    assert_eq!(outside, Err(WireError::CacheSlot { field, index: 1024 }));
    let new = loose(b"\x04\0\0\0\x01\0\x01\0\x05\x01\x79\0\0\0\0\0\0\0\0\x01");
    assert!(decoder.decode(&new, None).is_ok());
    assert!(decoder.decode(&loose(b"\x04\0\0\0\x01\0\0\0\x05"), None).is_ok());
    let field = "ProducerInfo.producerId";
    let other = decoder.decode(&loose(b"\x06\0\0\0\x01\0\0\0\x05"), None);
    assert_eq!(other, Err(WireError::CacheSlot { field, index }));
}

#[test]
fn nesting_without_end_is_refused() {
    let mut decoder = Decoder::new(u64::MAX);
    let in_a_response = b"\x20\0\0\0\0\0\0\0\0\0\x01".repeat(100_000);
    let in_an_array = b"\x21\0\0\0\0\0\0\0\0\0\x01\0\x01\x01".repeat(100_000);
    let in_a_broker = b"\x02\0\0\0\0\0\0\0\x01\0\x01\x01".repeat(100_000);
    for body in [in_a_response, in_an_array, in_a_broker] {
        let result = decoder.decode(&loose(&body), None);
        assert!(matches!(result, Err(WireError::TooDeep { .. })), "{result:?}");
    }
    decoder.apply(&Settings { stack_trace: true, ..Settings::stored() });
    let mut causes = b"\x1f\0\0\0\0\0\0\0\0\0".to_vec();
    causes.extend(b"\x01\0\0\0\0".repeat(100_000));
    assert!(matches!(decoder.decode(&loose(&causes), None), Err(WireError::TooDeep { .. })));
}

/// A message that describes a response that holds a message, and so on: each level is converted to
/// the stored form once, not once per level above it.
#[test]
fn objects_in_objects_take_no_more_than_their_bytes() {
    let mut nested: Command = Message::default().into();
    for _ in 0..DEPTH_MAX / 2 - 1 {
        let response = DataResponse { data: Some(Box::new(nested)), ..DataResponse::default() };
        let object = super::super::encode_object(&response.into()).unwrap();
        let described = Some(Described::Other(object).into());
        nested = Message { described, ..Message::default() }.into();
    }
    for (version, tight) in [(12, true), (11, true), (11, false), (12, false)] {
        let settings = Settings { version, tight, cache_size: Some(1024), ..Settings::stored() };
        let (mut decoder, mut encoder) = codec(&settings);
        let mut out = WriteBuffer::default();
        encoder.encode(&nested, &mut out).unwrap();
        let again = decoder.decode(&out.into_bytes(), None).unwrap();
        assert_eq!(again.as_ref(), Some(&nested));
    }
}

#[test]
fn what_cannot_be_written_leaves_buffer_and_cache_as_they_were() {
    for tight in [false, true] {
        let settings = Settings {
            tight,
            cache_size: Some(1024),
            max_frame_size: 100_000,
            ..Settings::stored()
        };
        let (mut decoder, mut encoder) = codec(&settings);
        let message = |body: usize, correlation: usize| -> Command {
            Message {
                destination: Some(crate::jms::Destination::queue("Q")),
                correlation_id: Some("c".repeat(correlation).into()),
                content: Some(vec![7; body].into()),
                ..Message::default()
            }
            .into()
        };
        let mut out = WriteBuffer::default();
        let too_large = encoder.encode(&message(100_000, 1), &mut out);
        assert!(matches!(too_large, Err(WireError::FrameSize { .. })), "{too_large:?}");
        let too_long = encoder.encode(&message(10, 65_536), &mut out);
        let field = "Message.correlationId";
        assert_eq!(too_long, Err(WireError::TooLong { field, len: 65_536 }));
        assert!(out.is_empty());
        for fits in [message(90_000, 10), message(10, 65_535)] {
            encoder.encode(&fits, &mut out).unwrap();
            let frame = std::mem::take(&mut out).into_bytes();
            assert_eq!(decoder.decode(&frame, None), Ok(Some(fits)));
        }
    }
}

#[test]
fn large_bodies_are_slices_of_what_was_read_and_small_ones_are_not() {
    let settings = Settings::stored();
    for (len, is_slice) in [(16 * 1024, false), (16 * 1024 + 1, true)] {
        let message = Message { content: Some(vec![7; len].into()), ..Message::default() };
        let mut out = WriteBuffer::default();
        Encoder::new(&settings).encode_message(&message, &mut out).unwrap();
        let frame = out.into_bytes();
        let decoded = Decoder::new(u64::MAX).decode(&frame, Some(&frame)).unwrap();
        let Some(Command::Message(decoded)) = decoded else { panic!("not a message") };
        assert_eq!(decoded.content, message.content);
        let body = decoded.content.clone().unwrap();
        assert_eq!(frame.as_ptr_range().contains(&body.as_ptr()), is_slice);
    }
}

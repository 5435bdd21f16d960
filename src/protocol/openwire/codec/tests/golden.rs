//! Every recorded frame decodes to the recorded fields and encodes to the recorded bytes.

use super::json::{ToJson, hex};
use super::{VERSIONS, codec, frame, lines, settings};
use crate::jms::{BodyKind, Described, Message};
use crate::protocol::openwire::codec::{Decoder, Encoder, decode_object, encode_object};
use crate::protocol::openwire::command::Command;
use crate::transport::WriteBuffer;
use bytes::Bytes;
use serde_json::{Value, json};

/// Writes out the abbreviations of a vector's fields.
fn expand(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if let Some(fill) = object.get("$fill") {
                let [len, a, b] = [0, 1, 2].map(|i| fill[i].as_u64().unwrap());
                let bytes: Vec<u8> = (0..len).map(|i| (i * a + b) as u8).collect();
                *value = json!({ "$bytes": hex(&bytes) });
            } else {
                object.values_mut().for_each(expand);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(expand),
        _ => {}
    }
}

/// Takes away what does not travel without stack traces.
fn without_stack_trace(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if object.get("$type") == Some(&"Throwable".into()) {
                object.remove("stack");
                object.remove("cause");
            }
            object.values_mut().for_each(without_stack_trace);
        }
        Value::Array(values) => values.iter_mut().for_each(without_stack_trace),
        _ => {}
    }
}

/// Checks one frame; `about` names it in a failure.
fn check(
    decoder: &mut Decoder,
    encoder: &mut Encoder,
    line: &Value,
    bytes: &[u8],
    (version, stack_trace): (i32, bool),
    about: &str,
) {
    assert_eq!(decoder.frame_length(bytes), Ok(Some(bytes.len())), "{about}");
    let command = decoder.decode(bytes, None);
    let command = command.unwrap_or_else(|e| panic!("{about}: {e}")).expect("not the null object");
    let mut expected = line["fields"].clone();
    expand(&mut expected);
    expected["$type"] = line["command"].clone();
    let mut fields = command.to_json(version);
    if !stack_trace {
        without_stack_trace(&mut fields);
    }
    assert_eq!(fields, expected, "{about}");
    if !matches!(command, Command::Object(_)) {
        assert_eq!(command.name(), line["command"], "{about}");
    }
    let mut out = WriteBuffer::default();
    encoder.encode(&command, &mut out).unwrap_or_else(|e| panic!("{about}: {e}"));
    assert_eq!(hex(&out.into_bytes()), hex(bytes), "{about}");
}

#[test]
fn every_recorded_frame_decodes_and_encodes() {
    for file in VERSIONS {
        for line in lines(file) {
            let settings = settings(&line);
            let (mut decoder, mut encoder) = codec(&settings);
            let bytes = frame(&line, line["size_prefix"] == true);
            let about = format!("{file} {} {} {settings:?}", line["command"], line["case"]);
            let format = (settings.version, settings.stack_trace);
            check(&mut decoder, &mut encoder, &line, &bytes, format, &about);
        }
    }
}

#[test]
fn every_recorded_conversation_decodes_and_encodes_with_one_cache() {
    for line in lines("streams") {
        let settings = settings(&line);
        let (mut decoder, mut encoder) = codec(&settings);
        let frames = line["frames"].as_array().unwrap();
        for (i, step) in frames.iter().enumerate() {
            let about = format!("{} {i} {} {settings:?}", line["name"], step["command"]);
            let format = (settings.version, settings.stack_trace);
            let bytes = frame(step, line["size_prefix"] == true);
            check(&mut decoder, &mut encoder, step, &bytes, format, &about);
        }
    }
}

/// In the stored form a recorded object is its loose frame without size.
#[test]
fn the_stored_form_is_the_loose_one_of_version_12() {
    for line in lines("v12") {
        if line["tight"] == true || line["cache"] == true || line["stack_trace"] == false {
            continue;
        }
        let bytes = &frame(&line, line["size_prefix"] == true)[4..];
        let object = decode_object(&Bytes::copy_from_slice(bytes)).unwrap();
        assert_eq!(hex(&encode_object(&object).unwrap()), hex(bytes), "{}", line["case"]);
        // As what a message describes it survives every encoding.
        let described = match object {
            Command::ConsumerInfo(info) => Described::Consumer(*info),
            Command::Message(message) => Described::Message(message),
            Command::BrokerInfo(_)
            | Command::ConnectionInfo(_)
            | Command::ProducerInfo(_)
            | Command::DestinationInfo(_)
            | Command::RemoveInfo(_)
            | Command::RemoveSubscriptionInfo(_) => continue,
            _ => Described::Other(Bytes::copy_from_slice(bytes)),
        };
        let described = Some(described.into());
        let message: Command =
            Message { kind: BodyKind::Text, described, ..Message::default() }.into();
        for (tight, cache_size) in [(false, None), (true, None), (false, Some(0)), (true, Some(0))]
        {
            let settings = crate::protocol::openwire::codec::Settings {
                tight,
                cache_size,
                ..crate::protocol::openwire::codec::Settings::stored()
            };
            let (mut decoder, mut encoder) = codec(&settings);
            let mut out = WriteBuffer::default();
            encoder.encode(&message, &mut out).unwrap();
            let again = decoder.decode(&out.into_bytes(), None).unwrap();
            assert_eq!(again.as_ref(), Some(&message), "{} {}", line["command"], line["case"]);
        }
    }
}

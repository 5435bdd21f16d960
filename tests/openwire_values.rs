//! Property maps and message bodies as ActiveMQ 5.17.2 wrote them.
#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

use broker::jms::mutf8;
use broker::jms::properties::{PropertyMap, PropertyValue, ValueRef, find};
use bytes::Bytes;
use serde_json::Value;
use std::io::Read;

fn lines(file: &str) -> Vec<Value> {
    let path = format!("{}/tests/data/openwire/{file}.jsonl.gz", env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    let file = std::fs::File::open(path).unwrap();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().map(|d| char::from(d).to_digit(16).unwrap() as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn text(value: &Value) -> String {
    match value.get("$repeat") {
        Some(repeat) => repeat[0].as_str().unwrap().repeat(repeat[1].as_u64().unwrap() as usize),
        None => value.as_str().unwrap().to_owned(),
    }
}

/// A typed value `{t, v}`.
fn value(typed: &Value) -> PropertyValue {
    let v = &typed["v"];
    let int = || v.as_i64().unwrap();
    let bits = || u64::from_str_radix(v.as_str().unwrap(), 16).unwrap();
    match typed["t"].as_str().unwrap() {
        "null" => PropertyValue::Null,
        "boolean" => PropertyValue::Bool(v.as_bool().unwrap()),
        "byte" => PropertyValue::Byte(int() as i8),
        "char" => PropertyValue::Char(int() as u16),
        "short" => PropertyValue::Short(int() as i16),
        "int" => PropertyValue::Int(int() as i32),
        "long" => PropertyValue::Long(int()),
        "double" => PropertyValue::Double(f64::from_bits(bits())),
        "float" => PropertyValue::Float(f32::from_bits(bits() as u32)),
        "string" | "bigString" => PropertyValue::String(text(v).into()),
        "bytes" => PropertyValue::Bytes(unhex(v.as_str().unwrap()).into()),
        "map" => PropertyValue::Map(map(v)),
        "list" => PropertyValue::List(v.as_array().unwrap().iter().map(value).collect()),
        other => panic!("type {other}"),
    }
}

fn map(entries: &Value) -> PropertyMap {
    let entries = entries.as_array().unwrap().iter();
    entries.map(|entry| (entry[0].as_str().unwrap().into(), value(&entry[1]))).collect()
}

/// NaNs are equal here when their bits are.
fn encoded(value: &PropertyValue) -> Vec<u8> {
    let mut out = Vec::new();
    value.encode(&mut out).unwrap();
    out
}

#[test]
fn property_maps_decode_and_encode() {
    for line in lines("properties") {
        let Some(hex) = line["hex"].as_str() else { continue };
        let (bytes, expected) = (unhex(hex), map(&line["entries"]));
        let decoded = PropertyMap::decode(&bytes).unwrap();
        assert_eq!(format!("{decoded:?}"), format!("{expected:?}"), "{}", line["case"]);
        assert_eq!(decoded.encode().unwrap(), bytes, "{}", line["case"]);
        for (name, value) in expected.iter() {
            let found = find(&bytes, name).unwrap().expect("the name is there");
            match (&found, value) {
                (ValueRef::String(found), PropertyValue::String(value)) => {
                    assert_eq!(**found, **value);
                }
                (ValueRef::Map(found), value @ PropertyValue::Map(_)) => {
                    assert_eq!(**found, encoded(value)[1..]);
                }
                (ValueRef::List(found), value @ PropertyValue::List(_)) => {
                    assert_eq!(**found, encoded(value)[1..]);
                }
                _ => assert_eq!(format!("{found:?}"), found_like(value), "{}", line["case"]),
            }
        }
        assert_eq!(find(&bytes, "no such name"), Ok(None));
    }
}

/// How a found scalar prints: as the decoded one.
fn found_like(value: &PropertyValue) -> String {
    match value {
        PropertyValue::Bytes(bytes) => format!("{:?}", ValueRef::Bytes(bytes)),
        other => format!("{other:?}"),
    }
}

/// The plain content of a body.
fn inflated(line: &Value) -> Option<Bytes> {
    let content = unhex(line["content"].as_str()?);
    if line["compressed"] != true {
        return Some(content.into());
    }
    let is_bytes = line["kind"] == "bytes";
    let mut stream = if is_bytes { &content[4..] } else { &content[..] };
    let mut plain = Vec::new();
    flate2::read::ZlibDecoder::new(&mut stream).read_to_end(&mut plain).unwrap();
    if is_bytes {
        plain.truncate(u32::from_be_bytes(content[..4].try_into().unwrap()) as usize);
    }
    Some(plain.into())
}

#[test]
fn bodies_decode_and_encode() {
    for line in lines("bodies") {
        let Some(content) = inflated(&line) else { continue };
        let expected = &line["value"];
        match line["kind"].as_str().unwrap() {
            "text" => {
                let (len, bytes) = content.split_first_chunk().unwrap();
                assert_eq!(u32::from_be_bytes(*len) as usize, bytes.len());
                assert_eq!(mutf8::decode(bytes).unwrap(), text(expected));
                let mut again = Vec::new();
                mutf8::encode(&text(expected), &mut again);
                assert_eq!(again, bytes);
            }
            "map" => {
                let decoded = PropertyMap::decode(&content).unwrap();
                assert_eq!(decoded, map(expected), "{}", line["case"]);
                assert_eq!(decoded.encode().unwrap(), content);
            }
            "stream" => {
                let values = PropertyValue::decode_stream(&content).unwrap();
                let wanted: Vec<_> = expected.as_array().unwrap().iter().map(value).collect();
                assert_eq!(values, wanted, "{}", line["case"]);
                assert_eq!(values.iter().flat_map(encoded).collect::<Vec<u8>>(), content);
            }
            "bytes" => assert_eq!(content, unhex(expected.as_str().unwrap())),
            _ => {}
        }
    }
}

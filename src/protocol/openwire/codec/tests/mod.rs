//! The codec against frames of ActiveMQ 5.17.2, against damage and against itself.

mod damage;
mod golden;
pub(super) mod json;
mod round_trip;
mod sessions;

use super::{Decoder, Encoder, Settings};
use serde_json::Value;
use std::io::Read;

/// The lines of one file of recorded vectors.
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

/// The versions there are vectors of.
const VERSIONS: [&str; 7] = ["v01", "v03", "v06", "v09", "v10", "v11", "v12"];

/// How the frames of a line are encoded.
fn settings(line: &Value) -> Settings {
    let cache_size = line["cache_size"].as_u64().unwrap_or(1024) as u16;
    Settings {
        version: line["version"].as_i64().unwrap() as i32,
        tight: line["tight"].as_bool().unwrap(),
        cache_size: line["cache"].as_bool().unwrap().then_some(cache_size),
        stack_trace: line["stack_trace"].as_bool().unwrap_or(false),
        max_frame_size: u64::MAX,
    }
}

/// The frame of a line; some were recorded without the size in front.
fn frame(line: &Value, size_prefix: bool) -> Vec<u8> {
    let frame = unhex(line["hex"].as_str().unwrap());
    if size_prefix {
        return frame;
    }
    [&(frame.len() as u32).to_be_bytes()[..], &frame].concat()
}

fn codec(settings: &Settings) -> (Decoder, Encoder) {
    let mut decoder = Decoder::new(u64::MAX);
    decoder.apply(settings);
    (decoder, Encoder::new(settings))
}

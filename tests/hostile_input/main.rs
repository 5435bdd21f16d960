//! What a peer may send and what it must not reach: the rules for bad input, from outside.
#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

#[path = "../harness/mod.rs"]
mod harness;

mod flood;
mod frames;
mod negotiation;
mod order;
mod ownership;

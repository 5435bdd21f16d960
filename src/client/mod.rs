//! A small asynchronous OpenWire client: for bridges, command line, tests and load.
//!
//! ```text
//! Producer, Session ... --encode--> buffer --swap--> socket
//!                                      one task
//! Consumer <--batches-- inbox <---- decode <-------- socket
//! ```
//!
//! Whoever sends encodes straight into the connection's buffer; the connection's one task writes all
//! that is there at once and hands what came in one read to each consumer at once. It is the same loop
//! that serves connections in the broker ([`drive`](crate::protocol::drive)).
//!
//! Nothing here knows the broker: the other end may be any OpenWire broker, versions 1 to 12.

mod connection;
mod consumer;
mod error;
mod inbox;
mod link;
mod message;
mod options;
mod producer;
mod session;
mod task;
#[cfg(test)]
mod tests;

pub use connection::Connection;
pub use consumer::{Consumer, ConsumerOptions};
pub use error::ClientError;
pub use link::Receipt;
pub use message::{body_text, bytes_message, set_property, text_message};
pub use options::Options;
pub use producer::Producer;
pub use session::Session;

//! A message broker that takes the place of ActiveMQ Classic: same configuration, ports and clients,
//! without a JVM.
//!
//! # One message, one direction
//!
//! ```text
//! socket -> protocol::drive -> openwire::ingress -> broker::client -> router -> destination -> store
//!                                                                                 |             |
//! socket <- protocol::drive <- openwire::egress <---------- outbox <--------------'  "stored" --'
//! ```
//!
//! | state | only writer | others reach it by |
//! |---|---|---|
//! | socket buffers, wire format, marshal cache, client's ids | the connection's one task | nobody |
//! | [`broker::outbox`] | destinations push, the connection's task drains | `Outbox::push_all`, never waits |
//! | queue or topic: pending messages, subscriptions, groups, counters | its one task | `DestinationHandle`, a bounded mailbox |
//! | topic and durable subscriptions | a small lock each, taken by topics and one connection; that of the outbox is taken within, or what two of them dispatch could change places | `offer`, `acknowledge` |
//! | scheduled messages | the task of [`broker::scheduler::Jobs`], a destination that no client can name | its handle |
//! | open transactions | the client that began them; XA branches: [`broker::transaction`]; a send that waited for room: the destination that has it | broker calls; `Transaction::when_room` |
//! | journal tail; index | the store's writer thread, or who leads it; its index thread | `Store::submit`, `Store::fetch` and what they call back |
//! | temp store | its one thread | [`store::spool::Channel`] |
//! | the right to open the store | [`ha`]: one thread with the lock | `Mastership::check`, `lost` |
//! | policies, interceptors, users | the server, when the configuration changes | [`broker::live::Live`] |
//! | memory, store and temp usage | atomics | `Usage::try_take`, `Credit`; the stores say what they use |
//!
//! # Invariants
//!
//! 1. One task per destination; `Queue` and `Topic` are plain state (operations and `now` in, effects out), so tests
//!    drive them without tokio.
//! 2. A destination's task waits for its mailbox only, and for a disk that has answered within a millisecond so far,
//!    where its message is the only one on the way there ([`store::Store::lead`]). Producers take memory in their connection's task, before the
//!    mailbox, or are parked in the destination until there is room; acknowledgements and removals need none. Dead
//!    letters and advisories leave through [`broker::forward`]. Answers from the stores come to a list of their own
//!    beside the mailbox, so that whoever answers never waits.
//! 3. Every queue has a bound, or a sentence that proves one.
//! 4. The broker core knows no protocol, and no protocol knows another.
//! 5. Stores are data in, data out; one `submit` is atomic, and a `fetch` sees every submit before it. What spans
//!    destinations (commits, dead letters) is one submit.
//! 6. Nothing from network, disk or configuration can panic the process or make it allocate more than it has received.
//!
//! # Layers
//!
//! A module uses only those to its left (`tests/layers.rs` checks it):
//! `jms < config < ha, transport, security < store < broker < protocol < client < network, console < server < cli`.
//!
//! # Embedding
//!
//! [`config::load`] reads a configuration, [`server::Server::start`] runs it inside a tokio runtime.

pub mod broker;
pub mod cli;
pub mod client;
pub mod config;
pub mod ha;
pub mod jms;
pub mod protocol;
pub mod security;
pub mod server;
pub mod store;
pub mod transport;

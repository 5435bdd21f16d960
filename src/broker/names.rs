//! What a client names: how long it may be, and what stands for what.
//!
//! Names of connections, producers, subscriptions, destinations and transactions stand in the store beside
//! the messages, in records that have room for some of them; and the broker keeps them for as long as what
//! they name.

use super::error::BrokerError;
use crate::jms::{ConnectionId, Destination, Message, TransactionId};

/// Bytes of one name, at most: far more than any client uses.
const NAME_BYTES_MAX: usize = 8 * 1024;

/// Refuses a name that is too long. `what` it names stands in the error.
pub(super) fn check(what: &'static str, name: Option<&str>) -> Result<(), BrokerError> {
    check_bytes(what, name.map_or(0, str::len))
}

/// As [`check`], of a transaction.
pub(super) fn check_transaction(id: &TransactionId) -> Result<(), BrokerError> {
    let bytes = match id {
        TransactionId::Local { connection, .. } => {
            connection.as_ref().map_or(0, |id| ConnectionId::as_str(id).len())
        }
        TransactionId::Xa(xid) => {
            let parts = [&xid.global_transaction_id, &xid.branch_qualifier];
            parts.into_iter().flatten().map(|part| part.len()).max().unwrap_or(0)
        }
    };
    check_bytes("transaction id", bytes)
}

/// As [`check`], of what a message says it comes from: a message that was sent before may name another
/// producer than the one that sends it now.
pub(super) fn check_message(message: &Message) -> Result<(), BrokerError> {
    let producer = message.message_id.as_ref().and_then(|id| id.producer.as_ref());
    check("message id", producer.and_then(|producer| producer.connection.as_deref()))
}

fn check_bytes(what: &'static str, bytes: usize) -> Result<(), BrokerError> {
    let limit = NAME_BYTES_MAX;
    if bytes > limit { Err(BrokerError::NameTooLong { what, bytes, limit }) } else { Ok(()) }
}

/// Puts in place of `named` the destination that it means, if that is another: blanks around it and options
/// (`NAME?x=y`) are no part of a name, and `separator` (`destinationPathSeparatorPlugin`) stands for a dot.
pub(super) fn resolve(named: &mut Option<Destination>, separator: Option<&str>) {
    let meant = named.as_ref().and_then(|named| meant(named, separator));
    if meant.is_some() {
        *named = meant;
    }
}

fn meant(named: &Destination, separator: Option<&str>) -> Option<Destination> {
    let plain = named.name().trim_matches(|c| c <= ' ').split('?').next().unwrap_or("");
    let separator =
        separator.filter(|separator| !separator.is_empty() && plain.contains(separator));
    if separator.is_none() && plain.len() == named.name().len() {
        return None;
    }
    let name = match separator {
        Some(separator) => {
            let levels = plain.split(separator).map(str::trim).filter(|level| !level.is_empty());
            levels.collect::<Vec<_>>().join(".")
        }
        None => plain.to_owned(),
    };
    Some(Destination::new(named.kind(), Some(name.into())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jms::{MessageId, ProducerId, XaId};
    use std::sync::Arc;

    #[test]
    fn blanks_and_options_are_no_part_of_a_name_and_another_separator_stands_for_a_dot() {
        for (named, separator, means) in [
            ("A.B", None, "A.B"),
            ("A.B", Some("/"), "A.B"),
            ("A?consumer.prefetchSize=1", None, "A"),
            (" A B\t", None, "A B"),
            ("\n A,B ?x=y ", None, "A,B "),
            ("  ", None, ""),
            ("/A/ B//C/?x=y/z", Some("/"), "A.B.C"),
            ("A/B", None, "A/B"),
            ("A/B", Some(""), "A/B"),
            ("A::*::>", Some("::"), "A.*.>"),
        ] {
            let mut destination = Some(Destination::topic(named));
            resolve(&mut destination, separator);
            assert_eq!(destination, Some(Destination::topic(means)), "{named}");
        }
    }

    #[test]
    fn what_is_too_long_is_refused_wherever_it_stands() {
        let (fits, long) = ("x".repeat(NAME_BYTES_MAX), "x".repeat(NAME_BYTES_MAX + 1));
        let too_long = |what| {
            let (bytes, limit) = (NAME_BYTES_MAX + 1, NAME_BYTES_MAX);
            Err(BrokerError::NameTooLong { what, bytes, limit })
        };
        assert_eq!(check("client id", None), Ok(()));
        assert_eq!(check("client id", Some(&fits)), Ok(()));
        assert_eq!(check("client id", Some(&long)), too_long("client id"));
        let branch = |bytes: &str| {
            let global_transaction_id = Some(bytes.as_bytes().to_vec().into());
            TransactionId::Xa(Arc::new(XaId { global_transaction_id, ..XaId::default() }))
        };
        assert_eq!(check_transaction(&branch(&fits)), Ok(()));
        assert_eq!(check_transaction(&branch(&long)), too_long("transaction id"));
        let local = TransactionId::Local { value: 1, connection: Some(ConnectionId::new(&*long)) };
        assert_eq!(check_transaction(&local), too_long("transaction id"));
        let producer = ProducerId { connection: Some((&*long).into()), ..ProducerId::default() };
        let message_id = MessageId { producer: Some(producer), ..MessageId::default() };
        let message = Message { message_id: Some(message_id), ..Message::default() };
        assert_eq!(check_message(&message), too_long("message id"));
    }
}

//! Transaction ids: local to a connection, or XA and known to the whole broker.

use super::ConnectionId;
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;

/// Names a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TransactionId {
    /// Begun and ended by one connection.
    Local { value: i64, connection: Option<ConnectionId> },
    /// A branch of a distributed transaction.
    Xa(Arc<XaId>),
}

/// An XA branch id (JTA `Xid`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct XaId {
    pub format_id: i32,
    pub global_transaction_id: Option<Bytes>,
    pub branch_qualifier: Option<Bytes>,
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local { value, connection } => {
                let connection = connection.as_ref().and_then(|c| c.value.as_deref());
                write!(f, "TX:{}:{value}", connection.unwrap_or("null"))
            }
            Self::Xa(id) => id.fmt(f),
        }
    }
}

impl fmt::Display for XaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "XID:[{},globalId=", self.format_id)?;
        hex(self.global_transaction_id.as_deref(), f)?;
        f.write_str(",branchId=")?;
        hex(self.branch_qualifier.as_deref(), f)?;
        f.write_str("]")
    }
}

/// Hex of each byte without zero padding, sign extended: the form ActiveMQ's logs and errors show.
fn hex(bytes: Option<&[u8]>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for byte in bytes.unwrap_or_default() {
        write!(f, "{:x}", i32::from(byte.cast_signed()))?;
    }
    Ok(())
}

//! The Java exceptions OpenWire clients expect for what the broker refuses (OpenWire section 16).

use crate::broker::error::BrokerError as E;
use crate::jms::Throwable;

/// The exception for `error`. Only classes every client has; never a stack trace.
pub(super) fn throwable(error: &E) -> Throwable {
    let class = match error {
        E::BadCredentials { .. } => "java.lang.SecurityException",
        E::ClientIdMissing | E::ClientIdInUse { .. } => "javax.jms.InvalidClientIDException",
        E::NotRegistered { .. } | E::LimitReached { .. } | E::PrepareUnknown(_) => {
            "java.lang.IllegalStateException"
        }
        E::TooManyDestinations { .. } => "javax.jms.IllegalStateException",
        E::DestinationMissing(destination) => {
            // Clients and bridges look for the name alone in this one.
            let class = "org.apache.activemq.DestinationDoesNotExistException";
            return Throwable::new(class, destination.to_string());
        }
        E::ConsumersSlow { .. } => "org.apache.activemq.transport.InactivityIOException",
        E::Schedule(_) => "javax.jms.MessageFormatException",
        E::DestinationNameEmpty
        | E::DestinationReserved(_)
        | E::DurableMissing { .. }
        | E::NotOwner(_) => "javax.jms.InvalidDestinationException",
        E::InvalidSelector(_) => "javax.jms.InvalidSelectorException",
        E::MemoryFull(_)
        | E::MemoryWaitTimeout { .. }
        | E::StoreWaitTimeout { .. }
        | E::StoreNoSpace(_)
        | E::TempWaitTimeout { .. } => "javax.jms.ResourceAllocationException",
        E::RollbackOnly { .. } => "javax.jms.TransactionRolledBackException",
        E::Xa { .. } | E::BranchRollbackOnly { .. } => "javax.transaction.xa.XAException",
        E::Unknown { .. } | E::FieldMissing { .. } | E::Stopping | E::Store(_) => {
            "java.io.IOException"
        }
        E::NameTooLong { .. }
        | E::DestinationInUse { .. }
        | E::DurableInUse { .. }
        | E::DurableActive
        | E::DurableAdvisory
        | E::DurableNotTopic(_)
        | E::DurablesRejected
        | E::AckCount { .. }
        | E::AckRange { .. }
        | E::AckUnknown { .. }
        | E::AckPoisonInTransaction { .. }
        | E::AckInvalid { .. }
        | E::TransactionUnknown(_)
        | E::TransactionStarted(_)
        | E::ProducerUnknown { .. }
        | E::ForwardCircle(_)
        | E::SendAborted
        | E::SendTooLate => "javax.jms.JMSException",
    };
    Throwable::new(class, error.to_string())
}

//! Dead letters that are thrown away (semantics.md 10.2).

use crate::broker::dead_letter::DeadLetter;
use crate::jms::DestinationKind;
use regex_lite::Regex;
use std::sync::atomic::{AtomicU64, Ordering};

/// `<discardingDLQBrokerPlugin>`.
#[derive(Debug)]
pub struct DiscardingDlq {
    pub drop_all: bool,
    pub drop_temporary_topics: bool,
    pub drop_temporary_queues: bool,
    /// Whole names of destinations.
    pub drop_only: Vec<Regex>,
    /// A line in the log every so many messages; 0: never.
    pub report_interval: u32,
    /// How many were thrown away so far.
    pub dropped: AtomicU64,
}

impl DiscardingDlq {
    /// A pattern for whole names.
    ///
    /// # Errors
    /// When it is not a regular expression.
    pub fn pattern(text: &str) -> Result<Regex, regex_lite::Error> {
        Regex::new(&format!("^(?:{text})$"))
    }

    /// Whether `letter` is thrown away.
    pub(super) fn takes(&self, letter: &DeadLetter) -> bool {
        let name = letter.from.name();
        let takes = self.drop_all
            || match letter.from.kind() {
                DestinationKind::TempTopic if self.drop_temporary_topics => true,
                DestinationKind::TempQueue if self.drop_temporary_queues => true,
                _ => self.drop_only.iter().any(|pattern| pattern.is_match(name)),
            };
        if takes {
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            if self.report_interval > 0 && dropped.is_multiple_of(self.report_interval.into()) {
                tracing::info!(
                    "Total of {dropped} messages were discarded, since their destination was the \
                     dead letter queue"
                );
            }
        }
        takes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jms::{Destination, Message};
    use std::sync::Arc;

    fn letter(kind: DestinationKind, name: &str) -> DeadLetter {
        let from = Destination::new(kind, Some(name.into()));
        DeadLetter::unstored(Arc::new(Message::default()), from, None)
    }

    fn takes(discarding: &DiscardingDlq, kind: DestinationKind, name: &str) -> bool {
        discarding.takes(&letter(kind, name))
    }

    #[test]
    fn discarding_dlq_drops_all_or_what_it_is_told() {
        use DestinationKind::{Queue, TempQueue, TempTopic};
        let nothing = || DiscardingDlq {
            drop_all: false,
            drop_temporary_topics: false,
            drop_temporary_queues: false,
            drop_only: Vec::new(),
            report_interval: 2,
            dropped: AtomicU64::new(0),
        };
        let all = DiscardingDlq { drop_all: true, ..nothing() };
        assert!(takes(&all, Queue, "A"));
        let drop_only = vec![DiscardingDlq::pattern("A\\..*").expect("it is one")];
        let some = DiscardingDlq { drop_temporary_topics: true, drop_only, ..nothing() };
        assert!(takes(&some, Queue, "A.B"));
        assert!(!takes(&some, Queue, "B.A.B"), "the whole name counts");
        assert!(takes(&some, TempTopic, "t"));
        assert!(!takes(&some, TempQueue, "t"));
    }
}

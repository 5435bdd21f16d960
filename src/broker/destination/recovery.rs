//! What a topic keeps for subscribers that come late (`<subscriptionRecoveryPolicy>`; semantics.md
//! section 5).

use super::Now;
use super::in_flight::Entry;
use crate::broker::policy::RecoveryKind;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Messages kept for retroactive consumers.
#[derive(Debug)]
pub(super) struct Recovery {
    kind: RecoveryKind,
    kept: VecDeque<(Instant, Entry)>,
    bytes: u64,
}

impl Recovery {
    pub(super) fn new(kind: RecoveryKind) -> Self {
        Self { kind, kept: VecDeque::new(), bytes: 0 }
    }

    /// Keeps `entry` if the policy does, and drops what it keeps no longer.
    pub(super) fn note(&mut self, entry: &Entry, now: Now) {
        if self.kind == RecoveryKind::None {
            return;
        }
        // Kept messages do not count against the producers of the topic.
        let entry = Entry { hold: None, ..entry.clone() };
        self.bytes += entry.bytes;
        self.kept.push_back((now.instant, entry));
        self.trim(now);
    }

    /// What a late subscriber gets first.
    pub(super) fn kept(&mut self, now: Now) -> Vec<Entry> {
        self.trim(now);
        let live = self.kept.iter().filter(|(_, entry)| !entry.message.is_expired(now.wall_ms));
        live.map(|(_, entry)| entry.clone()).collect()
    }

    fn trim(&mut self, now: Now) {
        while let Some((at, _)) = self.kept.front() {
            let over = match self.kind {
                RecoveryKind::None => true,
                RecoveryKind::Count(most) => self.kept.len() > most,
                RecoveryKind::Bytes(most) => self.bytes > most && self.kept.len() > 1,
                RecoveryKind::Time(period) => age(*at, now) > period,
            };
            if !over {
                return;
            }
            if let Some((_, gone)) = self.kept.pop_front() {
                self.bytes -= gone.bytes;
            }
        }
    }
}

fn age(at: Instant, now: Now) -> Duration {
    now.instant.saturating_duration_since(at)
}

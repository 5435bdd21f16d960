//! What a topic keeps for subscribers that come late (`<subscriptionRecoveryPolicy>`; semantics.md
//! section 5), and the message it was asked to retain.

use super::Now;
use super::in_flight::Entry;
use crate::broker::candidate::Candidate;
use crate::broker::policy::RecoveryKind;
use crate::jms::Message;
use crate::jms::properties::{self, PropertyValue};
use crate::jms::selector::Value;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Messages kept for retroactive consumers.
#[derive(Debug)]
pub(super) struct Recovery {
    kind: RecoveryKind,
    kept: VecDeque<(Instant, Entry)>,
    bytes: u64,
    /// Given first, whatever the policy keeps.
    retained: Option<Entry>,
}

/// A producer sets this property to true: the topic retains the message; or, when it has no body, retains
/// none any more.
const RETAIN: &str = "ActiveMQ.Retain";
/// Set on a retained message for those who get it later.
const RETAINED: &str = "ActiveMQ.Retained";

impl Recovery {
    pub(super) fn new(kind: RecoveryKind) -> Self {
        Self { kind, kept: VecDeque::new(), bytes: 0, retained: None }
    }

    /// Retains `entry` if its producer wants that. Subscribers then get it as this returns it: without that
    /// wish.
    pub(super) fn retain(&mut self, entry: &Entry) -> Option<Arc<Message>> {
        let message = &entry.message;
        let candidate = Candidate { message, redeliveries: 0 };
        let wanted = match candidate.property(RETAIN) {
            Value::Boolean(wanted) => wanted,
            Value::String(text) => text.eq_ignore_ascii_case("true"),
            _ => false,
        };
        if !wanted {
            return None;
        }
        let without = properties::remove(message.properties.as_deref(), RETAIN).ok()?;
        let bare = Arc::new(Message { properties: without, ..(**message).clone() });
        let has_body = message.content.as_ref().is_some_and(|content| !content.is_empty());
        self.retained = has_body.then(|| {
            let mark = PropertyValue::Bool(true);
            let marked = properties::set(bare.properties.as_deref(), RETAINED, &mark).ok();
            let properties = marked.or_else(|| bare.properties.clone());
            let message = Arc::new(Message { properties, ..(*bare).clone() });
            Entry { message, hold: None, ..entry.clone() }
        });
        Some(bare)
    }

    /// The message that was retained.
    pub(super) fn retained(&self, now: Now) -> Option<Entry> {
        self.retained.clone().filter(|entry| !entry.message.is_expired(now.wall_ms))
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

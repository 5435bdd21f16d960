//! What a transaction acknowledges of topic subscriptions.

use super::subscription::TopicSubscription;
use super::{Effects, Now};
use crate::jms::AckKind;
use std::sync::Arc;

/// How many messages of which subscriptions are acknowledged in one transaction. Nothing of a topic is stored
/// for them: until the end of the transaction they are in flight, and fill the windows.
#[derive(Clone, Debug, Default)]
pub struct TopicAcks(Vec<(Arc<TopicSubscription>, i32)>);

impl TopicAcks {
    /// The client acknowledges `messages` more.
    pub fn add(&mut self, subscription: &Arc<TopicSubscription>, messages: i32) {
        let known = self.0.iter_mut().find(|(present, _)| Arc::ptr_eq(present, subscription));
        match known {
            Some((_, count)) => *count = count.saturating_add(messages),
            None => self.0.push((Arc::clone(subscription), messages)),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The transaction ends. After a rollback the client gives the messages out again by itself.
    pub fn end(self, commit: bool, now: Now, out: &mut Effects) {
        for (subscription, messages) in self.0 {
            if commit {
                subscription.acknowledge(AckKind::Standard, messages, now, out);
            } else {
                subscription.takes_back(messages);
            }
        }
    }
}

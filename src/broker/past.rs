//! What topics have stored for others, for a new retroactive durable subscription (semantics.md section 5).

use super::Broker;
use super::destination::Op;
use super::destination::durable::DurableSubscription;
use super::error::BrokerError;
use super::outbox::Receipt;
use super::router::matches;
use crate::jms::{Destination, Message};
use crate::store::{Fetch, Page, PageLimit};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Read at a time, for each of the others.
const PAGE: PageLimit = PageLimit { messages: 200, bytes: 1 << 20 };

impl Broker {
    /// Gives `durable` what the topics it is to listen to have stored for other subscriptions, oldest first.
    /// Returns when that is stored for it too.
    pub(super) async fn recall(
        &self,
        durable: &Arc<DurableSubscription>,
    ) -> Result<(), BrokerError> {
        if !self.outlet.store.keeps() {
            return Ok(());
        }
        let wanted = durable.destination.parts();
        let mut others = self.registry.durables();
        others.retain(|other| !Arc::ptr_eq(other, durable) && may_share(&wanted, other));
        let mut after = 0;
        loop {
            // Sequences are shared by all subscriptions: up to `until` every one of them has been read.
            let (mut found, mut until) = (BTreeMap::new(), i64::MAX);
            for other in &others {
                let page = self.stored_for(other.number, after).await?;
                if let Some(last) = page.last.filter(|_| !page.end) {
                    until = until.min(last);
                }
                found.extend(page.messages.into_iter().map(|one| (one.sequence, one.message)));
            }
            found.retain(|sequence, _| *sequence <= until);
            self.store_for(durable, &wanted, found.into_values()).await?;
            if until == i64::MAX {
                return Ok(());
            }
            after = until;
        }
    }

    /// What subscription number `subscription` has above sequence `after`.
    async fn stored_for(&self, subscription: u64, after: i64) -> Result<Page, BrokerError> {
        let (tell, told) = oneshot::channel();
        let done = Box::new(move |page| drop(tell.send(page)));
        self.outlet.store.fetch(Fetch::Durable { subscription, after, limit: PAGE }, done);
        match told.await {
            Ok(page) => page.map_err(Into::into),
            Err(_) => Ok(Page { end: true, ..Page::default() }),
        }
    }

    async fn store_for(
        &self,
        durable: &Arc<DurableSubscription>,
        wanted: &[Destination],
        messages: impl Iterator<Item = Arc<Message>>,
    ) -> Result<(), BrokerError> {
        // In a row for as long as they are of one topic.
        let mut rows: Vec<(Destination, Vec<Arc<Message>>)> = Vec::new();
        for message in messages {
            let Some(topic) = message.destination.clone() else { continue };
            if !wanted.iter().any(|part| matches(part, &topic)) {
                continue;
            }
            match rows.last_mut() {
                Some((last, row)) if *last == topic => row.push(message),
                _ => rows.push((topic, vec![message])),
            }
        }
        for (topic, past) in rows {
            let (receipt, stored) = oneshot::channel();
            let receipt = Receipt::telling(move |result| drop(receipt.send(result)));
            let durable = Arc::clone(durable);
            let topic = self.destination(&topic, None).await?;
            topic.send(vec![Op::Recall { durable, past, receipt: Some(receipt) }]).await;
            stored.await.unwrap_or(Ok(()))?;
        }
        Ok(())
    }
}

/// Whether `other` may have messages of what `wanted` names.
fn may_share(wanted: &[Destination], other: &DurableSubscription) -> bool {
    let others = other.destination.parts();
    wanted
        .iter()
        .any(|part| others.iter().any(|of| part == of || part.is_pattern() || of.is_pattern()))
}

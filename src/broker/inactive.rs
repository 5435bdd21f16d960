//! Destinations that nobody uses go by themselves (`gcInactiveDestinations`, semantics.md section 1).
//!
//! A destination goes only when nothing but the router knows it: then no message can be on its way to it
//! that is not in its mailbox already, and what is there is looked at once more before the end.

use super::Broker;
use super::destination::DestinationHandle;
use super::destination::report::Report;
use crate::jms::Destination;
use hashbrown::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// When destinations are looked at that may have become inactive.
#[derive(Clone, Copy, Debug, Default)]
pub struct InactiveSweeps {
    /// `schedulePeriodForDestinationPurge`; none: never.
    pub period: Option<Duration>,
    /// `maxPurgedDestinationsPerSweep`; none: any number.
    pub removed_max: Option<usize>,
}

/// Since when a destination is seen idle, and how many messages it had got by then.
type Idle = HashMap<Destination, (Instant, u64)>;

/// Starts to look for inactive destinations, if they are to go.
pub(super) fn watch(broker: &Arc<Broker>) {
    let sweeps = broker.options.inactive_sweeps;
    if let Some(period) = sweeps.period {
        let most = sweeps.removed_max.unwrap_or(usize::MAX);
        tokio::spawn(sweep(Arc::downgrade(broker), period, most));
    }
}

async fn sweep(broker: Weak<Broker>, period: Duration, most: usize) {
    let mut idle = Idle::new();
    loop {
        tokio::time::sleep(period).await;
        let Some(broker) = broker.upgrade() else { return };
        broker.remove_inactive(&mut idle, most, Instant::now()).await;
    }
}

impl Broker {
    /// One sweep at `now`; `idle` is what the ones before saw. Removes `most` destinations at the most.
    async fn remove_inactive(&self, idle: &mut Idle, most: usize, now: Instant) {
        let mut candidates = Vec::new();
        for handle in self.router.all() {
            let destination = &handle.destination;
            let Some(patience) = handle.policy.get().inactive_timeout else { continue };
            let Some(report) = report_if_idle(&handle).await else {
                idle.remove(destination);
                continue;
            };
            let seen = idle.entry(destination.clone()).or_insert((now, report.own.enqueued));
            if seen.1 != report.own.enqueued {
                *seen = (now, report.own.enqueued);
            }
            if now.saturating_duration_since(seen.0) >= patience {
                candidates.push((destination.clone(), patience));
            }
        }
        let mut removed = 0;
        for (destination, patience) in candidates {
            if removed == most {
                break;
            }
            if self.remove_if_idle(&destination, patience).await {
                idle.remove(&destination);
                removed += 1;
            }
        }
        idle.retain(|destination, _| self.router.find(destination).is_some());
    }

    /// Removes a destination that nobody uses. False when somebody does after all.
    async fn remove_if_idle(&self, destination: &Destination, patience: Duration) -> bool {
        let Some((handle, ending)) = self.router.take_unused(destination) else { return false };
        // What was in its mailbox is done when this is answered.
        if report_if_idle(&handle).await.is_none() {
            self.router.put_back(handle, ending);
            return false;
        }
        if destination.is_advisory() {
            tracing::debug!(%destination, "inactive, removing it");
        } else {
            tracing::info!(
                "{} Inactive for longer than {} ms - removing ...",
                destination.name(),
                patience.as_millis()
            );
        }
        handle.retire();
        self.end_destination(&handle, ending, None).await;
        true
    }
}

/// What a destination tells that nobody uses and that has no messages.
async fn report_if_idle(handle: &Arc<DestinationHandle>) -> Option<Report> {
    let ignored = handle.ignored_consumers();
    if handle.gauges.producers.count() > 0 || handle.gauges.consumers.count() > ignored {
        return None;
    }
    let report = handle.report().await?;
    let is_empty = report.size == 0 && report.in_memory == 0;
    (is_empty && report.consumers <= u64::from(ignored)).then_some(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::destination::{Incoming, Op};
    use crate::broker::interceptors::{Interceptors, VirtualTopic};
    use crate::broker::policy::Policy;
    use crate::broker::{BrokerOptions, fixture};
    use crate::jms::Message;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Queues below `IDLE.` may go, those below `NET.` though consumers of networks have them.
    async fn broker() -> Arc<Broker> {
        let policy = |destination: &Destination| Policy {
            inactive_timeout: (!destination.name().starts_with("STAYS")).then_some(PATIENCE),
            gc_with_network_consumers: destination.name().starts_with("NET"),
            ..Policy::default()
        };
        let mut interceptors = Interceptors::default();
        interceptors.add_virtual_topic(VirtualTopic::default());
        fixture::start(BrokerOptions {
            policy: Box::new(policy),
            interceptors: Arc::new(interceptors),
            ..fixture::options()
        })
        .await
    }

    async fn create(broker: &Broker, names: &[&str]) {
        for name in names {
            broker.destination(&Destination::queue(*name), None).await.expect("no limit");
        }
    }

    fn names(broker: &Broker) -> Vec<String> {
        let mut names: Vec<String> =
            broker.router.all().iter().map(|handle| handle.destination.name().into()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn what_nobody_used_for_long_goes() {
        let broker = broker().await;
        let virtual_queue = "Consumer.A.VirtualTopic.T";
        let all = ["CONSUMED", "FULL", "HELD", "IDLE", "PRODUCED", "STAYS", virtual_queue];
        create(&broker, &all).await;
        let find = |name: &str| broker.router.find(&Destination::queue(name)).expect("it is there");
        find("CONSUMED").gauges.add_consumer(false);
        find("PRODUCED").gauges.producers.add();
        let held = find("HELD");
        let message = Arc::new(Message::default());
        find("FULL").send(vec![Op::Send(Incoming::of_broker(message, 1))]).await;
        let (mut idle, start) = (Idle::new(), Instant::now());
        broker.remove_inactive(&mut idle, usize::MAX, start).await;
        let almost = start + PATIENCE - Duration::from_millis(1);
        broker.remove_inactive(&mut idle, usize::MAX, almost).await;
        assert_eq!(names(&broker).len(), all.len(), "it is too early");
        broker.remove_inactive(&mut idle, usize::MAX, start + PATIENCE).await;
        let interceptors = broker.router.interceptors().get();
        let fed = |topic: &str| broker.router.fed_by(&interceptors, 0, topic);
        assert_eq!(names(&broker), ["CONSUMED", "FULL", "HELD", "PRODUCED", "STAYS"]);
        assert!(fed("VirtualTopic.T").is_empty());
        drop(held);
        find("CONSUMED").gauges.remove_consumer(false);
        broker.remove_inactive(&mut idle, usize::MAX, start + 2 * PATIENCE).await;
        assert_eq!(
            names(&broker),
            ["CONSUMED", "FULL", "PRODUCED", "STAYS"],
            "one was idle before"
        );
        broker.remove_inactive(&mut idle, usize::MAX, start + 3 * PATIENCE).await;
        assert_eq!(names(&broker), ["FULL", "PRODUCED", "STAYS"]);
    }

    #[tokio::test]
    async fn a_sweep_removes_no_more_than_it_may() {
        let broker = broker().await;
        create(&broker, &["A", "B", "C"]).await;
        let (mut idle, start) = (Idle::new(), Instant::now());
        broker.remove_inactive(&mut idle, 2, start).await;
        broker.remove_inactive(&mut idle, 2, start + PATIENCE).await;
        assert_eq!(names(&broker).len(), 1);
        broker.remove_inactive(&mut idle, 2, start + PATIENCE).await;
        assert_eq!(names(&broker).len(), 0);
    }

    #[tokio::test]
    async fn consumers_of_networks_keep_a_destination_unless_they_are_not_to() {
        let broker = broker().await;
        create(&broker, &["IDLE", "NET", "NET.OWN"]).await;
        for handle in broker.router.all() {
            handle.gauges.add_consumer(true);
            if handle.destination.name() == "NET.OWN" {
                handle.gauges.add_consumer(false);
            }
        }
        let (mut idle, start) = (Idle::new(), Instant::now());
        broker.remove_inactive(&mut idle, usize::MAX, start).await;
        broker.remove_inactive(&mut idle, usize::MAX, start + PATIENCE).await;
        assert_eq!(names(&broker), ["IDLE", "NET.OWN"]);
    }

    /// A message that was on its way when the destination was found unused.
    #[tokio::test]
    async fn what_was_on_its_way_is_not_lost() {
        let broker = broker().await;
        create(&broker, &["IDLE"]).await;
        let queue = Destination::queue("IDLE");
        assert!(broker.router.take_unused(&Destination::queue("OTHER")).is_none());
        let (handle, ending) = broker.router.take_unused(&queue).expect("nobody has it");
        let message = Arc::new(Message::default());
        handle.send(vec![Op::Send(Incoming::of_broker(message, 1))]).await;
        assert!(report_if_idle(&handle).await.is_none());
        broker.router.put_back(handle, ending);
        assert!(!broker.remove_if_idle(&queue, PATIENCE).await);
        assert_eq!(names(&broker), ["IDLE"]);
        assert!(!broker.router.find(&queue).expect("it is there").is_gone());
    }
}

//! What the store had no room for, though there seemed to be some when it was let in, waits until there is.

use super::DestinationHandle;
use crate::broker::usage::Usage;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout_at};

/// How long something for several destinations waits for room in the store, and where there must be some.
#[derive(Debug)]
pub struct Patience {
    runtime: Handle,
    /// Each with the percentage of its limit that may be used.
    usages: Vec<(Arc<Usage>, u32)>,
    /// The shortest that a policy has; none: for ever.
    patience: Option<Duration>,
    since: OnceLock<Instant>,
}

impl Patience {
    /// For messages to `handles`; none where one of them does not let its senders wait, or outside of a runtime.
    pub fn of(handles: &[Arc<DestinationHandle>]) -> Option<Self> {
        let (mut usages, mut patience): (Vec<(Arc<Usage>, u32)>, _) = (Vec::new(), None);
        for handle in handles {
            let policy = handle.policy.get();
            if policy.send_fail_if_no_space {
                return None;
            }
            let own = Some(policy.send_fail_after).filter(|own| !own.is_zero());
            patience = patience.into_iter().chain(own).min();
            if !usages.iter().any(|(usage, _)| Arc::ptr_eq(usage, &handle.store_usage)) {
                usages.push((Arc::clone(&handle.store_usage), policy.store_high_water_percent));
            }
        }
        let runtime = Handle::try_current().ok()?;
        Some(Self { runtime, usages, patience, since: OnceLock::new() })
    }

    /// Calls `then` when there may be room: or, with false, when the wait is over without.
    pub(super) fn wait(&self, then: impl FnOnce(bool) + Send + 'static) {
        let since = *self.since.get_or_init(Instant::now);
        let (usages, patience) = (self.usages.clone(), self.patience);
        let room = async move {
            // The refusal may be known before its reason is.
            sleep(PAUSE).await;
            for (usage, percent) in usages {
                usage.below(percent).await;
            }
        };
        self.runtime.spawn(async move {
            let in_time = match patience {
                Some(patience) => timeout_at(since + patience, room).await.is_ok(),
                None => {
                    room.await;
                    true
                }
            };
            then(in_time);
        });
    }
}

/// From a refusal to the next try, at least.
const PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::super::commit::{After, Commit};
    use super::super::fixture::handle;
    use super::super::in_flight::TransactionKey;
    use super::super::topic_acks::TopicAcks;
    use super::*;
    use crate::broker::error::BrokerError;
    use crate::broker::outbox::{Outbox, Receipt};
    use crate::broker::policy::Policy;
    use crate::jms::Destination;
    use crate::store::{
        Fetch, FetchDone, Recovered, Store, StoreError, StoreOp, StoreStatus, Submit,
    };
    use tokio::sync::oneshot;

    /// Has room when the usage does; tells of each refusal.
    #[derive(Debug)]
    struct Small(Arc<Usage>, tokio::sync::mpsc::UnboundedSender<()>);

    impl Store for Small {
        fn name(&self) -> String {
            "small".into()
        }

        fn keeps(&self) -> bool {
            true
        }

        fn recovered(&self) -> Recovered {
            Recovered::default()
        }

        fn submit(&self, submit: Submit) {
            let is_full = self.0.is_full();
            (submit.done)(if is_full { Err(StoreError::NoSpace("full".into())) } else { Ok(()) });
            if is_full {
                self.1.send(()).unwrap_or_default();
            }
        }

        fn fetch(&self, _: Fetch, done: FetchDone) {
            done(Err(StoreError::Stopped("nothing is read".into())));
        }

        fn status(&self) -> StoreStatus {
            StoreStatus::default()
        }

        fn close(&self) -> Result<(), StoreError> {
            Ok(())
        }
    }

    /// Commits to a store without room, of which there is some after the first refusal if it `clears`.
    async fn outcome(policy: Policy, clears: bool) -> Result<(), BrokerError> {
        let handle = handle(Destination::queue("Q"));
        handle.policy.set(Arc::new(policy));
        let usage = Arc::clone(&handle.store_usage);
        usage.set_blocked(true);
        let (refusals, mut refused) = tokio::sync::mpsc::unbounded_channel();
        let (told, outcome) = oneshot::channel();
        let after = After {
            durables: Vec::new(),
            topics: TopicAcks::default(),
            outbox: Arc::new(Outbox::default()),
            carry_out: Box::new(|_| {}),
            receipt: Some(Receipt::telling(move |result| told.send(result).unwrap_or_default())),
            refused: None,
            patience: Patience::of(&[handle]),
            rollback_only: None,
        };
        let store = Arc::new(Small(Arc::clone(&usage), refusals));
        let ops = vec![StoreOp::Create { destination: Destination::queue("Q") }];
        drop(Commit::begin(TransactionKey(1), store, Vec::new(), ops, after));
        refused.recv().await.expect("it is refused");
        if clears {
            usage.set_blocked(false);
        }
        outcome.await.expect("it is told")
    }

    #[tokio::test]
    async fn a_commit_waits_for_space_as_long_as_the_policy_lets_it() {
        let short = Policy { send_fail_after: Duration::from_millis(1), ..Policy::default() };
        let none = Policy { send_fail_if_no_space: true, ..Policy::default() };
        assert_eq!(outcome(Policy::default(), true).await, Ok(()));
        for impatient in [short, none] {
            let error = outcome(impatient, false).await.expect_err("there is no space");
            assert!(matches!(error, BrokerError::StoreNoSpace(_)), "{error}");
        }
    }
}

//! Temporary destinations that were removed and may come again (`cacheTempDestinations`): a client that
//! reconnects finds the messages that were in them.

use super::destination::{DestinationHandle, Op};
use crate::jms::Destination;
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// Those that are kept. The bound: what connections had, for a time.
#[derive(Clone, Debug, Default)]
pub(super) struct Departed(Arc<Mutex<HashMap<Destination, Arc<DestinationHandle>>>>);

impl Departed {
    /// Keeps a destination that was removed for so long; then it ends.
    pub(super) fn keep(&self, handle: Arc<DestinationHandle>, time: Duration) {
        let before = self.0.lock().insert(handle.destination.clone(), Arc::clone(&handle));
        let departed = self.clone();
        tokio::spawn(async move {
            if let Some(before) = before {
                before.send(vec![Op::Destroy { receipt: None }]).await;
            }
            tokio::time::sleep(time).await;
            if departed.give_up(&handle) {
                handle.send(vec![Op::Destroy { receipt: None }]).await;
            }
        });
    }

    /// Forgets `handle`; false when it has come again.
    fn give_up(&self, handle: &Arc<DestinationHandle>) -> bool {
        let mut kept = self.0.lock();
        let is_there = kept.get(&handle.destination).is_some_and(|kept| Arc::ptr_eq(kept, handle));
        if is_there {
            kept.remove(&handle.destination);
        }
        is_there
    }

    /// The destination as it was, if it is kept.
    pub(super) fn take(&self, destination: &Destination) -> Option<Arc<DestinationHandle>> {
        let back = self.0.lock().remove(destination)?;
        back.reinstate();
        Some(back)
    }
}

#[cfg(test)]
mod tests {
    use super::super::destination::fixture::handle;
    use super::*;
    use crate::jms::DestinationKind;

    #[tokio::test(start_paused = true)]
    async fn cached_temporary_destinations_come_again_for_a_while() {
        let name = Destination::new(DestinationKind::TempQueue, Some("ID:c:1:1".into()));
        let (departed, time) = (Departed::default(), Duration::from_secs(5));
        let queue = handle(name.clone());
        queue.retire();
        departed.keep(Arc::clone(&queue), time);
        tokio::time::sleep(time / 2).await;
        let back = departed.take(&name).expect("it is kept");
        assert!(Arc::ptr_eq(&back, &queue) && !back.is_gone());
        assert!(departed.take(&name).is_none(), "there is only one");
        tokio::time::sleep(time).await;
        assert!(queue.report().await.is_some(), "it came again in time");
        departed.keep(Arc::clone(&queue), time);
        tokio::time::sleep(time * 2).await;
        assert!(departed.take(&name).is_none(), "its time is over");
        assert!(queue.report().await.is_none(), "it has ended");
    }
}

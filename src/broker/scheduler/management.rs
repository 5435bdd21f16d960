//! The topic `ActiveMQ.Scheduler.Management`: clients ask for jobs, and remove them. What they send there
//! is delivered to nobody.
//!
//! | `AMQ_SCHEDULER_ACTION` | further properties | |
//! |---|---|---|
//! | `BROWSE` | `ACTION_START_TIME`, `ACTION_END_TIME`, ms, both or none | the jobs due in this time go to the message's `JMSReplyTo` |
//! | `REMOVE` | `scheduledJobId` | |
//! | `REMOVEALL` | as with `BROWSE` | the jobs due in this time are removed |

use super::super::destination::{Incoming, Op};
use super::super::error::BrokerError;
use super::super::outbox::Receipt;
use super::schedule::{JOB_ID, number, value};
use super::{Broker, JobCursor, ScheduledJob, Scheduler};
use crate::jms::properties::ValueRef;
use crate::jms::{Destination, Message, Text};
use std::sync::Arc;

const ACTION: &str = "AMQ_SCHEDULER_ACTION";
const START_TIME: &str = "ACTION_START_TIME";
const END_TIME: &str = "ACTION_END_TIME";

/// What a client asks.
#[derive(Debug, PartialEq, Eq)]
enum Request {
    Browse(i64, i64, Destination),
    Remove(Text),
    RemoveBetween(i64, i64),
    /// It makes no sense, which the original says nothing about.
    Nothing,
}

impl Scheduler {
    /// Whether what is sent to `destination` is for the scheduler.
    pub(in crate::broker) fn is_asked_at(&self, destination: &Destination) -> bool {
        let name = destination.name().as_bytes();
        self.is_active()
            && name.len() >= MANAGEMENT.len()
            && name[..MANAGEMENT.len()].eq_ignore_ascii_case(MANAGEMENT)
    }
}

/// What the names begin with that are for the scheduler.
const MANAGEMENT: &[u8] = b"ActiveMQ.Scheduler.Management";

impl Request {
    fn of(message: &Message) -> Result<Self, BrokerError> {
        let wrong =
            |error: super::schedule::ScheduleError| BrokerError::Schedule(error.to_string().into());
        let Some(map) = message.properties.as_deref() else { return Ok(Self::Nothing) };
        let text = |name| match value(map, name) {
            Ok(Some(ValueRef::String(text))) => Ok(Some(Text::from(&*text))),
            other => other.map(|_| None).map_err(wrong),
        };
        let times = match (number(map, START_TIME), number(map, END_TIME)) {
            (Ok(Some(start)), Ok(Some(end))) => (start, end),
            (Err(error), _) | (_, Err(error)) => return Err(wrong(error)),
            _ => (i64::MIN, i64::MAX),
        };
        let (action, id) = (text(ACTION)?, text(JOB_ID)?);
        Ok(match (action.as_deref(), id, &message.reply_to) {
            (Some("BROWSE"), _, Some(reply_to)) => Self::Browse(times.0, times.1, reply_to.clone()),
            (Some("REMOVE"), Some(id), _) => Self::Remove(id),
            (Some("REMOVEALL"), ..) => Self::RemoveBetween(times.0, times.1),
            _ => Self::Nothing,
        })
    }
}

impl Broker {
    /// Does what a message to the management topic asks. `receipt` is taken and resolves when it is done.
    pub(in crate::broker) async fn manage_jobs(
        &self,
        message: &Message,
        receipt: &mut Option<Receipt>,
    ) -> Result<(), BrokerError> {
        match Request::of(message)? {
            Request::Browse(first_ms, last_ms, reply_to) => {
                self.send_jobs(first_ms, last_ms, &reply_to).await?;
            }
            Request::Remove(id) => self.scheduler.remove(id, receipt.take()).await,
            Request::RemoveBetween(first_ms, last_ms) => {
                self.scheduler.remove_between(first_ms, last_ms, receipt.take()).await;
            }
            Request::Nothing => {}
        }
        if let Some(receipt) = receipt.take() {
            receipt.resolve(Ok(()));
        }
        Ok(())
    }

    async fn send_jobs(
        &self,
        first_ms: i64,
        last_ms: i64,
        reply_to: &Destination,
    ) -> Result<(), BrokerError> {
        let handle = match self.router.find(reply_to) {
            Some(handle) => handle,
            None if reply_to.kind().is_temporary() => {
                return Err(BrokerError::DestinationMissing(reply_to.clone()));
            }
            None => self.destination(reply_to, None).await?,
        };
        let mut after = Some(JobCursor::at(first_ms));
        while let Some(from) = after {
            let page = self.scheduler.list(from, last_ms).await?;
            after = page.next;
            let answers = page.jobs.iter().map(|listed| {
                let message = self.scheduler.answer(listed, reply_to);
                let bytes = message.size() as u64;
                Op::Send(Incoming::of_broker(Arc::new(message), bytes))
            });
            handle.send(answers.collect()).await;
        }
        Ok(())
    }
}

impl Scheduler {
    /// A job as who browses gets it.
    fn answer(&self, listed: &ScheduledJob, reply_to: &Destination) -> Message {
        let ScheduledJob { job, message } = listed;
        Message {
            properties: job.properties(message, &[]),
            original_transaction_id: None,
            persistent: false,
            jms_type: Some("Advisory".into()),
            message_id: Some(self.ids.next_message()),
            producer_id: Some(self.ids.producer().clone()),
            original_destination: message.destination.clone(),
            destination: Some(reply_to.clone()),
            response_required: false,
            ..(**message).clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jms::properties::{PropertyMap, PropertyValue};

    fn request(properties: &[(&str, &str)], reply_to: Option<Destination>) -> Request {
        let value = |text: &str| PropertyValue::String(text.into());
        let map: PropertyMap =
            properties.iter().map(|(name, text)| (Text::from(*name), value(text))).collect();
        let properties = Some(map.encode().expect("a map"));
        Request::of(&Message { properties, reply_to, ..Message::default() }).expect("it is right")
    }

    #[test]
    fn a_request_without_both_times_is_about_all() {
        let reply = Destination::queue("R");
        let browse = |properties: &[(&str, &str)]| request(properties, Some(reply.clone()));
        let all = Request::Browse(i64::MIN, i64::MAX, reply.clone());
        assert_eq!(browse(&[(ACTION, "BROWSE")]), all);
        assert_eq!(browse(&[(ACTION, "BROWSE"), (START_TIME, "5")]), all);
        let between = browse(&[(ACTION, "BROWSE"), (START_TIME, "5"), (END_TIME, "9")]);
        assert_eq!(between, Request::Browse(5, 9, reply.clone()));
        let between = request(&[(ACTION, "REMOVEALL"), (START_TIME, "5"), (END_TIME, "9")], None);
        assert_eq!(between, Request::RemoveBetween(5, 9));
    }

    #[test]
    fn a_request_that_lacks_something_asks_nothing() {
        assert_eq!(request(&[(ACTION, "BROWSE")], None), Request::Nothing);
        assert_eq!(request(&[(ACTION, "REMOVE")], None), Request::Nothing);
        assert_eq!(request(&[(JOB_ID, "ID:a:1")], None), Request::Nothing);
        let remove = request(&[(ACTION, "REMOVE"), (JOB_ID, "ID:a:1")], None);
        assert_eq!(remove, Request::Remove("ID:a:1".into()));
    }
}

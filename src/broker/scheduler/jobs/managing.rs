//! What is asked from outside: jobs are listed, counted and removed.

use super::{Asked, BATCH_BYTES_MAX, BATCH_MAX, Jobs};
use crate::broker::destination::{Effects, Now};
use crate::broker::error::BrokerError;
use crate::broker::outbox::Receipt;
use crate::broker::scheduler::{JobCursor, JobPage, JobsOp, JobsStatus};
use tokio::sync::oneshot;

impl Jobs {
    pub(super) fn manage(&mut self, op: JobsOp, now: Now, out: &mut Effects) {
        let has_to_wait = self.loading.is_some() || self.is_firing;
        match op {
            JobsOp::Fired { shots, outcome, unreachable } => {
                self.fired(shots, outcome, &unreachable, now);
            }
            JobsOp::Status(answer) => {
                let next_ms = self.due.first().map(|(due_ms, _)| *due_ms);
                let jobs = self.index.len() as u64;
                let is_complete = self.loading.is_none();
                // Who asked may have gone.
                answer.send(JobsStatus { jobs, next_ms, is_complete }).unwrap_or_default();
            }
            JobsOp::Stop => self.is_active = false,
            op if has_to_wait => self.postponed.push(op),
            JobsOp::List { after, last_ms, answer } => self.list(after, last_ms, answer, now, out),
            JobsOp::Remove { id, receipt } => {
                let number = self.number_of(&id);
                self.remove(number.into_iter().collect(), receipt, out);
            }
            JobsOp::RemoveBetween { first_ms, last_ms, receipt } => {
                let range = (first_ms, i64::MIN)..=(last_ms.max(first_ms), i64::MAX);
                let numbers = self.due.range(range).map(|(_, number)| *number).collect();
                self.remove(numbers, receipt, out);
            }
        }
    }

    /// The number of the job with this id.
    fn number_of(&self, id: &str) -> Option<i64> {
        let number = id.rsplit_once(':')?.1.parse().ok()?;
        let indexed = self.index.get(&number)?;
        (indexed.id == self.id_hash(id)).then_some(number)
    }

    pub(super) fn remove(
        &mut self,
        numbers: Vec<i64>,
        receipt: Option<Receipt>,
        out: &mut Effects,
    ) {
        for number in numbers {
            if let Some(indexed) = self.forget(number)
                && self.context.keeps
            {
                out.removals.push(self.remove_op(indexed.sequence));
            }
        }
        out.when_removed(receipt);
    }

    fn list(
        &mut self,
        after: JobCursor,
        last_ms: i64,
        answer: oneshot::Sender<Result<JobPage, BrokerError>>,
        now: Now,
        out: &mut Effects,
    ) {
        let (mut numbers, mut bytes, mut next) = (Vec::new(), 0, None);
        let from = (after.due_ms, after.number);
        let due = self.due.range(from..).filter(|at| **at != from);
        for (due_ms, number) in due.take_while(|(due_ms, _)| *due_ms <= last_ms) {
            if numbers.len() >= BATCH_MAX || bytes >= BATCH_BYTES_MAX {
                let last = numbers.last().copied().unwrap_or(*number);
                let due_ms = self.index.get(&last).map_or(*due_ms, |indexed| indexed.due_ms);
                next = Some(JobCursor { due_ms, number: last });
                break;
            }
            bytes += self.index.get(number).map_or(0, |indexed| indexed.bytes.into());
            numbers.push(*number);
        }
        self.ask(&numbers, Asked::List { next, answer }, now, out);
    }
}

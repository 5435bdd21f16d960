//! Moves messages in branches of XA transactions, and finds those again that were prepared.

use super::actors::{Random, Round, any_prefetch, note};
use super::history::{Name, Place, Spot, Unit};
use broker::client::{ClientError, Connection, Consumer, Producer, Session};
use broker::jms::{Destination, XaId};
use broker::protocol::openwire::command::MessageDispatch;
use std::sync::Arc;

/// Receives from one queue and sends to another. The only one that uses XA.
pub(crate) struct XaMover {
    pub(crate) from: Place,
    pub(crate) to: Place,
    pub(crate) attempts: u32,
    /// A branch that is prepared, or may be.
    pub(crate) pending: Option<Branch>,
    pub(crate) random: Random,
}

#[derive(Clone)]
pub(crate) struct Branch {
    id: Arc<XaId>,
    unit: usize,
    stage: Stage,
}

/// What was asked for last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Prepare,
    /// It was prepared, and nothing is asked for.
    Prepared,
    Commit,
    Rollback,
}

impl XaMover {
    pub(crate) async fn work(&mut self, round: &Round) -> Result<(), ClientError> {
        let connection = round.connect(None).await?;
        self.settle(&connection, round).await?;
        let session = connection.session().await?;
        let mut producer = session.producer(Destination::queue(self.to)).await?;
        loop {
            let options = any_prefetch(&mut self.random);
            let number = round.history.consumer();
            let mut consumer = session.consumer(Destination::queue(self.from), options).await?;
            loop {
                let batch = round.receive(&mut consumer, 1 + self.random.below(3)).await?;
                if batch.is_empty() {
                    return connection.close().await;
                }
                let spots: Vec<_> =
                    batch.iter().map(|dispatch| note(round, number, self.from, dispatch)).collect();
                let (unit, sends) = self.begin(round, spots);
                let id = self.id();
                self.transact(&session, &id, &mut producer, &consumer, &batch, &sends)
                    .await
                    .inspect_err(|_| round.history.ended(unit, false))?;
                if self.random.below(4) == 0 {
                    connection.commit_xa(&id, true).await?; // else it is in doubt
                    round.history.ended(unit, true);
                    continue;
                }
                self.pending = Some(Branch { id: Arc::clone(&id), unit, stage: Stage::Prepare });
                assert_eq!(connection.prepare(&id).await?, 0, "the vote");
                self.stage(Stage::Prepared);
                match self.random.below(8) {
                    0 => {
                        // Left for somebody else to end. The consumer's own close tells the broker
                        // what was received, which the connection's does not.
                        consumer.close().await?;
                        return connection.close().await;
                    }
                    1 => {
                        self.end(&connection, round, false).await?;
                        break; // what was rolled back comes again to the next consumer
                    }
                    _ => self.end(&connection, round, true).await?,
                }
            }
            consumer.close().await?;
        }
    }

    /// Ends what was left prepared.
    pub(crate) async fn settle(
        &mut self,
        connection: &Connection,
        round: &Round,
    ) -> Result<(), ClientError> {
        let known = connection.recover().await?;
        let Some(Branch { id, unit, stage }) = self.pending.clone() else {
            assert!(known.is_empty(), "branches that nobody prepared: {known:?}");
            return Ok(());
        };
        if known.is_empty() {
            assert!(stage != Stage::Prepared, "the branch was prepared and is gone: unit {unit}");
            round.history.ended(unit, stage == Stage::Commit);
            self.pending = None;
            return Ok(());
        }
        assert_eq!(known, [id], "the branches that are prepared");
        let commits = match stage {
            Stage::Prepare | Stage::Prepared => self.random.below(2) == 0,
            Stage::Commit => true,
            Stage::Rollback => false,
        };
        self.end(connection, round, commits).await
    }

    fn begin(&mut self, round: &Round, acks: Vec<Spot>) -> (usize, Vec<Spot>) {
        let mut sends = Vec::new();
        for spot in &acks {
            self.attempts += 1;
            let name = Name { copy: self.attempts, ..spot.name };
            sends.push(Spot { place: self.to, name });
        }
        (round.history.began(Unit { sends: sends.clone(), acks }), sends)
    }

    async fn transact(
        &mut self,
        session: &Session,
        id: &Arc<XaId>,
        producer: &mut Producer,
        consumer: &Consumer,
        batch: &[MessageDispatch],
        sends: &[Spot],
    ) -> Result<(), ClientError> {
        session.begin_xa(id).await?;
        for (dispatch, spot) in batch.iter().zip(sends) {
            let mut message = self.random.message(spot.name);
            producer.send(&mut message, self.random.below(2) == 0).await?;
            consumer.ack(dispatch).await?;
        }
        session.end_xa().await
    }

    /// Ends the pending branch.
    async fn end(
        &mut self,
        connection: &Connection,
        round: &Round,
        commits: bool,
    ) -> Result<(), ClientError> {
        self.stage(if commits { Stage::Commit } else { Stage::Rollback });
        let Some(Branch { id, unit, .. }) = &self.pending else { return Ok(()) };
        if commits {
            connection.commit_xa(id, false).await?;
        } else {
            connection.rollback_xa(id).await?;
        }
        round.history.ended(*unit, commits);
        self.pending = None;
        Ok(())
    }

    fn stage(&mut self, stage: Stage) {
        if let Some(branch) = &mut self.pending {
            branch.stage = stage;
        }
    }

    /// One that was not used before.
    fn id(&self) -> Arc<XaId> {
        let global = format!("durability {}", self.attempts);
        Arc::new(XaId {
            format_id: 1,
            global_transaction_id: Some(global.into()),
            branch_qualifier: Some("only".into()),
        })
    }
}

//! `broker producer`: sends messages.

mod body;

use super::traffic::{self, Common, Report, Stage, TrafficError, Worker};
use crate::client::{Producer, Receipt};
use crate::jms::{Destination, Message, Text};
use body::Body;
use std::collections::VecDeque;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Sends messages to a broker
///
/// Prints how many the broker has taken over, with rates. A persistent message counts when it is on
/// disk, one in a transaction when that is committed. Ctrl-C rolls back the transaction it is in and
/// tells the totals.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP, verbatim_doc_comment, rename_all = "camelCase")]
pub(super) struct Options {
    #[command(flatten)]
    common: Common,
    /// Whether messages survive the broker
    #[arg(long, value_name = "true|false", default_value_t = true, num_args = 0..=1,
        default_missing_value = "true", action = clap::ArgAction::Set)]
    persistent: bool,
    /// Messages of a transaction; 0: no transactions
    #[arg(long, value_name = "N", default_value_t = 0)]
    transaction_batch_size: u64,
    /// Milliseconds after which messages expire; 0: never
    #[arg(long = "msgTTL", value_name = "MS", default_value = "0",
        value_parser = traffic::milliseconds)]
    time_to_live: Duration,
    /// Message group, JMSXGroupID
    #[arg(long = "msgGroupID", value_name = "NAME")]
    group: Option<String>,
    #[command(flatten)]
    body: body::Choice,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, TrafficError> {
    let plan = Arc::new(Plan {
        destination: options.common.destination.clone(),
        count: options.common.message_count,
        sleep: options.common.sleep,
        batch: options.transaction_batch_size,
        persistent: options.persistent,
        time_to_live: options.time_to_live,
        group: options.group.as_deref().filter(|group| !group.is_empty()).map(Into::into),
        body: options.body.load()?,
    });
    let report = Report::new(options.common.message_total(), "were rolled back");
    options.common.announce(&report, "Producing messages to", "sends");
    let mode = if options.persistent { "persistent" } else { "non-persistent" };
    report.info(format_args!("Using {mode} messages"));
    options.common.run("producer", None, report, |worker| produce(Arc::clone(&plan), worker))
}

/// What each worker does.
struct Plan {
    destination: Destination,
    count: u64,
    sleep: Duration,
    /// Messages of a transaction; 0: none.
    batch: u64,
    persistent: bool,
    time_to_live: Duration,
    group: Option<Text>,
    body: Body,
}

impl Plan {
    fn message(&self, number: u64) -> Message {
        let mut message = self.body.message(number);
        message.persistent = self.persistent;
        message.group_id.clone_from(&self.group);
        if !self.time_to_live.is_zero() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let end = now.saturating_add(self.time_to_live).as_millis();
            message.expiration = i64::try_from(end).unwrap_or(i64::MAX);
        }
        message
    }
}

async fn produce(plan: Arc<Plan>, worker: Worker) -> Result<(), TrafficError> {
    worker.tell("Started to calculate elapsed time ...");
    let begin = std::time::Instant::now();
    let opening = worker.session.producer(plan.destination.clone());
    let producer = worker.answer("open a producer", opening).await?;
    let unanswered = VecDeque::new();
    let mut sending = Sending { plan, worker, producer, unanswered, taken: 0, open: 0, ended: 0 };
    let outcome = sending.all().await;
    let Sending { worker, taken, .. } = sending;
    let elapsed = begin.elapsed();
    worker.tell(format_args!("Produced: {taken} messages"));
    worker.tell(format_args!("Elapsed time in second : {} s", elapsed.as_secs()));
    worker
        .tell(format_args!("Elapsed time in milli second : {} milli seconds", elapsed.as_millis()));
    outcome
}

/// One worker at its work.
struct Sending {
    plan: Arc<Plan>,
    worker: Worker,
    producer: Producer,
    /// Sends the broker has not answered yet, at most [`WINDOW`].
    unanswered: VecDeque<Receipt>,
    /// Messages that the broker has taken over for good.
    taken: u64,
    /// Messages of the transaction that is open.
    open: u64,
    /// Transactions that were committed.
    ended: u64,
}

impl Sending {
    async fn all(&mut self) -> Result<(), TrafficError> {
        for number in 0..self.plan.count {
            if self.worker.stop.is_requested() {
                return self.give_up().await;
            }
            self.one(number).await?;
            if self.open > 0 && self.open == self.plan.batch {
                self.commit().await?;
            }
            self.worker.stop.pause(self.plan.sleep).await;
        }
        self.settle(0).await?;
        if self.open > 0 { self.commit().await } else { Ok(()) }
    }

    async fn one(&mut self, number: u64) -> Result<(), TrafficError> {
        let Self { plan, worker, producer, .. } = self;
        if plan.batch > 0 && self.open == 0 {
            worker.answer("begin a transaction", worker.session.begin()).await?;
        }
        let mut message = plan.message(number);
        let receipt = worker.answer(SEND, producer.submit(&mut message)).await?;
        self.open += u64::from(self.plan.batch > 0);
        self.unanswered.push_back(receipt);
        // Whoever sends slowly wants to know of each at once.
        self.settle(if self.plan.sleep.is_zero() { WINDOW - 1 } else { 0 }).await
    }

    /// Waits for answers until at most `left` are missing.
    async fn settle(&mut self, left: usize) -> Result<(), TrafficError> {
        while self.unanswered.len() > left {
            let Some(receipt) = self.unanswered.pop_front() else { break };
            self.worker.answer(SEND, receipt.done()).await?;
            if self.plan.batch == 0 {
                self.taken(1);
            }
        }
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), TrafficError> {
        self.settle(0).await?;
        self.worker.tell(format_args!("Committing transaction: {}", self.ended));
        self.worker.answer("commit a transaction", self.worker.session.commit()).await?;
        self.ended += 1;
        let messages = std::mem::take(&mut self.open);
        self.taken(messages);
        Ok(())
    }

    /// Ends before all is sent: what is in no transaction stays sent, the rest is taken back.
    async fn give_up(&mut self) -> Result<(), TrafficError> {
        self.settle(0).await?;
        if self.open > 0 {
            self.worker.tell(format_args!("Rolling back transaction: {}", self.ended));
            let rolling_back = self.worker.session.rollback();
            self.worker.answer("roll back a transaction", rolling_back).await?;
            self.worker.report.count(Stage::Undone, std::mem::take(&mut self.open));
        }
        Ok(())
    }

    fn taken(&mut self, messages: u64) {
        self.taken += messages;
        self.worker.report.count(Stage::Done, messages);
    }
}

const SEND: &str = "send";

/// How many sends may be under way: enough for the broker to write many with one sync.
const WINDOW: usize = 256;

const HELP: &str = "\
Examples:
  broker producer                                         1000 text messages to queue://TEST
  broker producer --destination topic://NEWS --messageCount 1 --message 'hello'
  broker producer --brokerUrl tcp://mq1:61616 --user app --password secret
  broker producer --brokerUrl 'failover:(tcp://mq1:61616,tcp://mq2:61616)'
  broker producer --messageCount 100000 --messageSize 1024 --transactionBatchSize 100
  broker producer --payloadUrl order.xml --messageCount 10 --sleep 500

Without a choice of body the messages say 'test message: 0', 'test message: 1' and so on.

Exit codes:
  0     all messages were sent
  1     the broker is not there, refused the login or a message, or the connection was lost
  130   ended by Ctrl-C or SIGTERM; a second signal does not wait for the broker any more";

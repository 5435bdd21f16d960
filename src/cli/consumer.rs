//! `broker consumer`: receives messages.

use super::terminal;
use super::traffic::{self, Common, Report, Stage, TrafficError, Worker};
use crate::client::{self, ConsumerOptions};
use crate::jms::{AckKind, BodyKind, Destination, Message, Text};
use crate::protocol::openwire::command::MessageDispatch;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Receives messages from a broker
///
/// Prints each message: the text of a text message, else its id. It waits until it has as many as it
/// wants. Ctrl-C gives back what is not acknowledged, rolls back the transaction it is in and tells
/// the totals.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP, verbatim_doc_comment, rename_all = "camelCase")]
pub(super) struct Options {
    #[command(flatten)]
    common: Common,
    /// Subscribes to the topic durably, under the names consumer-1, consumer-2 ...; needs --clientId
    #[arg(long, value_name = "true|false", default_value_t = false, num_args = 0..=1,
        default_missing_value = "true", action = clap::ArgAction::Set)]
    durable: bool,
    /// Client id of the connection
    #[arg(long, value_name = "NAME")]
    client_id: Option<String>,
    /// Receives only what matches, such as \"color = 'red' AND size > 3\"
    #[arg(long, value_name = "SELECTOR")]
    selector: Option<String>,
    /// When messages are acknowledged
    #[arg(long, value_name = "MODE", ignore_case = true, value_enum,
        default_value_t = AckMode::AutoAcknowledge)]
    ack_mode: AckMode,
    /// Messages of a transaction, or of an acknowledgement if that is for several
    #[arg(long, value_name = "N", default_value_t = 10,
        value_parser = clap::value_parser!(u32).range(1..=BATCH_MAX))]
    batch_size: u32,
    /// Receives in transactions of N messages: as --ackMode SESSION_TRANSACTED --batchSize N
    #[arg(long, value_name = "N", conflicts_with_all = ["ack_mode", "batch_size"],
        value_parser = clap::value_parser!(u32).range(..=BATCH_MAX))]
    transaction_batch_size: Option<u32>,
    /// Milliseconds to wait for a message; 0: for ever
    #[arg(long, value_name = "MS", default_value = "3000", value_parser = traffic::milliseconds)]
    receive_time_out: Duration,
    /// Ends when no message has come for --receiveTimeOut
    #[arg(long, value_name = "true|false", default_value_t = false, num_args = 0..=1,
        default_missing_value = "true", action = clap::ArgAction::Set)]
    break_on_null: bool,
    /// Prints the content of bytes messages as well
    #[arg(long, value_name = "true|false", default_value_t = false, num_args = 0..=1,
        default_missing_value = "true", action = clap::ArgAction::Set)]
    bytes_as_text: bool,
}

/// JMS's modes, and ActiveMQ's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "SCREAMING_SNAKE_CASE")]
enum AckMode {
    /// Each when it has been printed
    AutoAcknowledge,
    /// --batchSize at a time, and the rest at the end
    ClientAcknowledge,
    /// The same, without waiting for the broker
    DupsOkAcknowledge,
    /// Each by itself, whatever was before it
    IndividualAcknowledge,
    /// In transactions of --batchSize
    SessionTransacted,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, TrafficError> {
    let is_queue = options.common.destination.kind().is_queue();
    if options.durable && is_queue {
        terminal::error(
            "WARN: --durable has no effect on a queue, which keeps its messages anyhow",
        );
    }
    let durable = options.durable && !is_queue;
    if durable && options.client_id.is_none() {
        return Err(TrafficError::NoClientId);
    }
    let (ack_mode, batch) = match options.transaction_batch_size {
        Some(batch) if batch > 0 => (AckMode::SessionTransacted, batch),
        _ => (options.ack_mode, options.batch_size),
    };
    let plan = Arc::new(Plan {
        destination: options.common.destination.clone(),
        count: options.common.message_count,
        sleep: options.common.sleep,
        durable,
        selector: options.selector.as_deref().map(Into::into),
        ack_mode,
        batch,
        receive_timeout: Some(options.receive_time_out).filter(|limit| !limit.is_zero()),
        break_on_null: options.break_on_null,
        bytes_as_text: options.bytes_as_text,
    });
    let report = Report::new(options.common.message_total(), "were received and given back");
    options.common.announce(&report, "Consuming", "receives");
    let client_id = options.client_id.as_deref();
    options.common.run("consumer", client_id, report, |worker| consume(Arc::clone(&plan), worker))
}

/// What each worker does.
struct Plan {
    destination: Destination,
    count: u64,
    sleep: Duration,
    durable: bool,
    selector: Option<Text>,
    ack_mode: AckMode,
    /// Messages of a transaction or acknowledgement, at least 1.
    batch: u32,
    receive_timeout: Option<Duration>,
    break_on_null: bool,
    bytes_as_text: bool,
}

impl Plan {
    fn consumer_options(&self, name: &str) -> ConsumerOptions {
        let default = ConsumerOptions::default();
        // All of a batch must be in flight at once.
        let batch = i32::try_from(self.batch).unwrap_or(i32::MAX);
        ConsumerOptions {
            prefetch: default.prefetch.max(batch),
            selector: self.selector.clone(),
            durable: self.durable.then(|| name.into()),
            ..default
        }
    }
}

async fn consume(plan: Arc<Plan>, worker: Worker) -> Result<(), TrafficError> {
    let opening =
        worker.session.consumer(plan.destination.clone(), plan.consumer_options(&worker.name));
    let consumer = worker.answer("open a consumer", opening).await?;
    worker.tell(format_args!("wait until {} messages are consumed", plan.count));
    let mut receiving = Receiving { plan, worker, consumer, received: 0, open: None, ended: 0 };
    let outcome = receiving.all().await;
    let Receiving { worker, consumer, received, .. } = receiving;
    // Acknowledgements that nobody waited for have arrived when the close is answered.
    let closed = worker.answer("close the consumer", consumer.close()).await;
    worker.tell(format_args!("Consumed: {received} messages"));
    worker.tell("Consumer thread finished");
    outcome.and(closed)
}

/// One worker at its work.
struct Receiving {
    plan: Arc<Plan>,
    worker: Worker,
    consumer: client::Consumer,
    /// Messages printed.
    received: u64,
    /// Messages that are printed and not acknowledged for good.
    open: Option<Batch>,
    /// Transactions that were committed.
    ended: u64,
}

struct Batch {
    first: MessageDispatch,
    last: MessageDispatch,
    count: u32,
}

impl Receiving {
    async fn all(&mut self) -> Result<(), TrafficError> {
        while self.received < self.plan.count {
            if self.worker.stop.is_requested() {
                return self.give_back().await;
            }
            let Some(dispatch) = self.next().await? else {
                if self.plan.break_on_null && !self.worker.stop.is_requested() {
                    break;
                }
                continue;
            };
            if !self.show(&dispatch) {
                self.worker.stop.interrupt();
                return self.give_back().await;
            }
            self.received += 1;
            self.acknowledge(dispatch).await?;
            if self.open.as_ref().is_some_and(|open| open.count >= self.plan.batch) {
                self.finish_batch().await?;
            }
            self.worker.stop.pause(self.plan.sleep).await;
        }
        self.finish_batch().await
    }

    /// The next message; none if there is none in time, or a request to stop.
    async fn next(&mut self) -> Result<Option<MessageDispatch>, TrafficError> {
        let Self { worker, consumer, plan, .. } = self;
        let receiving = async {
            match plan.receive_timeout {
                Some(limit) => timeout(limit, consumer.receive()).await.ok().transpose(),
                None => consumer.receive().await.map(Some),
            }
        };
        let next = tokio::select! {
            biased;
            () = worker.stop.requested() => return Ok(None),
            next = receiving => next,
        };
        next.map(|next| next.filter(|dispatch| dispatch.message.is_some())).map_err(|source| {
            TrafficError::Client { worker: worker.name.clone(), action: "receive", source }
        })
    }

    /// Prints a message; false when nobody takes it.
    fn show(&self, dispatch: &MessageDispatch) -> bool {
        let Some(message) = &dispatch.message else { return true };
        let Worker { name, report, .. } = &self.worker;
        let received = format_args!("{name} Received");
        let shown = match message.text() {
            Some(text) => report.show(received, &text),
            None => {
                let id = message.message_id.as_ref().map(ToString::to_string);
                report.show(received, &id.unwrap_or_default())
            }
        };
        shown
            && self
                .bytes_as_text(message)
                .is_none_or(|text| report.show("BytesMessage as text string:", &text))
    }

    fn bytes_as_text(&self, message: &Message) -> Option<String> {
        let wanted =
            self.plan.bytes_as_text && message.kind == BodyKind::Bytes && !message.compressed;
        let content = message.content.as_deref().unwrap_or_default();
        wanted.then(|| String::from_utf8_lossy(content).into_owned())
    }

    async fn acknowledge(&mut self, dispatch: MessageDispatch) -> Result<(), TrafficError> {
        let Self { plan, worker, consumer, .. } = self;
        let kind = match plan.ack_mode {
            AckMode::AutoAcknowledge => Some(AckKind::Standard),
            AckMode::IndividualAcknowledge => Some(AckKind::Individual),
            AckMode::ClientAcknowledge | AckMode::DupsOkAcknowledge => None,
            AckMode::SessionTransacted => {
                if self.open.is_none() {
                    worker.answer("begin a transaction", worker.session.begin()).await?;
                }
                None
            }
        };
        if let Some(kind) = kind {
            let telling = consumer.acknowledge(kind, &dispatch, &dispatch, 1, false);
            worker.answer(ACKNOWLEDGE, telling).await?;
            worker.report.count(Stage::Done, 1);
            return Ok(());
        }
        match &mut self.open {
            Some(open) => (open.last, open.count) = (dispatch, open.count + 1),
            none => *none = Some(Batch { first: dispatch.clone(), last: dispatch, count: 1 }),
        }
        Ok(())
    }

    /// Acknowledges what is open, and commits if that was in a transaction.
    async fn finish_batch(&mut self) -> Result<(), TrafficError> {
        let Some(Batch { first, last, count }) = self.open.take() else { return Ok(()) };
        let Self { plan, worker, consumer, .. } = self;
        let waits = plan.ack_mode == AckMode::ClientAcknowledge;
        if waits {
            worker.report.info(format_args!(
                "Acknowledging last {count} messages; messages so far = {}",
                self.received
            ));
        }
        let range = i32::try_from(count).unwrap_or(i32::MAX);
        let telling = consumer.acknowledge(AckKind::Standard, &first, &last, range, waits);
        worker.answer(ACKNOWLEDGE, telling).await?;
        if plan.ack_mode == AckMode::SessionTransacted {
            worker.tell(format_args!("Committing transaction: {}", self.ended));
            worker.answer("commit a transaction", worker.session.commit()).await?;
            self.ended += 1;
        }
        worker.report.count(Stage::Done, count.into());
        Ok(())
    }

    /// Ends before all is received: what is open goes back to the broker.
    async fn give_back(&mut self) -> Result<(), TrafficError> {
        let Some(Batch { count, .. }) = self.open.take() else { return Ok(()) };
        let worker = &self.worker;
        if self.plan.ack_mode == AckMode::SessionTransacted {
            worker.tell(format_args!("Rolling back transaction: {}", self.ended));
            worker.answer("roll back a transaction", worker.session.rollback()).await?;
        }
        worker.report.count(Stage::Undone, count.into());
        Ok(())
    }
}

const ACKNOWLEDGE: &str = "acknowledge";

/// As many may be in flight to one consumer.
const BATCH_MAX: i64 = 1_000_000;

const HELP: &str = "\
Examples:
  broker consumer                                         1000 messages of queue://TEST
  broker consumer --destination queue://A --messageCount 10 --breakOnNull true
  broker consumer --destination topic://NEWS --durable true --clientId reader
  broker consumer --selector \"JMSXGroupID = 'a'\" --ackMode CLIENT_ACKNOWLEDGE --batchSize 100
  broker consumer --transactionBatchSize 50 --sleep 20
  broker consumer --brokerUrl 'failover:(tcp://mq1:61616,tcp://mq2:61616)' --user app --password secret

Exit codes:
  0     all messages were received, or none came for --receiveTimeOut with --breakOnNull
  1     the broker is not there, refused the login or the consumer, or the connection was lost
  130   ended by Ctrl-C, SIGTERM or because nobody reads its output; a second signal does not wait
        for the broker any more";

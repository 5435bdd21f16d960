//! What `broker producer` and `broker consumer` share: where the broker is, how the work is spread over
//! parallel workers, how it is told, and how it ends.
//!
//! ```text
//! run --- connection --+-- worker 1 (session) --+
//!         signals      +-- worker 2             +--> Report: lines, totals, rate
//!         progress     `-- worker n           --'
//! ```
//!
//! The first failure or signal asks all workers to stop; each finishes what it is at, rolls back the
//! transaction it is in and closes its session. Nothing counts as done before the broker has answered.

mod address;
mod report;
mod stop;

pub(super) use report::{Report, Stage};
pub(super) use stop::Stop;

use crate::client::{ClientError, Connection, Session};
use crate::jms::{Destination, DestinationKind, Text};
use address::{Address, AddressError};
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime;
use tokio::task::{JoinError, JoinSet};

/// The options of both commands.
#[derive(Clone, Debug, clap::Args)]
#[command(rename_all = "camelCase")]
pub(super) struct Common {
    /// The broker: tcp://HOST:PORT, or failover:(tcp://A:1,tcp://B:2), each tried once in turn
    #[arg(long, value_name = "URL", default_value = "tcp://localhost:61616")]
    broker_url: Address,
    /// Login name
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Password
    #[arg(long, value_name = "TEXT")]
    password: Option<String>,
    /// Queue or topic; a name alone is a queue
    #[arg(long, value_name = "queue://NAME|topic://NAME", default_value = "queue://TEST",
        value_parser = destination)]
    pub(super) destination: Destination,
    /// Messages of each thread
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(super) message_count: u64,
    /// Milliseconds to wait after each message
    #[arg(long, value_name = "MS", default_value = "0", value_parser = milliseconds)]
    pub(super) sleep: Duration,
    /// Sessions that work side by side on one connection
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=THREADS_MAX))]
    parallel_threads: u16,
}

/// More sessions than this tell nothing new about a broker.
const THREADS_MAX: i64 = 1000;

/// Why messages could not be sent or received.
#[derive(Debug, thiserror::Error)]
pub(super) enum TrafficError {
    #[error("cannot {action}")]
    Process {
        action: &'static str,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The broker answered, and does not want this client.
    #[error("{address} refuses the login of {user}: {message}")]
    Login { address: String, user: String, message: Text },
    #[error("no broker can be reached: {}", reasons.join("; "))]
    NoBroker { reasons: Vec<String> },
    #[error("--durable needs a --clientId: the broker keeps the subscription under that name")]
    NoClientId,
    #[error("cannot read {what}")]
    Payload {
        what: String,
        #[source]
        source: io::Error,
    },
    #[error("{url} is not a file: --payloadUrl takes a path or a file: URL")]
    PayloadScheme { url: String },
    #[error("{worker} cannot {action}")]
    Client {
        worker: String,
        action: &'static str,
        #[source]
        source: ClientError,
    },
    /// Whoever waited was told to stop; whether the broker has done it is unknown.
    #[error(
        "{worker} was told to stop before the broker answered; it may or may not have been able to {action}"
    )]
    Unanswered { worker: String, action: &'static str },
    #[error("a worker ended by itself")]
    Worker(#[from] JoinError),
}

/// One of the parallel workers.
pub(super) struct Worker {
    /// `producer-1`, as in the lines it writes.
    pub(super) name: String,
    pub(super) session: Session,
    pub(super) report: Arc<Report>,
    pub(super) stop: Stop,
}

impl Worker {
    /// Waits for what the broker has to answer, after a request to stop only for a while.
    pub(super) async fn answer<T>(
        &self,
        action: &'static str,
        work: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, TrafficError> {
        let worker = || self.name.clone();
        match self.stop.bounded(work).await {
            None => Err(TrafficError::Unanswered { worker: worker(), action }),
            Some(outcome) => {
                outcome.map_err(|source| TrafficError::Client { worker: worker(), action, source })
            }
        }
    }

    /// A line that begins with the worker's name.
    pub(super) fn tell(&self, text: impl std::fmt::Display) {
        self.report.info(format_args!("{} {text}", self.name));
    }
}

impl Common {
    /// How many messages all workers together are asked for.
    pub(super) fn message_total(&self) -> u64 {
        self.message_count.saturating_mul(self.parallel_threads.into())
    }

    /// Connects and runs `work` once in each parallel worker; `NAME-1` is the first one's name. Returns
    /// the exit code of the process.
    pub(super) fn run<F>(
        &self,
        name: &str,
        client_id: Option<&str>,
        report: Report,
        work: impl Fn(Worker) -> F,
    ) -> Result<ExitCode, TrafficError>
    where
        F: Future<Output = Result<(), TrafficError>> + Send + 'static,
    {
        let cannot_run = |source| TrafficError::Process { action: "run", source };
        let runtime =
            runtime::Builder::new_current_thread().enable_all().build().map_err(cannot_run)?;
        runtime.block_on(self.spread(name, client_id, Arc::new(report), work))
    }

    async fn spread<F>(
        &self,
        name: &str,
        client_id: Option<&str>,
        report: Arc<Report>,
        work: impl Fn(Worker) -> F,
    ) -> Result<ExitCode, TrafficError>
    where
        F: Future<Output = Result<(), TrafficError>> + Send + 'static,
    {
        let stop = Stop::at_signals()
            .map_err(|source| TrafficError::Process { action: "wait for signals", source })?;
        let connecting =
            self.broker_url.connect(self.user.as_deref(), self.password.as_deref(), client_id);
        let connection = tokio::select! {
            connection = connecting => connection?,
            () = stop.requested() => return Ok(ExitCode::from(INTERRUPTED)),
        };
        let progress = tokio::spawn(Arc::clone(&report).follow());
        let outcome = self.work(name, &connection, &report, &stop, work).await;
        progress.abort();
        if stop.was_interrupted() {
            report.info("Interrupted");
        }
        report.total();
        // Whatever was to be waited for has been answered by now.
        if stop.bounded(connection.close()).await.is_none() {
            report.info("The broker does not answer; the connection was dropped");
        }
        outcome?;
        Ok(if stop.was_interrupted() { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
    }

    async fn work<F>(
        &self,
        name: &str,
        connection: &Connection,
        report: &Arc<Report>,
        stop: &Stop,
        work: impl Fn(Worker) -> F,
    ) -> Result<(), TrafficError>
    where
        F: Future<Output = Result<(), TrafficError>> + Send + 'static,
    {
        report.info(format_args!("Running {} parallel threads", self.parallel_threads));
        let mut workers = JoinSet::new();
        for number in 1..=self.parallel_threads {
            let name = format!("{name}-{number}");
            let session = match connection.session().await {
                Ok(session) => session,
                Err(source) => {
                    let action = "open a session";
                    return Err(TrafficError::Client { worker: name, action, source });
                }
            };
            let (report, stop) = (Arc::clone(report), stop.clone());
            workers.spawn(work(Worker { name, session, report, stop }));
        }
        let mut first = Ok(());
        while let Some(ended) = workers.join_next().await {
            if let Err(e) = ended.map_err(TrafficError::from).flatten() {
                stop.request();
                first = first.and(Err(e)); // what follows from the first is no news
            }
        }
        first
    }

    /// The lines that say what is about to happen.
    pub(super) fn announce(&self, report: &Report, doing: &str, pauses: &str) {
        let user = self.user.as_deref().unwrap_or("null");
        report.info(format_args!("Connecting to URL: {} as user: {user}", self.broker_url));
        report.info(format_args!("{doing} {}", self.destination));
        report.info(format_args!("Sleeping between {pauses} {} ms", self.sleep.as_millis()));
    }
}

/// Exit code after a signal, as shells tell it of SIGINT.
const INTERRUPTED: u8 = 130;

pub(super) fn milliseconds(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.parse().map(Duration::from_millis)
}

#[derive(Debug, thiserror::Error)]
enum DestinationError {
    #[error("it has no name")]
    NoName,
    #[error("a temporary destination belongs to the connection that made it")]
    Temporary,
}

fn destination(text: &str) -> Result<Destination, DestinationError> {
    let destination = Destination::parse(text, DestinationKind::Queue);
    if destination.name().is_empty() {
        return Err(DestinationError::NoName);
    }
    if destination.kind().is_temporary() {
        return Err(DestinationError::Temporary);
    }
    Ok(destination)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_a_queue_unless_it_says_otherwise() {
        assert_eq!(destination("A").unwrap(), Destination::queue("A"));
        assert_eq!(destination("queue://A").unwrap(), Destination::queue("A"));
        assert_eq!(destination("topic://A,B").unwrap(), Destination::topic("A,B"));
        for text in ["", "queue://", "topic://", "temp-queue://A", "temp-topic://A"] {
            assert!(destination(text).is_err(), "{text}");
        }
    }
}

//! `broker stop`: ends a running broker and waits until it has ended.

use super::pid_file::{self, Found, Holder};
use super::source::Source;
use super::{CliError, terminal};
use rustix::process::{Signal, kill_process};
use std::env;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Stops the running broker
///
/// Sends SIGTERM and waits until the broker has closed its connections and its store. One that
/// has not ended after ACTIVEMQ_KILL_MAXSECONDS is killed; nothing it has confirmed is lost.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP, verbatim_doc_comment)]
pub(super) struct Options {
    #[command(flatten)]
    source: Source,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, CliError> {
    stop(&options.source)
}

pub(super) fn stop(source: &Source) -> Result<ExitCode, CliError> {
    let path = source.pid_path()?;
    match pid_file::look(&path)? {
        Found::Nothing => {
            terminal::line("Broker not running");
            Ok(ExitCode::SUCCESS)
        }
        Found::Stale => {
            let shown = path.display();
            terminal::error(format_args!("ERROR: No or outdated process id in '{shown}'"));
            terminal::line(format_args!("INFO: Removing {shown}"));
            pid_file::remove_stale(&path)?;
            Ok(ExitCode::FAILURE)
        }
        Found::Running(holder) => {
            end(&holder)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Asks, waits with a dot a second, and at last kills.
fn end(holder: &Holder) -> Result<(), CliError> {
    let patience = patience();
    signal(holder, Signal::TERM)?;
    terminal::part(format_args!(
        "INFO: Waiting at least {} seconds for regular process termination of pid '{}' : ",
        patience.as_secs(),
        holder.pid_text()
    ));
    if wait(holder, patience)? {
        terminal::line(" TERMINATED");
        return Ok(());
    }
    terminal::line("");
    terminal::line("INFO: Regular shutdown not successful,  sending SIGKILL to process");
    kill(holder)
}

/// Ends the process of `holder` at once and tidies up after it.
pub(super) fn kill(holder: &Holder) -> Result<(), CliError> {
    signal(holder, Signal::KILL)?;
    if !wait(holder, KILL_WAIT_MAX)? {
        return Err(CliError::DoesNotEnd { pid: holder.pid_text() });
    }
    Ok(pid_file::remove_stale(&holder.path)?)
}

fn signal(holder: &Holder, signal: Signal) -> Result<(), CliError> {
    let Some(pid) = holder.pid else {
        return Err(CliError::NoPid { path: holder.path.clone() });
    };
    kill_process(pid, signal)
        .map_err(|e| CliError::Signal { pid: holder.pid_text(), source: e.into() })
}

/// Whether the broker ended within `patience`.
fn wait(holder: &Holder, patience: Duration) -> Result<bool, CliError> {
    let begin = Instant::now();
    let mut dots = 0;
    while holder.is_alive()? {
        let waited = begin.elapsed();
        if waited >= patience {
            return Ok(false);
        }
        if waited.as_secs() > dots {
            dots += 1;
            terminal::part(".");
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    Ok(true)
}

fn patience() -> Duration {
    let Ok(text) = env::var("ACTIVEMQ_KILL_MAXSECONDS") else {
        return PATIENCE;
    };
    text.trim().parse().map_or_else(
        |_| {
            terminal::error(format_args!(
                "WARN: ACTIVEMQ_KILL_MAXSECONDS='{text}' is not a number of seconds"
            ));
            PATIENCE
        },
        Duration::from_secs,
    )
}

/// The default of ACTIVEMQ_KILL_MAXSECONDS.
const PATIENCE: Duration = Duration::from_secs(30);

/// A killed process ends at once unless it hangs in the kernel, on a dead disk for example.
const KILL_WAIT_MAX: Duration = Duration::from_secs(10);

const POLL_INTERVAL: Duration = Duration::from_millis(50);

const HELP: &str = "\
Examples:
  broker stop
  broker stop --config /etc/broker/activemq.xml

Exit codes:
  0   stopped, or there was nothing to stop
  1   the pid file was left behind by a broker that did not stop cleanly (it is removed now), or
      the process cannot be signalled

Files:
  <data>/broker.pid   where the running broker is found

Environment:
  ACTIVEMQ_CONF     folder of the configuration, where broker.xml or activemq.xml is looked for
  ACTIVEMQ_DATA     the value of ${activemq.data}; likewise ACTIVEMQ_BASE and ACTIVEMQ_HOME
  ACTIVEMQ_PIDFILE  pid file instead of broker.pid in the data directory
  ACTIVEMQ_KILL_MAXSECONDS  how long to wait before SIGKILL, seconds; 30";

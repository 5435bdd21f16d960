//! `broker start`: the broker, here or in the background.

use super::foreground::{self, Mode};
use super::pid_file::{Holder, PidFileError};
use super::source::Source;
use super::{CliError, daemon, terminal};
use std::process::ExitCode;

/// Starts the broker
///
/// It runs in the foreground until a signal stops it, says where it listens, and writes everything
/// else to its log file. With --daemon it runs in the background, and the command returns when the
/// broker takes connections, or waits as a slave because another broker has its store open. A data
/// directory has one broker: a second start does nothing.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP, verbatim_doc_comment)]
pub(super) struct Options {
    /// Run in the background
    #[arg(short, long)]
    pub(super) daemon: bool,
    /// This is the background process: its parent waits for a byte on standard input
    #[arg(long, hide = true)]
    detached: bool,
    #[command(flatten)]
    pub(super) source: Source,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, CliError> {
    let outcome = if options.detached {
        foreground::run(&options.source, Mode::Detached(daemon::Parent::leave()))
    } else if options.daemon {
        daemon::start(&options.source)
    } else {
        foreground::run(&options.source, Mode::Start)
    };
    match outcome {
        Err(CliError::PidFile(PidFileError::Held(holder))) => Ok(already_running(&holder)),
        outcome => outcome,
    }
}

/// Not a failure: what was asked for is so.
fn already_running(holder: &Holder) -> ExitCode {
    let (pid, path) = (holder.pid_text(), holder.path.display());
    terminal::line(format_args!("INFO: Process with pid '{pid}' is already running"));
    terminal::line(format_args!("INFO: pidfile : '{path}'"));
    ExitCode::SUCCESS
}

const HELP: &str = "\
Examples:
  broker start
  broker start --config /etc/broker/activemq.xml -Dactivemq.data=/var/lib/broker
  broker start --daemon xbean:file:/opt/activemq/conf/activemq.xml

Exit codes:
  0   stopped by a signal; with --daemon: it is up or a slave; or a broker was running already
  1   the configuration has errors, a port is taken, the store does not open or has failed, or its
      lock was lost and restartAllowed is false (else the broker starts again, as a slave)
  n   systemExitOnShutdownExitCode, if the broker stopped by itself and systemExitOnShutdown is set

Signals:
  TERM, INT           clean stop
  HUP                 open the log file again, after a tool has moved it away

Files:
  <data>/broker.pid   process id of the running broker, which keeps it locked; gone when it stops
  <data>/broker.log   the log; broker.log.1 ... broker.log.5 are older ones, the newest first
  <conf>/log4j2.properties, log4j.properties, logging.properties
                      the first that exists sets log levels, log file, its size and number

Environment:
  ACTIVEMQ_CONF     folder of the configuration, where broker.xml or activemq.xml is looked for
  ACTIVEMQ_DATA     the value of ${activemq.data}; likewise ACTIVEMQ_BASE and ACTIVEMQ_HOME
  ACTIVEMQ_PIDFILE  pid file instead of broker.pid in the data directory
  BROKER_LOG        log levels, over those of the files: info,broker::store=debug
  BROKER_WORKERS    threads that serve connections; half the cores unless set";

//! `broker console`: the broker in the foreground with its log on the terminal.

use super::CliError;
use super::foreground::{self, Mode};
use super::source::Source;
use std::process::ExitCode;

/// Starts the broker in the foreground and shows its log
///
/// Like 'start', but everything that goes to the log file is also shown here, and a broker that
/// already runs on the data directory is an error.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP, verbatim_doc_comment)]
pub(super) struct Options {
    #[command(flatten)]
    source: Source,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, CliError> {
    foreground::run(&options.source, Mode::Console)
}

const HELP: &str = "\
Examples:
  broker console
  BROKER_LOG=info,broker::network=debug broker console --config conf/activemq.xml

Exit codes:
  0   stopped by a signal
  1   a broker is running already, the configuration has errors, a port is taken, the store
      does not open
  n   systemExitOnShutdownExitCode, if the broker stopped by itself

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

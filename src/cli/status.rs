//! `broker status`: is it running?

use super::pid_file::{self, Found};
use super::source::Source;
use super::{CliError, terminal};
use std::process::ExitCode;

/// Tells whether the broker is running
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub(super) struct Options {
    #[command(flatten)]
    source: Source,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, CliError> {
    match pid_file::look(&options.source.pid_path()?)? {
        Found::Running(holder) => {
            terminal::line(format_args!("Broker is running (pid '{}')", holder.pid_text()));
            Ok(ExitCode::SUCCESS)
        }
        Found::Nothing | Found::Stale => {
            terminal::line("Broker not running");
            Ok(ExitCode::FAILURE)
        }
    }
}

const HELP: &str = "\
Examples:
  broker status
  broker status --config /etc/broker/activemq.xml

Exit codes:
  0   running
  1   not running

Files:
  <data>/broker.pid   locked by the running broker

Environment:
  ACTIVEMQ_CONF     folder of the configuration, where broker.xml or activemq.xml is looked for
  ACTIVEMQ_DATA     the value of ${activemq.data}; likewise ACTIVEMQ_BASE and ACTIVEMQ_HOME
  ACTIVEMQ_PIDFILE  pid file instead of broker.pid in the data directory";

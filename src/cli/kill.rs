//! `broker kill`: ends a running broker at once.

use super::pid_file::{self, Found};
use super::source::Source;
use super::{CliError, stop, terminal};
use std::process::ExitCode;

/// Kills the running broker without a clean stop
///
/// Sends SIGKILL. Nothing the broker has confirmed is lost, but the next start has to recover
/// the store. Try 'stop' first.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP, verbatim_doc_comment)]
pub(super) struct Options {
    #[command(flatten)]
    source: Source,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, CliError> {
    match pid_file::look(&options.source.pid_path()?)? {
        Found::Running(holder) => {
            let pid = holder.pid_text();
            terminal::line(format_args!("INFO: sending SIGKILL to pid '{pid}'"));
            stop::kill(&holder)?;
        }
        Found::Nothing | Found::Stale => terminal::line("INFO: not running, nothing to do"),
    }
    Ok(ExitCode::SUCCESS)
}

const HELP: &str = "\
Examples:
  broker kill

Exit codes:
  0   killed, or not running
  1   the process cannot be signalled

Files:
  <data>/broker.pid   where the running broker is found; removed

Environment:
  ACTIVEMQ_CONF     folder of the configuration, where broker.xml or activemq.xml is looked for
  ACTIVEMQ_DATA     the value of ${activemq.data}; likewise ACTIVEMQ_BASE and ACTIVEMQ_HOME
  ACTIVEMQ_PIDFILE  pid file instead of broker.pid in the data directory";

//! `broker restart`: stop, then start.

use super::source::Source;
use super::{CliError, start, stop};
use std::process::ExitCode;

/// Stops the running broker, if any, and starts it again
///
/// Takes the options of 'start'. The configuration is checked first: while it has errors, the
/// running broker is left alone.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP, verbatim_doc_comment)]
#[group(skip)]
pub(super) struct Options {
    #[command(flatten)]
    start: start::Options,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, CliError> {
    let source: &Source = &options.start.source;
    source.load()?;
    // Whatever it found, a stale pid file for example: none is running now.
    stop::stop(source)?;
    start::run(&options.start)
}

const HELP: &str = "\
Examples:
  broker restart --daemon
  broker restart --daemon --config /etc/broker/activemq.xml

Exit codes:
  as of 'broker start'

Files:
  as of 'broker start'

Environment:
  ACTIVEMQ_CONF     folder of the configuration, where broker.xml or activemq.xml is looked for
  ACTIVEMQ_DATA     the value of ${activemq.data}; likewise ACTIVEMQ_BASE and ACTIVEMQ_HOME
  ACTIVEMQ_PIDFILE  pid file instead of broker.pid in the data directory";

//! `broker check`: is the configuration good?

use super::source::Source;
use super::{CliError, terminal};
use std::process::ExitCode;

/// Checks a configuration without starting anything
///
/// Prints each warning and error as FILE:LINE: TEXT and then one line with the verdict:
/// 'FILE: ok, N warnings' or 'FILE: N errors'.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP, verbatim_doc_comment)]
pub(super) struct Options {
    #[command(flatten)]
    source: Source,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, CliError> {
    match options.source.load() {
        Ok(config) => {
            config.warnings.iter().for_each(terminal::line);
            let (file, count) = (config.file.display(), config.warnings.len());
            terminal::line(format_args!("{file}: ok, {}", counted(count, "warning")));
            Ok(ExitCode::SUCCESS)
        }
        Err(CliError::Configuration { path, errors }) => {
            let errors = errors.to_string(); // a line each
            errors.lines().for_each(terminal::line);
            terminal::line(format_args!("{path}: {}", counted(errors.lines().count(), "error")));
            Ok(ExitCode::FAILURE)
        }
        Err(e) => Err(e),
    }
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

const HELP: &str = "\
Examples:
  broker check --config conf/activemq.xml
  broker check xbean:activemq.xml -Dactivemq.data=/var/lib/broker

Exit codes:
  0   no errors; there may be warnings
  1   errors

Environment:
  ACTIVEMQ_CONF     folder of the configuration, where broker.xml or activemq.xml is looked for
  ACTIVEMQ_DATA     the value of ${activemq.data}; likewise ACTIVEMQ_BASE and ACTIVEMQ_HOME";

//! `broker store`: what operators do with a store that no broker has open.

mod compact;
mod inspect;
mod place;
mod shown;
mod verify;

use super::{log, terminal};
use crate::ha::LockError;
use crate::store::kahadb::{CompactError, OpenError};
use clap::Subcommand;
use std::path::PathBuf;
use std::process::ExitCode;

/// Looks into a store, checks it, makes it smaller
///
/// The store must not be in use: stop its broker first.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP, verbatim_doc_comment)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Inspect(inspect::Options),
    Verify(verify::Options),
    Compact(compact::Options),
}

/// Why a command on a store could not do its work.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreCommandError {
    #[error(transparent)]
    Cli(#[from] super::CliError),
    #[error("{directory} is in use by {holder}: stop it first, {how}")]
    InUse { directory: PathBuf, holder: String, how: String },
    #[error("there is no store in {directory}")]
    Nothing { directory: PathBuf },
    #[error("the configuration has no store in files ({element})")]
    NotInFiles { element: &'static str },
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("the store in {directory} could not be opened")]
    Open {
        directory: PathBuf,
        #[source]
        source: OpenError,
    },
    #[error("the store in {directory} could not be compacted")]
    Compact {
        directory: PathBuf,
        #[source]
        source: CompactError,
    },
    #[error("cannot list {directory}")]
    List {
        directory: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// Unlike other commands these end with 2 if they could not do their work, as 1 tells of damage.
pub(super) fn run(options: &Options) -> ExitCode {
    let outcome = match &options.command {
        Command::Inspect(options) => inspect::run(options),
        Command::Verify(options) => verify::run(options),
        Command::Compact(options) => compact::run(options),
    };
    outcome.unwrap_or_else(|e| {
        terminal::error(format_args!("ERROR: {}", log::Chain(&e)));
        ExitCode::from(CANNOT)
    })
}

/// The store is in use, is not there, or cannot be read.
const CANNOT: u8 = 2;

const HELP: &str = "\
Examples:
  broker store inspect                        what is in the store?
  broker store verify --directory data/kahadb is it all readable?
  broker store compact                        give back the space that nobody needs

Exit codes:
  0   done
  1   there is damage
  2   the store is in use, is not there, or cannot be read

Environment:
  ACTIVEMQ_CONF     folder of the configuration, where broker.xml or activemq.xml is looked for
  ACTIVEMQ_DATA     the value of ${activemq.data}; likewise ACTIVEMQ_BASE and ACTIVEMQ_HOME";

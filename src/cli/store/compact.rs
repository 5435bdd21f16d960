//! `broker store compact`: gives back the space of a store that nobody needs.

use super::StoreCommandError;
use super::place::Place;
use super::shown::{self, counted};
use crate::cli::terminal;
use crate::protocol::openwire::MESSAGE_FORM;
use crate::store::fs::Filesystem;
use crate::store::fs::real::RealFilesystem;
use crate::store::kahadb::{KahaDbOptions, Size, compact};
use std::process::ExitCode;
use std::sync::Arc;

/// Makes the journal of a store as small as it can be
///
/// Moves messages that are still needed out of journal files with garbage and removes the files.
/// A running broker does this by itself when much of a store is garbage; here everything goes.
/// Nothing is lost, however it ends.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP, verbatim_doc_comment)]
pub(super) struct Options {
    #[command(flatten)]
    place: Place,
    /// Prints one JSON object; sizes are bytes
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, StoreCommandError> {
    let located = options.place.locate()?;
    let lock = located.lock_for_writing()?;
    let lock_generation = lock.generation();
    let store = KahaDbOptions { lock_generation, ..located.options.clone() };
    let disk: Arc<dyn Filesystem> = Arc::new(RealFilesystem);
    let done = compact(&disk, &store, MESSAGE_FORM).map_err(|source| {
        StoreCommandError::Compact { directory: store.directory.clone(), source }
    })?;
    if options.json {
        terminal::line(serde_json::json!(done));
        return Ok(ExitCode::SUCCESS);
    }
    let shown = |size: Size| {
        let files = counted(size.journal_files, "journal file");
        format!("{files} with {}", shown::bytes(size.journal_bytes))
    };
    terminal::line(format_args!("before: {}", shown(done.before)));
    terminal::line(format_args!("after:  {}", shown(done.after)));
    let saved = done.before.journal_bytes.saturating_sub(done.after.journal_bytes);
    let messages = counted(done.messages, "message");
    terminal::line(format_args!("{} saved, {messages} kept", shown::bytes(saved)));
    Ok(ExitCode::SUCCESS)
}

const HELP: &str = "\
Examples:
  broker store compact
  broker store compact --config /etc/broker/activemq.xml

Files are as long as journalMaxFileLength of the configuration says, with --directory 32 MiB. Two
are always there: the one that is written, and the next one.

Exit codes:
  0   done
  2   the store is in use, is not there, or cannot be opened; or there is no space for what has to
      be moved, at most as much as all messages take

Environment:
  ACTIVEMQ_CONF     folder of the configuration, where broker.xml or activemq.xml is looked for
  ACTIVEMQ_DATA     the value of ${activemq.data}; likewise ACTIVEMQ_BASE and ACTIVEMQ_HOME";

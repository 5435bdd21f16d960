//! `broker store verify`: is everything in the store as it was written?

use super::StoreCommandError;
use super::place::Place;
use super::shown::{self, counted};
use crate::cli::terminal;
use crate::protocol::openwire::MESSAGE_FORM;
use crate::store::kahadb::{Verification, verify};
use std::process::ExitCode;

/// Reads all of a store and tells of each damage
///
/// Reads every journal file and every page of the index, checks all checksums, builds the state
/// again from the journal alone and compares it with the index. Nothing is changed.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP, verbatim_doc_comment)]
pub(super) struct Options {
    #[command(flatten)]
    place: Place,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, StoreCommandError> {
    let located = options.place.locate()?;
    let verdict = located.read(|disk, store| verify(disk, store, MESSAGE_FORM))?;
    if options.json {
        terminal::line(serde_json::json!(verdict));
    } else {
        show(&verdict);
    }
    let is_sound = verdict.damage.is_empty();
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::from(DAMAGE) })
}

fn show(verdict: &Verification) {
    for finding in &verdict.damage {
        let at = finding.offset.map(|offset| format!(" at offset {offset}")).unwrap_or_default();
        let (what, lost) = (shown::name(&finding.what), shown::name(&finding.lost));
        terminal::line(format_args!("DAMAGE {}{at}: {what}", finding.file.display()));
        terminal::line(format_args!("       lost: {lost}"));
    }
    for note in &verdict.notes {
        terminal::line(format_args!("NOTE   {note}"));
    }
    let damage = match verdict.damage.len() {
        0 => "no damage".to_owned(),
        count => counted(count as u64, "damaged place"),
    };
    terminal::line(format_args!(
        "{} with {} read, {} and {} of the index, {}: {damage}",
        counted(verdict.journal_files, "journal file"),
        shown::bytes(verdict.journal_bytes),
        counted(verdict.index_pages.into(), "page"),
        counted(verdict.index_rows, "row"),
        counted(verdict.messages, "message"),
    ));
}

/// Exit code that tells of damage.
const DAMAGE: u8 = 1;

const HELP: &str = "\
Examples:
  broker store verify
  broker store verify --config /etc/broker/activemq.xml
  broker store verify --directory backup/kahadb --json

Exit codes:
  0   everything is as it was written
  1   there is damage, told with file, offset and what is lost by it. A damaged index is built
      again by the next start; a broker starts without what is damaged in the journal if
      <kahaDB> has ignoreMissingJournalfiles=\"true\"
  2   the store is in use, is not there, or cannot be read

Environment:
  ACTIVEMQ_CONF     folder of the configuration, where broker.xml or activemq.xml is looked for
  ACTIVEMQ_DATA     the value of ${activemq.data}; likewise ACTIVEMQ_BASE and ACTIVEMQ_HOME";

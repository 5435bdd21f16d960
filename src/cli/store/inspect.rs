//! `broker store inspect`: what is in the store, and what keeps its files.

use super::StoreCommandError;
use super::place::Place;
use super::shown::{self, Table, counted};
use crate::cli::terminal;
use crate::protocol::openwire::MESSAGE_FORM;
use crate::store::kahadb::{
    FileContent, FileRole, Inspection, MessageSketch, PreparedContent, SubscriptionContent, inspect,
};
use std::collections::BTreeMap;
use std::process::ExitCode;

/// Shows what is in a store
///
/// Destinations with their messages, durable subscriptions, prepared transactions, and for each
/// journal file how much of it is still needed, and by whom. Nothing is changed.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP, verbatim_doc_comment)]
pub(super) struct Options {
    #[command(flatten)]
    place: Place,
    /// Prints one JSON object; times are ms since 1970, sizes bytes
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, StoreCommandError> {
    let located = options.place.locate()?;
    let found = located.read(|disk, store| inspect(disk, store, MESSAGE_FORM))?;
    if options.json {
        terminal::line(serde_json::json!(found));
    } else {
        show(&found);
    }
    Ok(ExitCode::SUCCESS)
}

fn show(found: &Inspection) {
    let (totals, index) = (&found.totals, &found.index);
    terminal::line(format_args!("Store in {}", found.directory.display()));
    terminal::line(format_args!(
        "  {} with {} in {}, {} of the space",
        counted(totals.messages, "message"),
        shown::bytes(totals.live_bytes),
        counted(totals.journal_files, "journal file"),
        shown::share(totals.live_bytes, totals.journal_bytes),
    ));
    terminal::line(format_args!(
        "  journal {}, index {} with {}",
        shown::bytes(totals.journal_bytes),
        shown::bytes(index.bytes),
        counted(index.rows, "row"),
    ));
    destinations(found);
    subscriptions(&found.subscriptions);
    prepared(&found.prepared);
    files(&found.files);
}

fn section(title: &str, table: &Table) {
    terminal::line(format_args!("\n{title}\n{table}"));
}

fn destinations(found: &Inspection) {
    let mut table =
        Table::new(&[">MESSAGES", ">BYTES", ">EXPIRING", "OLDEST SENT", "NEWEST SENT", "NAME"]);
    for destination in &found.destinations {
        table.row(vec![
            destination.messages.to_string(),
            shown::bytes(destination.bytes),
            destination.expiring.to_string(),
            sent(destination.oldest.as_ref()),
            sent(destination.newest.as_ref()),
            shown::name(&destination.name),
        ]);
    }
    section("Destinations", &table);
}

fn sent(message: Option<&MessageSketch>) -> String {
    shown::time(message.and_then(|message| message.timestamp_ms))
}

fn subscriptions(subscriptions: &[SubscriptionContent]) {
    if subscriptions.is_empty() {
        return;
    }
    let mut table =
        Table::new(&[">PENDING", "OLDEST SENT", "CLIENT ID", "NAME", "DESTINATION", "SELECTOR"]);
    for subscription in subscriptions {
        table.row(vec![
            subscription.pending.to_string(),
            sent(subscription.oldest.as_ref()),
            shown::name(&subscription.client_id),
            shown::name(&subscription.name),
            shown::name(&subscription.destination),
            subscription.selector.as_deref().map_or_else(String::new, shown::name),
        ]);
    }
    section("Durable subscriptions", &table);
}

fn prepared(prepared: &[PreparedContent]) {
    if prepared.is_empty() {
        return;
    }
    let mut table = Table::new(&["XID", "SENDS", "ACKNOWLEDGES"]);
    let listed = |counts: &BTreeMap<String, u64>| {
        let parts = counts.iter().map(|(name, count)| format!("{count} {}", shown::name(name)));
        parts.collect::<Vec<_>>().join(", ")
    };
    for branch in prepared {
        table.row(vec![
            branch.xid.clone(),
            listed(&branch.sends),
            listed(&branch.acknowledgements),
        ]);
    }
    section("Prepared transactions", &table);
}

fn files(files: &[FileContent]) {
    let mut table = Table::new(&["FILE", ">BYTES", ">MESSAGES", ">LIVE", ">SHARE", "KEPT BY"]);
    for file in files {
        table.row(vec![
            format!("db-{}.log", file.number),
            shown::bytes(file.bytes),
            file.live_messages.to_string(),
            shown::bytes(file.live_bytes),
            shown::share(file.live_bytes, file.bytes),
            kept_by(file),
        ]);
    }
    section("Journal files", &table);
}

fn kept_by(file: &FileContent) -> String {
    let (by, mut parts) = (&file.kept_by, Vec::new());
    match file.role {
        FileRole::Current => parts.push("being written".to_owned()),
        FileRole::Spare => parts.push("prepared for use".to_owned()),
        FileRole::Sealed if by.is_replayed => parts.push("read by the next start".to_owned()),
        FileRole::Sealed => {}
    }
    for share in by.destinations.iter().take(LISTED_MAX) {
        let messages = counted(share.messages, "message");
        parts.push(format!("{messages} of {}", shown::name(&share.name)));
    }
    let more = by.destinations.len().saturating_sub(LISTED_MAX) as u64;
    if more > 0 {
        parts.push(format!("messages of {}", counted(more, "more destination")));
    }
    if by.destination_records > 0 {
        parts.push(counted(by.destination_records, "destination"));
    }
    if !by.subscription_records.is_empty() {
        parts.push(counted(by.subscription_records.len() as u64, "subscription"));
    }
    if !by.prepared.is_empty() {
        parts.push(counted(by.prepared.len() as u64, "prepared transaction"));
    }
    if !by.acknowledges.is_empty() {
        let numbers: Vec<String> = by
            .acknowledges
            .iter()
            .take(LISTED_MAX)
            .map(|number| format!("db-{number}.log"))
            .collect();
        let more = if by.acknowledges.len() > LISTED_MAX { ", ..." } else { "" };
        parts.push(format!("acknowledgements for {}{more}", numbers.join(", ")));
    }
    parts.join("; ")
}

/// Names in one cell.
const LISTED_MAX: usize = 3;

const HELP: &str = "\
Examples:
  broker store inspect
  broker store inspect --config /etc/broker/activemq.xml
  broker store inspect --directory data/kahadb --json | jq '.files[] | select(.liveBytes == 0)'

Exit codes:
  0   done
  2   the store is in use, is not there, or cannot be read: see 'broker store verify'

Environment:
  ACTIVEMQ_CONF     folder of the configuration, where broker.xml or activemq.xml is looked for
  ACTIVEMQ_DATA     the value of ${activemq.data}; likewise ACTIVEMQ_BASE and ACTIVEMQ_HOME";

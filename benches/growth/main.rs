//! How the costs of a broker grow: with destinations, connections, subscribers, backlog, message size and
//! selectors.
//!
//! `cargo bench --bench growth -- [table]... [--up-to N]`: a broker of its own for each line, one native client
//! process. Rates are those of both together; the broker's CPU time and memory are its own. With `--up-to` the
//! sizes above N are left out, and for the backlog those up to N are added.

mod backlog;
mod connections;
mod destinations;
mod subscribers;

#[path = "../../tests/harness/mod.rs"]
mod harness;
#[path = "../support/mod.rs"]
mod support;

use clap::{Parser, ValueEnum};
use harness::Broker;
use support::Outcome;

#[derive(Debug, Parser)]
struct Args {
    /// All unless some are named
    tables: Vec<Kind>,
    /// The largest size
    #[arg(long)]
    up_to: Option<u64>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Destinations,
    Connections,
    Subscribers,
    Selectors,
    Sizes,
    Backlog,
}

fn main() -> Outcome<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for kind in Kind::value_variants() {
        if !args.tables.is_empty() && !args.tables.contains(kind) {
            continue;
        }
        let sizes = |usual: u64| powers_of_ten(args.up_to.unwrap_or(usual).min(kind.largest()));
        runtime.block_on(async {
            match kind {
                Kind::Destinations => destinations::table(sizes(100_000)).await,
                Kind::Connections => connections::table(sizes(3_000)).await,
                Kind::Subscribers => subscribers::plain(sizes(10_000)).await,
                Kind::Selectors => subscribers::selecting(sizes(10_000)).await,
                Kind::Sizes => subscribers::sizes(sizes(10_000_000)).await,
                Kind::Backlog => backlog::table(sizes(1_000_000)).await,
            }
        })?;
    }
    Ok(())
}

impl Kind {
    fn largest(self) -> u64 {
        match self {
            Self::Connections | Self::Subscribers | Self::Selectors => 10_000,
            Self::Destinations => 100_000,
            Self::Sizes | Self::Backlog => 10_000_000,
        }
    }
}

/// 1, 10, 100 ... and `largest`.
fn powers_of_ten(largest: u64) -> Vec<u64> {
    let mut sizes: Vec<_> =
        (0..).map(|power| 10_u64.pow(power)).take_while(|n| *n < largest).collect();
    sizes.push(largest);
    sizes
}

/// A broker that holds nothing up for want of memory.
fn start() -> Broker {
    Broker::start_with(ROOM)
}

const ROOM: &str = "<systemUsage><systemUsage><memoryUsage><memoryUsage limit='8 gb'/></memoryUsage>\
    </systemUsage></systemUsage>";

//! What one operation of each layer costs: instructions, heap allocations and bytes taken.
//!
//! `cargo bench --bench layers -- [part of a name]...`. The numbers are the same on a busy machine; only
//! what threads do while they wait for each other moves them, by some percent, in the store's lines.

mod codec;
mod destinations;
mod store;

#[path = "../support/mod.rs"]
mod support;

use support::Outcome;
use support::allocations::Counting;
use support::instructions::measure;

#[global_allocator]
static HEAP: Counting = Counting;

fn main() -> Outcome<()> {
    measure(&[codec::CASES, destinations::CASES, store::CASES].concat())
}

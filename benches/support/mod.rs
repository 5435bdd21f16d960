//! What the benches share.
#![allow(dead_code, reason = "each bench uses its part")]

pub(crate) mod allocations;
pub(crate) mod destination;
pub(crate) mod flow;
pub(crate) mod instructions;
pub(crate) mod process;
pub(crate) mod store;
pub(crate) mod table;

pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The number in the arguments of the bench, or `default`.
pub(crate) fn count(default: usize) -> Result<usize, std::num::ParseIntError> {
    let mut given = std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
    given.next().map_or(Ok(default), |count| count.parse())
}

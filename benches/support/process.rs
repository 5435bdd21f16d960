//! What `/proc` tells of a process.

use std::fs;

/// What a process has used; zeros when it is gone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) cpu_us: f64,
    pub(crate) resident_bytes: u64,
}

impl Usage {
    pub(crate) fn of(pid: u32) -> Self {
        Self { cpu_us: cpu_us(pid), resident_bytes: memory(pid, "VmRSS:") }
    }
}

/// Memory that is not the page cache's, of this process.
pub(crate) fn own_memory_bytes() -> u64 {
    memory(std::process::id(), "RssAnon:")
}

fn memory(pid: u32, what: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.unwrap_or(0_u64) << 10
}

/// Of all its threads, those that have ended included.
fn cpu_us(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().into_iter().flat_map(str::split_whitespace);
    let ticks = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u32>().ok());
    f64::from(ticks.sum::<u32>()) * 1e6 / TICKS_PER_SECOND
}

/// `USER_HZ` of Linux.
const TICKS_PER_SECOND: f64 = 100.0;

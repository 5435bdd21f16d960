//! What is told while messages go: lines as ActiveMQ's commands write them, and how far it is.
//!
//! On a terminal the last line is the progress, drawn anew twice a second; else it is a line now and
//! then, so that a log shows that something goes on.

use crate::cli::terminal;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Counts and shows. Workers share it.
#[derive(Debug)]
pub(in crate::cli) struct Report {
    /// Standard output is a terminal.
    live: bool,
    wanted: u64,
    begin: Instant,
    done: AtomicU64,
    undone: AtomicU64,
    /// What became of the messages that count as undone.
    undone_are: &'static str,
}

/// Whether messages are done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Stage {
    /// The broker has them for good, or has dropped them for good.
    Done,
    /// They were rolled back or given back.
    Undone,
}

impl Report {
    /// For `wanted` messages in all; `undone_are` ends the sentence `5 messages ...`.
    pub(in crate::cli) fn new(wanted: u64, undone_are: &'static str) -> Self {
        let live = io::stdout().is_terminal();
        let (done, undone) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { live, wanted, begin: Instant::now(), done, undone, undone_are }
    }

    /// Counts messages.
    pub(in crate::cli) fn count(&self, stage: Stage, messages: u64) {
        let counter = match stage {
            Stage::Done => &self.done,
            Stage::Undone => &self.undone,
        };
        counter.fetch_add(messages, Ordering::Relaxed);
    }

    /// A line.
    pub(in crate::cli) fn info(&self, text: impl Display) {
        terminal::line(format_args!("{} INFO | {text}", self.erase()));
    }

    /// A line with what a message says; false when nobody takes it any more.
    pub(in crate::cli) fn show(&self, before: impl Display, body: &str) -> bool {
        let erase = self.erase();
        let written = if self.live {
            writeln!(io::stdout(), "{erase} INFO | {before} {}", tame(body))
        } else {
            writeln!(io::stdout(), "{erase} INFO | {before} {body}")
        };
        written.is_ok()
    }

    /// Shows the progress until it is dropped.
    pub(super) async fn follow(self: Arc<Self>) {
        let interval = if self.live { REDRAWN_EVERY } else { LINE_EVERY };
        let mut ticks = tokio::time::interval(interval);
        ticks.tick().await; // the first comes at once
        let (mut at, mut before) = (Instant::now(), self.done.load(Ordering::Relaxed));
        loop {
            ticks.tick().await;
            let (now, done) = (Instant::now(), self.done.load(Ordering::Relaxed));
            let rate = per_second(done.saturating_sub(before), now - at);
            let text = format!("{done} of {} messages, {rate} messages/s", self.wanted);
            if self.live {
                terminal::part(format_args!("{ERASE}{text}"));
            } else {
                self.info(text);
            }
            (at, before) = (now, done);
        }
    }

    /// The last line: all there was.
    pub(super) fn total(&self) {
        let (done, undone) =
            (self.done.load(Ordering::Relaxed), self.undone.load(Ordering::Relaxed));
        if undone > 0 {
            self.info(format_args!("{undone} messages {}", self.undone_are));
        }
        let elapsed = self.begin.elapsed();
        let (seconds, rate) = (elapsed.as_secs_f64(), per_second(done, elapsed));
        self.info(format_args!("Total: {done} messages in {seconds:.3} s, {rate} messages/s"));
    }

    /// What takes the progress away before a line.
    fn erase(&self) -> &'static str {
        if self.live { ERASE } else { "" }
    }
}

fn per_second(count: u64, time: Duration) -> u64 {
    let rate = u128::from(count) * 1_000_000 / time.as_micros().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// Text that cannot command a terminal: a message comes from anybody.
fn tame(text: &str) -> String {
    let harmless = |c: char| !c.is_control() || c == '\n' || c == '\t';
    text.chars().map(|c| if harmless(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

/// To the begin of the line, and nothing from there on.
const ERASE: &str = "\r\x1b[K";

const REDRAWN_EVERY: Duration = Duration::from_millis(500);

const LINE_EVERY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_right_for_any_time() {
        assert_eq!(per_second(10, Duration::from_millis(500)), 20);
        assert_eq!(per_second(0, Duration::ZERO), 0);
        assert_eq!(per_second(u64::MAX, Duration::ZERO), u64::MAX);
    }

    #[test]
    fn a_message_cannot_command_the_terminal() {
        assert_eq!(tame("a\x1b[2J\u{9b}b\tc\n"), "a\u{fffd}[2J\u{fffd}b\tc\n");
    }
}

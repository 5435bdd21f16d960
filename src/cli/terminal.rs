//! Lines for the person at the terminal. One that has gone away (`broker start | head -1`) is no
//! reason to end a broker, so nothing here fails.

use std::fmt::Display;
use std::io::{self, Write};

/// A line on standard output.
pub(super) fn line(text: impl Display) {
    drop(writeln!(io::stdout(), "{text}"));
}

/// A line on standard error.
pub(super) fn error(text: impl Display) {
    drop(writeln!(io::stderr(), "{text}"));
}

/// Part of a line on standard output, shown at once.
pub(super) fn part(text: impl Display) {
    let mut out = io::stdout();
    drop(write!(out, "{text}").and_then(|()| out.flush()));
}

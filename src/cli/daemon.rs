//! `broker start --daemon`: a background process, and a parent that waits for its outcome.
//!
//! The broker is this program started anew, in a session of its own, so it has no threads or open
//! files of the parent. Until it is up its output is still the user's terminal, where a failed
//! start can say why. Its standard input is the write end of a pipe, the one descriptor besides the
//! outputs that can be handed over without `unsafe`: a byte on it means "up" or "waits as a slave", its
//! end without a byte "failed".

use super::source::{self, Source};
use super::{CliError, foreground, pid_file, terminal};
use rustix::stdio;
use std::env;
use std::fs::File;
use std::io::{self, PipeReader, Read};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Starts a broker in the background; returns when it takes connections, waits as a slave or has failed.
pub(super) fn start(source: &Source) -> Result<ExitCode, CliError> {
    let config = source.load_loudly()?;
    let pid_path = source::pid_path(&config);
    if let pid_file::Found::Running(holder) = pid_file::look(&pid_path)? {
        return Err(pid_file::PidFileError::Held(holder).into());
    }
    let log = source.log_settings(&config)?.file.path;
    let log = log.display();
    terminal::line(format_args!("INFO: Starting - inspect the log file '{log}' to get details"));
    let cannot_start =
        |source| CliError::Process { action: "start the background process", source };
    let (outcome, write_end) = io::pipe().map_err(cannot_start)?;
    // The `Command` owns the write end: it must go before the pipe is read, or the pipe never ends.
    let mut broker = Command::new(env::current_exe().map_err(cannot_start)?)
        .args(["start", "--detached"])
        .args(source.to_arguments())
        .stdin(Stdio::from(write_end))
        .spawn()
        .map_err(cannot_start)?;
    let pidfile_created = || {
        let (path, pid) = (pid_path.display(), broker.id());
        terminal::line(format_args!("INFO: pidfile created : '{path}' (pid '{pid}')"));
    };
    match wait(outcome, START_WAIT_MAX) {
        Outcome::Up => {
            pidfile_created();
            Ok(ExitCode::SUCCESS)
        }
        Outcome::Waits => {
            pidfile_created();
            terminal::line(foreground::WAITS);
            Ok(ExitCode::SUCCESS)
        }
        Outcome::Unknown => {
            pidfile_created();
            terminal::line(format_args!(
                "INFO: It is not up after {} seconds and goes on starting: see the log",
                START_WAIT_MAX.as_secs()
            ));
            Ok(ExitCode::SUCCESS)
        }
        Outcome::Failed => {
            let status = broker.wait().map_err(cannot_start)?;
            let code =
                status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or_else(|| {
                    terminal::error(format_args!(
                        "ERROR: the broker ended before it was up: {status}"
                    ));
                    1
                });
            Ok(ExitCode::from(code))
        }
    }
}

enum Outcome {
    Up,
    Waits,
    Failed,
    Unknown,
}

fn wait(mut outcome: PipeReader, patience: Duration) -> Outcome {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut byte = [0];
        drop(sender.send(match outcome.read(&mut byte) {
            Ok(1) if byte == WAITS => Outcome::Waits,
            Ok(1) => Outcome::Up,
            _ => Outcome::Failed,
        }));
    });
    receiver.recv_timeout(patience).unwrap_or(Outcome::Unknown)
}

/// The background process's tie to the one that started it.
#[derive(Debug)]
pub(super) struct Parent {
    released: bool,
}

impl Parent {
    /// Leaves the terminal's session, so that neither its Ctrl-C nor its end reaches this process.
    pub(super) fn leave() -> Self {
        // It fails only for the leader of a process group, which `start` has not made this one.
        rustix::process::setsid().ok();
        Self { released: false }
    }

    /// Lets go of the terminal and tells the parent that the broker is up, or waits as a slave.
    pub(super) fn release(&mut self, waits: bool) -> io::Result<()> {
        if std::mem::replace(&mut self.released, true) {
            return Ok(());
        }
        let nowhere = File::options().read(true).write(true).open("/dev/null")?;
        stdio::dup2_stdout(&nowhere)?;
        stdio::dup2_stderr(&nowhere)?;
        // The parent may have stopped waiting.
        rustix::io::write(io::stdin(), if waits { &WAITS } else { &UP }).ok();
        Ok(stdio::dup2_stdin(&nowhere)?)
    }
}

/// What the background process says on its standard input.
const UP: [u8; 1] = *b"+";
const WAITS: [u8; 1] = *b"w";

/// A start that takes longer does so for a reason that has no end the parent could wait for.
const START_WAIT_MAX: Duration = Duration::from_secs(30);

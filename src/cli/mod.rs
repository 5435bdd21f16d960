//! The command line: one file per command.
//!
//! `start` and `console` are the broker; they share `foreground`, which owns the process: pid
//! file, log, runtime, signals, in that order and released in the reverse one. `producer` and
//! `consumer` are clients of any broker; they share `traffic`. The other commands find a running
//! broker by its pid file. Texts and exit codes are those of ActiveMQ's start script
//! where it has the command; every failure ends with `ERROR: ...` on standard error and code 1.

mod check;
mod console;
mod consumer;
mod daemon;
mod footprint;
mod foreground;
mod kill;
mod log;
mod pid_file;
mod producer;
mod restart;
mod scheduling;
mod source;
mod start;
mod status;
mod stop;
mod store;
mod terminal;
mod traffic;

use clap::{CommandFactory, Parser, Subcommand};
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

/// A message broker that takes the place of ActiveMQ Classic: same configuration, ports and clients.
#[derive(Debug, Parser)]
#[command(name = "broker", version, after_help = GETTING_STARTED)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Start(start::Options),
    Stop(stop::Options),
    Restart(restart::Options),
    Status(status::Options),
    Console(console::Options),
    Kill(kill::Options),
    Check(check::Options),
    Store(store::Options),
    Producer(producer::Options),
    Consumer(consumer::Options),
}

const GETTING_STARTED: &str = "\
Getting started:
  broker check --config conf/activemq.xml     is the configuration good?
  broker start --config conf/activemq.xml     run here; Ctrl-C stops it
  broker start --daemon                       run in the background
  broker status                               is it running?
  broker stop                                 stop it, wait until it has
  broker store inspect                        what is in its store? (when it is stopped)
  broker producer --messageCount 10           send messages to queue://TEST
  broker consumer --messageCount 10           receive them

'broker COMMAND --help' tells what a command does, its exit codes, files and variables.";

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error("no configuration: none of {} exists; name one with --config FILE",
        candidates.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "))]
    NoConfiguration { candidates: Vec<PathBuf> },
    #[error("{path} has errors:\n{errors}")]
    Configuration { path: String, errors: crate::config::ConfigErrors },
    #[error("cannot create the data directory '{path}'")]
    DataDirectory {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    PidFile(#[from] pid_file::PidFileError),
    #[error(transparent)]
    LogSettings(#[from] log::SettingsError),
    #[error(transparent)]
    Log(#[from] log::LogError),
    #[error(transparent)]
    Traffic(#[from] traffic::TrafficError),
    #[error("cannot {action}")]
    Process {
        action: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("cannot signal process '{pid}'")]
    Signal {
        pid: String,
        #[source]
        source: io::Error,
    },
    #[error("'{path}' is held by a broker but does not name its process")]
    NoPid { path: PathBuf },
    #[error("process '{pid}' does not end")]
    DoesNotEnd { pid: String },
}

/// Runs the command named by `args`, the first of which is the program, and returns the exit code
/// of the process.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(args) {
        Ok(arguments) => arguments,
        Err(e) => {
            drop(e.print()); // help and version are errors too, that succeed
            return if e.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let outcome = match arguments.command {
        Some(Command::Start(options)) => start::run(&options),
        Some(Command::Stop(options)) => stop::run(&options),
        Some(Command::Restart(options)) => restart::run(&options),
        Some(Command::Status(options)) => status::run(&options),
        Some(Command::Console(options)) => console::run(&options),
        Some(Command::Kill(options)) => kill::run(&options),
        Some(Command::Check(options)) => check::run(&options),
        Some(Command::Store(options)) => Ok(store::run(&options)),
        Some(Command::Producer(options)) => producer::run(&options).map_err(CliError::from),
        Some(Command::Consumer(options)) => consumer::run(&options).map_err(CliError::from),
        None => {
            terminal::error(Arguments::command().render_help());
            Ok(ExitCode::FAILURE)
        }
    };
    outcome.unwrap_or_else(|e| {
        terminal::error(format_args!("ERROR: {}", log::Chain(&e)));
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_of_the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}

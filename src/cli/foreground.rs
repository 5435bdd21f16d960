//! The process that is the broker: pid file, log, runtime, signals.

use super::daemon::Parent;
use super::log::{self, Chain, Terminal};
use super::pid_file::PidFile;
use super::scheduling::Scheduling;
use super::source::{self, Source};
use super::{CliError, footprint, terminal};
use crate::config::Config;
use crate::server::{After, Server, after_failed_restart};
use std::fs;
use std::io;
use std::process::ExitCode;
use std::time::Duration;
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

/// How a broker shows itself.
#[derive(Debug)]
pub(super) enum Mode {
    /// A few lines on the terminal; the log goes to its file.
    Start,
    /// The log is also shown on the terminal.
    Console,
    /// In the background, started by a parent that waits.
    Detached(Parent),
}

/// Runs a broker until it is stopped. Returns the exit code of the process.
pub(super) fn run(source: &Source, mode: Mode) -> Result<ExitCode, CliError> {
    let location = source.location()?;
    let config = match mode {
        Mode::Detached(_) => source.load()?, // the parent has shown the warnings
        Mode::Start | Mode::Console => source.load_loudly()?,
    };
    let data = &config.broker.data_directory;
    fs::create_dir_all(data)
        .map_err(|source| CliError::DataDirectory { path: data.clone(), source })?;
    let pid_file = PidFile::acquire(&source::pid_path(&config))?;

    let settings = source.log_settings(&config)?;
    greet(&mode, &config, &settings, &pid_file);
    let ignored: Vec<_> = settings.ignored.iter().map(ToString::to_string).collect();
    let shown = if matches!(mode, Mode::Console) { Terminal::Everything } else { Terminal::Errors };
    let log = log::start(settings, shown)?;
    info!("Loading message broker from: {location}");
    for notice in &config.warnings {
        if notice.is_information() { info!("{notice}") } else { warn!("{notice}") }
    }
    ignored.iter().for_each(|ignored| warn!("{ignored}"));

    let cannot_run = |source| CliError::Process { action: "run", source };
    let mut builder = runtime::Builder::new_multi_thread();
    builder.worker_threads(workers()).thread_name("broker-worker").enable_all();
    // Before there are other threads: they inherit it.
    if let Some(scheduling) = Scheduling::in_batches() {
        builder.on_thread_park(move || scheduling.look());
    }
    let runtime = builder.build().map_err(cannot_run)?;
    let code = runtime.block_on(serve(source, config, &log, mode)).map_err(cannot_run)?;
    // A thread that hangs in the kernel must not keep a stopped broker from ending.
    runtime.shutdown_timeout(SHUTDOWN_MAX);
    drop(pid_file); // after all else: it says that the data directory is free
    Ok(code)
}

/// Threads that serve connections and destinations: `BROKER_WORKERS`, else half the cores. The kernel's
/// part of the network work, the store and whoever shares the machine need the rest: on 2 cores one
/// worker used a third less CPU per message than two at the same throughput.
fn workers() -> usize {
    let wanted = std::env::var("BROKER_WORKERS").ok().and_then(|text| text.trim().parse().ok());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    wanted.unwrap_or_else(|| cores.div_ceil(2)).clamp(1, WORKERS_MAX)
}

/// More threads than this only get into each other's way.
const WORKERS_MAX: usize = 256;

fn greet(mode: &Mode, config: &Config, settings: &log::Settings, pid_file: &PidFile) {
    if matches!(mode, Mode::Detached(_)) {
        return;
    }
    terminal::line(concat!("broker ", env!("CARGO_PKG_VERSION")));
    terminal::line(format_args!("INFO: Configuration: {}", config.file.display()));
    terminal::line(format_args!("INFO: Log file: {}", settings.file.path.display()));
    if matches!(mode, Mode::Console) {
        terminal::line(
            "INFO: Starting in foreground, this is just for debugging purposes \
             (stop process by pressing CTRL+C)",
        );
    }
    terminal::line(format_args!("INFO: Creating pidfile {}", pid_file.path().display()));
}

/// Keeps a broker until a signal, or until it stops by itself and does not start again.
async fn serve(
    source: &Source,
    mut config: Config,
    log: &log::Handle,
    mut mode: Mode,
) -> io::Result<ExitCode> {
    let mut signals = Signals::new()?;
    let mut was_up = false;
    loop {
        match serve_once(&config, log, &mut mode, &mut signals, was_up).await {
            After::Exit(code) => return Ok(exit_code(code)),
            After::Restart => {}
            After::RestartIn(pause) => tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = signals.stop(log) => return Ok(ExitCode::SUCCESS),
            },
        }
        was_up = true;
        info!("Restarting broker");
        if !matches!(mode, Mode::Detached(_)) {
            terminal::line("INFO: Restarting broker");
        }
        match source.load() {
            Ok(changed) => config = changed,
            Err(e) => {
                error!("Failed to restart: {}", Chain(&e));
                return Ok(ExitCode::FAILURE);
            }
        }
    }
}

/// Starts the server and keeps it until a signal, or until it stops by itself.
async fn serve_once(
    config: &Config,
    log: &log::Handle,
    mode: &mut Mode,
    signals: &mut Signals,
    was_up: bool,
) -> After {
    let started = tokio::select! {
        started = Server::start(config, || mode.waits()) => started,
        () = signals.stop(log) => {
            info!("Stopped before the broker was up");
            return After::Exit(0);
        }
    };
    let server = match started {
        Ok(server) => server,
        Err(e) => {
            error!("Failed to start: {}", Chain(&e));
            return match was_up {
                true => after_failed_restart(&config.broker),
                false => After::Exit(1),
            };
        }
    };
    match mode {
        Mode::Detached(parent) => release(parent, false),
        Mode::Start | Mode::Console => {
            for (connector, address) in server.addresses() {
                terminal::line(format_args!("INFO: Connector {connector} listens at {address}"));
            }
            terminal::line(format_args!("INFO: Broker {} started", config.broker.name));
        }
    }
    footprint::drop_code_of_the_start();
    // The signals stay taken, so a second one does not cut the stop short.
    let after = tokio::select! {
        after = server.stopped() => after,
        () = signals.stop(log) => After::Exit(0),
    };
    server.stop().await;
    after
}

impl Mode {
    /// Shows that the broker is a slave.
    fn waits(&mut self) {
        match self {
            Self::Detached(parent) => release(parent, true),
            Self::Start | Self::Console => terminal::line(WAITS),
        }
    }
}

/// Why nothing listens.
pub(super) const WAITS: &str = "INFO: Another broker has the store: this one waits in slave mode and takes \
                                over when that one ends";

fn release(parent: &mut Parent, waits: bool) {
    if let Err(e) = parent.release(waits) {
        warn!(error = %e, "Cannot let go of the terminal");
    }
}

/// The low byte, which is all that a parent process sees.
fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(code.to_le_bytes()[0])
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Resolves at a signal to stop; reopens the log on SIGHUP meanwhile.
    async fn stop(&mut self, log: &log::Handle) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => break info!("Stopping: SIGTERM"),
                _ = self.interrupt.recv() => break info!("Stopping: SIGINT"),
                _ = self.hangup.recv() => {
                    log.reopen();
                    info!("Reopened the log file");
                }
            }
        }
    }
}

/// How long blocking work may outlive a stopped server.
const SHUTDOWN_MAX: Duration = Duration::from_secs(5);

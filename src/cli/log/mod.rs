//! The log: `data/broker.log` in the format of ActiveMQ, and the terminal.
//!
//! Owns the process-wide `tracing` subscriber. Each event is formatted and written by the thread
//! that logs it, with one `write` per file, so that what was logged before a crash is in the file.
//! Fields of spans are not shown. Events with the target [`AUDIT`] go to `audit.log` alone.

mod formats;
mod line;
mod properties;
mod rotate;
mod settings;

pub(crate) use line::Chain;
pub(crate) use settings::{Settings, SettingsError};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use line::{Body, Clock};
use parking_lot::Mutex;
use rotate::RotatingFile;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::Cell;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use tracing::{Event, Level, Subscriber, error};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// The target of administrative operations: `USER called OPERATION on OBJECT at TIME`.
pub(crate) const AUDIT: &str = "audit";

/// What of the log is also shown on the terminal, as ` INFO | message`: errors on standard error,
/// the rest on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Terminal {
    Errors,
    Everything,
}

/// Why the log could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    #[error("cannot write the log file '{path}'")]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the log of this process is already taken")]
    Taken(#[from] tracing_subscriber::util::TryInitError),
}

/// The running log.
#[derive(Clone, Debug)]
pub(crate) struct Handle(Arc<Files>);

#[derive(Debug)]
struct Files {
    main: Mutex<Sink>,
    audit: Mutex<Sink>,
}

/// A file and how many lines it could not take since the last one it took.
#[derive(Debug)]
struct Sink {
    file: RotatingFile,
    lines_lost: u64,
}

struct LogLayer {
    files: Arc<Files>,
    terminal: Terminal,
}

/// What a thread needs to format an event, kept for the next one.
struct Scratch {
    clock: Clock,
    body: Body,
    line: String,
}

/// Opens the log file and makes this the log of the whole process, panics included.
pub(crate) fn start(settings: Settings, terminal: Terminal) -> Result<Handle, LogError> {
    let mut main = Sink::new(RotatingFile::new(settings.file));
    main.file
        .open()
        .map_err(|source| LogError::File { path: main.file.path().to_owned(), source })?;
    let audit = Sink::new(RotatingFile::new(settings.audit));
    let files = Arc::new(Files { main: Mutex::new(main), audit: Mutex::new(audit) });
    let layer = LogLayer { files: files.clone(), terminal };
    tracing_subscriber::registry().with(settings.filter).with(layer).try_init()?;
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace);
        error!(backtrace = backtrace.map(tracing::field::display), "{panic}");
    }));
    Ok(Handle(files))
}

impl Handle {
    /// Opens the log files by their names again, after a tool such as logrotate has moved them.
    pub(crate) fn reopen(&self) {
        for sink in [&self.0.main, &self.0.audit] {
            let (path, result) = {
                let mut sink = sink.lock();
                (sink.file.path().to_owned(), sink.file.reopen())
            };
            if let Err(e) = result {
                error!(path = %path.display(), error = %e, "Cannot reopen the log file");
            }
        }
    }
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut scratch = Scratch::take();
        let Scratch { clock, body, line } = &mut scratch;
        let stamp = clock.stamp(Timestamp::now());
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        let body = body.read(event);
        line.clear();
        if target == AUDIT {
            line::write_audit_line(line, level, body);
            self.files.audit.lock().write(line.as_bytes(), stamp.date);
        } else {
            line::write_line(line, stamp, level, body, target);
            let mut main = self.files.main.lock();
            let lines_lost = main.write(line.as_bytes(), stamp.date);
            if lines_lost > 0 {
                let note = format!("{lines_lost} lines before the last one could not be written");
                line.clear();
                line::write_line(line, stamp, Level::WARN, &note, module_path!());
                main.write(line.as_bytes(), stamp.date);
            }
            drop(main);
            self.terminal.show(level, body);
        }
        scratch.keep();
    }
}

impl Sink {
    fn new(file: RotatingFile) -> Self {
        Self { file, lines_lost: 0 }
    }

    /// Writes `line`. Returns how many lines before it were lost, once: when one is written again.
    fn write(&mut self, line: &[u8], today: Date) -> u64 {
        match self.file.write_line(line, today) {
            Ok(()) => std::mem::take(&mut self.lines_lost),
            Err(_) => {
                self.lines_lost += 1;
                0
            }
        }
    }
}

impl Terminal {
    /// A terminal that is gone costs its lines, nothing else.
    fn show(self, level: Level, body: &str) {
        if level == Level::ERROR {
            drop(writeln!(io::stderr(), "{level:>5} | {body}"));
        } else if self == Self::Everything {
            drop(writeln!(io::stdout(), "{level:>5} | {body}"));
        }
    }
}

thread_local! {
    static SCRATCH: Cell<Option<Scratch>> = const { Cell::new(None) };
}

impl Scratch {
    /// Takes it out, so that a `Display` that logs while it is being logged finds none and makes
    /// its own. The same on a thread whose locals are already gone.
    fn take() -> Self {
        SCRATCH.try_with(Cell::take).ok().flatten().unwrap_or_else(|| Self {
            clock: Clock::new(TimeZone::system()),
            body: Body::default(),
            line: String::new(),
        })
    }

    fn keep(self) {
        SCRATCH.try_with(|cell| cell.set(Some(self))).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rotate::FileSettings;
    use std::fs;
    use std::path::Path;
    use tracing::{info, warn};

    fn logged(main: PathBuf, audit: PathBuf, log: impl FnOnce(&Handle)) {
        let sink = |path| Mutex::new(Sink::new(RotatingFile::new(FileSettings::new(path))));
        let files = Arc::new(Files { main: sink(main), audit: sink(audit) });
        let layer = LogLayer { files: files.clone(), terminal: Terminal::Errors };
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || log(&Handle(files)));
    }

    #[test]
    fn administrative_operations_have_a_file_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let (main, audit) = (folder.path().join("main.log"), folder.path().join("audit.log"));
        logged(main.clone(), audit.clone(), |log| {
            info!(queue = "A", "purged");
            log.reopen();
            assert!(!audit.exists());
            warn!(target: AUDIT, "admin called purge");
        });
        let line = fs::read_to_string(main).unwrap();
        assert!(line.contains(" | INFO  | purged queue=A | broker::cli::log::tests | "), "{line}");
        assert_eq!(line.lines().count(), 1);
        assert!(fs::read_to_string(audit).unwrap().starts_with("WARN  | admin called purge | "));
    }

    #[test]
    fn a_display_that_logs_while_it_is_logged_makes_a_line_of_its_own() {
        struct Talkative;
        impl std::fmt::Display for Talkative {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                info!("inner");
                f.write_str("outer")
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("main.log");
        logged(main.clone(), folder.path().join("audit.log"), |_| info!("{Talkative}"));
        // tracing itself keeps the inner event from its subscriber; what counts is the outer one.
        assert!(fs::read_to_string(main).unwrap().contains(" | outer | "));
    }

    #[test]
    fn lines_that_found_no_room_are_counted() {
        let mut sink = Sink::new(RotatingFile::new(FileSettings {
            daily: false,
            ..FileSettings::new(Path::new("/dev/full").to_owned())
        }));
        let today = jiff::Zoned::now().date();
        assert_eq!(sink.write(b"a\n", today), 0);
        assert_eq!(sink.write(b"b\n", today), 0);
        let folder = tempfile::tempdir().unwrap();
        sink.file = RotatingFile::new(FileSettings::new(folder.path().join("main.log")));
        assert_eq!(sink.write(b"c\n", today), 2);
        assert_eq!(sink.write(b"d\n", today), 0);
    }
}

//! The command line from outside: the real binary, its texts, exit codes and files.

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use tempfile::TempDir;

/// A folder with a configuration in it; whatever still runs there at the end is killed.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self::with_port(0)
    }

    fn with_port(port: u16) -> Self {
        let place = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        let data = place.data();
        place.write("broker.xml", &configuration(&data.display().to_string(), port));
        place
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, text).expect("a file");
        path
    }

    fn config(&self) -> String {
        self.folder.path().join("broker.xml").display().to_string()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn pid_file(&self) -> PathBuf {
        self.data().join("broker.pid")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_broker"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ACTIVEMQ_") || name == "BROKER_LOG" {
                command.env_remove(name);
            }
        }
        command.args(arguments).current_dir(self.folder.path());
        command
    }

    /// Runs a command on this place's configuration.
    fn run(&self, arguments: &[&str]) -> Outcome {
        let config = self.config();
        Outcome::of(self.command(arguments).args(["--config", &config]))
    }

    /// Runs a broker in the foreground.
    fn spawn(&self, command: &str) -> Running {
        let config = self.config();
        let mut child = self
            .command(&[command, "--config", &config])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the broker runs");
        let out = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut running = Running { child, out };
        running.wait_for("started");
        running
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.run(&["kill"]);
    }
}

struct Outcome {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Outcome {
    fn of(command: &mut Command) -> Self {
        let Output { status, stdout, stderr } = command.output().expect("the broker runs");
        Self {
            code: status.code(),
            out: String::from_utf8(stdout).expect("text"),
            err: String::from_utf8(stderr).expect("text"),
        }
    }
}

/// A broker in the foreground; killed if a test fails before it has stopped.
struct Running {
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
}

impl Running {
    /// Reads standard output up to the line with `text`.
    fn wait_for(&mut self, text: &str) {
        let found = self.out.any(|line| line.expect("text").contains(text));
        assert!(found, "the broker ended without saying {text:?}");
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the broker runs");
    }

    fn code(&mut self) -> Option<i32> {
        self.child.wait().expect("a child").code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn configuration(data: &str, port: u16) -> String {
    format!(
        r#"<beans xmlns="http://www.springframework.org/schema/beans">
  <broker xmlns="http://activemq.apache.org/schema/core" brokerName="place" persistent="false"
          dataDirectory="{data}">
    <transportConnectors>
      <transportConnector name="openwire" uri="tcp://127.0.0.1:{port}"/>
    </transportConnectors>
  </broker>
</beans>
"#
    )
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn help_teaches() {
    let place = Place::new();
    let help = Outcome::of(&mut place.command(&["--help"]));
    assert_eq!(help.code, Some(0));
    for word in ["Getting started", "start", "stop", "restart", "status", "console", "check"] {
        assert!(help.out.contains(word), "{word}");
    }
    let commands = ["start", "stop", "restart", "status", "console", "kill", "check"];
    for command in
        commands.iter().copied().chain(["store inspect", "store verify", "store compact"])
    {
        let words = command.split(' ').chain(["--help"]).collect::<Vec<_>>();
        let help = Outcome::of(&mut place.command(&words));
        assert_eq!(help.code, Some(0));
        for part in ["Examples:", "Exit codes:", "Environment:", "--config <FILE>"] {
            assert!(help.out.contains(part), "{command}: {part}");
        }
    }
    let none = Outcome::of(&mut place.command(&[]));
    assert_eq!((none.code, none.err.contains("Getting started")), (Some(1), true));
    let unknown = Outcome::of(&mut place.command(&["strat"]));
    assert_eq!((unknown.code, unknown.err.contains("'start'")), (Some(1), true));
}

#[test]
fn version_names_the_product() {
    let version = Outcome::of(&mut Place::new().command(&["--version"]));
    assert_eq!(version.out, concat!("broker ", env!("CARGO_PKG_VERSION"), "\n"));
    assert_eq!(version.code, Some(0));
}

#[test]
fn check_gives_its_verdict_and_starts_nothing() {
    let place = Place::new();
    let good = place.run(&["check"]);
    assert_eq!(good.out.lines().last().unwrap(), format!("{}: ok, 0 warnings", place.config()));
    assert_eq!(good.code, Some(0));
    assert!(!place.data().exists());

    let xbean = format!("xbean:file:{}", place.config());
    assert_eq!(Outcome::of(&mut place.command(&["check", &xbean])).code, Some(0));

    let text = read(Path::new(&place.config()));
    let broken = place.write("broken.xml", text.split_once("</transport").unwrap().0);
    let broken = broken.display().to_string();
    let bad = Outcome::of(&mut place.command(&["check", "--config", &broken]));
    assert_eq!(bad.code, Some(1));
    assert!(bad.out.starts_with(&format!("{broken}:")), "{}", bad.out);
    assert!(bad.out.lines().last().unwrap().ends_with(": 1 error"), "{}", bad.out);
}

#[test]
fn the_default_configuration_is_looked_for_in_its_places() {
    let place = Place::new();
    let none = Outcome::of(&mut place.command(&["check"]));
    assert_eq!(none.code, Some(1));
    assert!(none.err.starts_with("ERROR: no configuration"), "{}", none.err);

    let text = read(Path::new(&place.config()));
    for (file, folder) in [
        ("conf/activemq.xml", None),
        ("conf/broker.xml", None),
        ("elsewhere/activemq.xml", Some("elsewhere")),
        ("elsewhere/broker.xml", Some("elsewhere")),
    ] {
        place.write(file, &text);
        let mut check = place.command(&["check"]);
        check.envs(folder.map(|folder| ("ACTIVEMQ_CONF", folder)));
        let found = Outcome::of(&mut check);
        assert!(found.out.contains(&format!("{file}: ok")), "{}", found.out);
    }
}

#[test]
fn a_broker_in_the_foreground_has_pid_file_and_log_and_stops_on_a_signal() {
    for signal in [Signal::TERM, Signal::INT] {
        let place = Place::new();
        let mut broker = place.spawn("start");
        assert_eq!(read(&place.pid_file()), format!("{}\n", broker.child.id()));
        let status = place.run(&["status"]);
        assert_eq!(status.out, format!("Broker is running (pid '{}')\n", broker.child.id()));
        assert_eq!(status.code, Some(0));
        broker.signal(signal);
        assert_eq!(broker.code(), Some(0));
        assert!(!place.pid_file().exists());
        let status = place.run(&["status"]);
        assert_eq!((status.out.as_str(), status.code), ("Broker not running\n", Some(1)));
        let log = read(&place.data().join("broker.log"));
        let columns: Vec<_> = log.lines().next().unwrap().split(" | ").collect();
        let loading = format!("Loading message broker from: {}", place.config());
        assert_eq!(columns[1..3], ["INFO ", &loading]);
        assert_eq!(columns[0].len(), "2024-01-01 12:00:00,000".len());
    }
}

#[test]
fn a_data_directory_has_one_broker() {
    let place = Place::new();
    let mut broker = place.spawn("console");
    let pid = broker.child.id();
    for start in [&["start"][..], &["start", "--daemon"]] {
        let second = place.run(start);
        let running = format!("INFO: Process with pid '{pid}' is already running\n");
        assert!(second.out.starts_with(&running), "{}", second.out);
        assert!(second.out.contains(&place.pid_file().display().to_string()));
        assert_eq!(second.code, Some(0));
    }
    let second = place.run(&["console"]);
    assert_eq!(second.code, Some(1));
    let running = format!("ERROR: Broker is already running (pid '{pid}'");
    assert!(second.err.starts_with(&running), "{}", second.err);

    let stop = place.run(&["stop"]);
    assert_eq!(stop.code, Some(0));
    assert!(stop.out.contains(&format!("of pid '{pid}' : ")), "{}", stop.out);
    assert!(stop.out.ends_with(" TERMINATED\n"));
    assert_eq!(broker.code(), Some(0));
    let stop = place.run(&["stop"]);
    assert_eq!((stop.out.as_str(), stop.code), ("Broker not running\n", Some(0)));
}

#[test]
fn a_stale_pid_file_is_taken_over_by_start_and_removed_by_stop() {
    let place = Place::new();
    let own = std::process::id(); // lives, and holds no lock: no broker
    fs::create_dir(place.data()).unwrap();
    fs::write(place.pid_file(), format!("{own}\n")).unwrap();
    assert_eq!(place.run(&["status"]).code, Some(1));
    let kill = place.run(&["kill"]);
    assert_eq!((kill.out.as_str(), kill.code), ("INFO: not running, nothing to do\n", Some(0)));

    let mut broker = place.spawn("start");
    assert_eq!(read(&place.pid_file()), format!("{}\n", broker.child.id()));
    broker.child.kill().unwrap();
    assert_eq!(broker.code(), None);
    assert!(place.pid_file().exists());

    let stop = place.run(&["stop"]);
    assert_eq!(stop.code, Some(1));
    assert!(stop.err.starts_with("ERROR: No or outdated process id in '"), "{}", stop.err);
    assert!(!place.pid_file().exists());
}

#[test]
fn a_broker_that_does_not_stop_is_killed() {
    let place = Place::new();
    let mut broker = place.spawn("start");
    broker.signal(Signal::STOP);
    let config = place.config();
    let mut stop = place.command(&["stop", "--config", &config]);
    let stop = Outcome::of(stop.env("ACTIVEMQ_KILL_MAXSECONDS", "0"));
    assert_eq!(stop.code, Some(0));
    let killed = "\nINFO: Regular shutdown not successful,  sending SIGKILL to process\n";
    assert!(stop.out.ends_with(killed), "{}", stop.out);
    assert_eq!(broker.code(), None);
    assert!(!place.pid_file().exists());
}

#[test]
fn a_daemon_is_up_when_start_returns() {
    let place = Place::new();
    let start = place.run(&["start", "--daemon"]);
    assert_eq!((start.err.as_str(), start.code), ("", Some(0)));
    let pid = read(&place.pid_file());
    let created = format!(
        "INFO: pidfile created : '{}' (pid '{}')\n",
        place.pid_file().display(),
        pid.trim()
    );
    assert!(start.out.ends_with(&created), "{}", start.out);

    let restart = place.run(&["restart", "--daemon"]);
    assert_eq!(restart.code, Some(0));
    assert!(restart.out.contains(" TERMINATED\n"), "{}", restart.out);
    assert_ne!(read(&place.pid_file()), pid);

    let pid = read(&place.pid_file());
    let kill = place.run(&["kill"]);
    assert_eq!(kill.out, format!("INFO: sending SIGKILL to pid '{}'\n", pid.trim()));
    assert!(!place.pid_file().exists());
}

#[test]
fn a_running_broker_survives_a_restart_on_a_broken_configuration() {
    let place = Place::new();
    let broker = place.spawn("start");
    let good = read(Path::new(&place.config()));
    place.write("broker.xml", "<beans");
    assert_eq!(place.run(&["restart"]).code, Some(1));
    place.write("broker.xml", &good);
    assert_eq!(read(&place.pid_file()), format!("{}\n", broker.child.id()));
    assert_eq!(place.run(&["status"]).code, Some(0));
}

#[test]
fn a_broken_configuration_does_not_keep_a_broker_from_being_stopped() {
    let place = Place::new();
    let mut broker = place.spawn("start");
    place.write("broker.xml", "<beans");
    let config = place.config();
    let mut stop = place.command(&["stop", "--config", &config]);
    let stop = Outcome::of(stop.env("ACTIVEMQ_DATA", place.data()));
    assert_eq!(stop.code, Some(0));
    assert!(stop.err.starts_with("WARN: the configuration has errors"), "{}", stop.err);
    assert_eq!(broker.code(), Some(0));
}

#[test]
fn a_start_that_fails_says_why() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = Place::with_port(taken.local_addr().unwrap().port());
    for start in [&["start"][..], &["start", "--daemon"], &["console"]] {
        let failed = place.run(start);
        assert_eq!(failed.code, Some(1));
        assert!(failed.err.contains("Address already in use"), "{start:?}: {}", failed.err);
        assert!(!place.pid_file().exists());
    }
}

#[test]
fn definitions_and_the_pid_file_variable_reach_the_daemon() {
    let place = Place::new();
    place.write("broker.xml", &configuration("${test.data}", 0));
    let (config, data) = (place.config(), place.folder.path().join("defined"));
    let pid_file = place.folder.path().join("other.pid");
    let define = format!("-Dtest.data={}", data.display());
    let run = |command: &[&str]| {
        let mut command = place.command(command);
        command.args(["--config", &config, &define]).env("ACTIVEMQ_PIDFILE", &pid_file);
        Outcome::of(&mut command)
    };
    let start = run(&["start", "--daemon"]);
    assert_eq!((start.err.as_str(), start.code), ("", Some(0)));
    assert!(data.join("broker.log").exists());
    assert!(!data.join("broker.pid").exists());
    assert!(pid_file.exists());
    assert_eq!(run(&["stop"]).code, Some(0));
    assert!(!pid_file.exists());
}

#[test]
fn a_hangup_opens_the_log_again() {
    let place = Place::new();
    place.write("log4j2.properties", LOG4J2);
    let mut broker = place.spawn("console");
    let (log, moved) = (place.data().join("activemq.log"), place.data().join("moved.log"));
    fs::rename(&log, &moved).unwrap();
    broker.signal(Signal::HUP);
    broker.wait_for(" INFO | Reopened the log file");
    assert!(read(&log).contains("Reopened the log file"));
    assert!(read(&moved).contains("Loading message broker from"));
    broker.signal(Signal::TERM);
    assert_eq!(broker.code(), Some(0));
}

const LOG4J2: &str = "\
rootLogger.level=INFO
rootLogger.appenderRef.logfile.ref=RollingFile
appender.logfile.name=RollingFile
appender.logfile.fileName=${sys:activemq.data}/activemq.log
";

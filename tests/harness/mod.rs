//! The real broker in a temporary folder, and a [`Peer`] that speaks OpenWire with it frame by frame.
//!
//! Everything here waits for an event, never for time to pass; [`PATIENCE`] only ends a test that
//! would hang.
#![allow(dead_code, unused_imports, unreachable_pub, reason = "each test program uses its part")]
#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod peer;

pub use peer::{Peer, acknowledgement, body, closes, connection_info, raw};

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A broker process with its folder. Ends with the test.
pub struct Broker {
    folder: TempDir,
    child: Child,
    output: Arc<Output>,
    port: u16,
}

impl Broker {
    /// A broker in memory, with one connector at a free port.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// As [`Self::start`]; `elements` are added to its `<broker>`.
    pub fn start_with(elements: &str) -> Self {
        Self::start_as("", elements)
    }

    /// As [`Self::start_with`]; `options`, such as `?wireFormat.maxFrameSize=10000`, are its
    /// connector's.
    pub fn start_as(options: &str, elements: &str) -> Self {
        Self::start_new("false", options, elements)
    }

    /// A broker with the store that `elements` configure; `${activemq.data}` is its data directory.
    pub fn start_persistent(elements: &str) -> Self {
        Self::start_new("true", "", elements)
    }

    fn start_new(persistent: &str, options: &str, elements: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let elements = elements.replace("${activemq.data}", &data.display().to_string());
        let text = configuration(persistent, &data, options, &elements);
        fs::write(config(folder.path()), text).unwrap();
        let (child, output, port) = spawn(folder.path());
        Self { folder, child, output, port }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Its address as clients write it, with `options` such as `?wireFormat.version=1`.
    pub fn uri(&self, options: &str) -> String {
        format!("tcp://{}{options}", self.address())
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `dataDirectory`.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Memory of the process that is in RAM now.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().unwrap();
        kib * 1024
    }

    /// What it has written to its terminal and its log file.
    pub fn log(&self) -> String {
        let file = fs::read_to_string(self.data().join("broker.log")).unwrap_or_default();
        self.output.text() + &file
    }

    /// Puts `new` in the place of `old` in its configuration, at once as a whole.
    pub fn change_configuration(&self, old: &str, new: &str) {
        let path = config(self.folder.path());
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(old), "{text}");
        let other = path.with_extension("new");
        fs::write(&other, text.replace(old, new)).unwrap();
        fs::rename(&other, &path).unwrap();
    }

    /// A client with this connection id; its client id is the same.
    pub fn client(&self, id: &str) -> Peer {
        Peer::connect(self.port, id)
    }

    /// Stops it as an operator does. Returns its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::TERM)
    }

    /// Ends it the hard way.
    pub fn kill9(&mut self) {
        self.signal(Signal::KILL);
    }

    fn signal(&mut self, signal: Signal) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        self.child.wait().unwrap().code()
    }

    /// Starts it again, on the same configuration and data, after [`Self::stop`] or [`Self::kill9`].
    /// Its port is another one.
    pub fn restart(&mut self) {
        assert!(self.child.try_wait().unwrap().is_some(), "the broker still runs");
        (self.child, self.output, self.port) = spawn(self.folder.path());
    }

    /// Waits until it has started again by itself, for the first time. Its port is another one.
    pub fn await_restart(&mut self) {
        let line = self.output.wait_for_nth(LISTENS, 2);
        self.port = line.rsplit(':').next().unwrap().trim().parse().unwrap();
    }

    /// Fails unless the broker lives, serves a client, and no part of it has panicked.
    pub fn assert_healthy(&mut self) {
        assert_eq!(self.child.try_wait().unwrap(), None, "the broker has ended: {}", self.log());
        self.client("health").keep_alive();
        let log = self.log();
        assert!(!log.contains("panicked"), "{log}");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Errors mean that it has ended.
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// The configuration in a broker's folder.
pub fn config(folder: &Path) -> PathBuf {
    folder.join("activemq.xml")
}

/// A configuration with one connector at a free port.
pub fn configuration(persistent: &str, data: &Path, options: &str, elements: &str) -> String {
    format!(
        r#"<beans xmlns="http://www.springframework.org/schema/beans">
  <broker xmlns="http://activemq.apache.org/schema/core" brokerName="localhost" persistent="{persistent}"
          dataDirectory="{}">
    {elements}
    <transportConnectors>
      <transportConnector name="openwire" uri="tcp://127.0.0.1:0{options}"/>
    </transportConnectors>
  </broker>
</beans>
"#,
        data.display()
    )
}

/// `broker` with `arguments` in a folder that has a configuration.
pub fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_broker"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ACTIVEMQ_") || name == "BROKER_LOG" {
            command.env_remove(name);
        }
    }
    command.args(arguments).arg("--config").arg(config(folder)).current_dir(folder);
    command
}

/// Starts the broker of a folder; it may still be anything but up.
pub fn launch(folder: &Path) -> (Child, Arc<Output>) {
    let mut command = command(folder, &["start"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let output = Arc::new(Output::default());
    output.follow(child.stdout.take().unwrap());
    output.follow(child.stderr.take().unwrap());
    (child, output)
}

fn spawn(folder: &Path) -> (Child, Arc<Output>, u16) {
    let (child, output) = launch(folder);
    let port = output.port();
    (child, output, port)
}

/// What a broker says of its connector, before the address.
const LISTENS: &str = "INFO: Connector openwire listens at ";

/// What a process writes, gathered as it comes.
#[derive(Default)]
pub struct Output {
    state: Mutex<Written>,
    grown: Condvar,
}

#[derive(Default)]
struct Written {
    text: String,
    /// Streams that have ended.
    ended: usize,
}

impl Output {
    fn follow(self: &Arc<Self>, stream: impl Read + Send + 'static) {
        let output = Arc::clone(self);
        thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let mut state = output.state.lock().unwrap();
                state.text.push_str(&line);
                state.text.push('\n');
                output.grown.notify_all();
            }
            output.state.lock().unwrap().ended += 1;
            output.grown.notify_all();
        });
    }

    /// All so far.
    pub fn text(&self) -> String {
        self.state.lock().unwrap().text.clone()
    }

    /// Waits for the connector to listen.
    pub fn port(&self) -> u16 {
        let line = self.wait_for(LISTENS);
        line.rsplit(':').next().unwrap().trim().parse().unwrap()
    }

    /// Waits for the process to close its terminal, as it does when it ends.
    pub fn wait_for_end(&self) {
        let state = self.state.lock().unwrap();
        let pending = |state: &mut Written| state.ended < 2;
        let (state, _) = self.grown.wait_timeout_while(state, PATIENCE, pending).unwrap();
        assert_eq!(state.ended, 2, "the broker does not end: {}", state.text);
    }

    /// The first line with `text` in it.
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_for_nth(text, 1)
    }

    /// Line number `n`, counted from 1, of those with `text` in them.
    pub fn wait_for_nth(&self, text: &str, n: usize) -> String {
        let find = |state: &Written| {
            state.text.lines().filter(|l| l.contains(text)).nth(n - 1).map(str::to_owned)
        };
        let state = self.state.lock().unwrap();
        let pending = |state: &mut Written| state.ended < 2 && find(state).is_none();
        let (state, _) = self.grown.wait_timeout_while(state, PATIENCE, pending).unwrap();
        find(&state).unwrap_or_else(|| panic!("the broker did not say {text:?}: {}", state.text))
    }
}

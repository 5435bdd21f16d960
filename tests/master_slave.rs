//! Several brokers, one store: who serves, who waits, and what happens when the lock changes hands.
#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod harness;

use harness::{Output, Peer, command, config, configuration, launch};
use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::thread;
use tempfile::TempDir;

/// The folder that the brokers of a test share.
struct Store(TempDir);

impl Store {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn lock_file(&self) -> PathBuf {
        self.0.path().join("kahadb/lock")
    }

    /// A folder with the configuration of a broker on this store; `attributes` and `locker` are its
    /// `<kahaDB>`'s.
    fn folder(&self, attributes: &str, locker: &str) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let store = self.0.path().join("kahadb");
        let elements = format!(
            "<persistenceAdapter><kahaDB directory='{}' {attributes}>{locker}</kahaDB>\
             </persistenceAdapter>",
            store.display()
        );
        let text = configuration("true", &folder.path().join("data"), "", &elements);
        fs::write(config(folder.path()), text).unwrap();
        folder
    }

    fn start(&self, attributes: &str) -> Node {
        Node::start(self.folder(attributes, ""))
    }
}

/// One broker process. Ends with the test.
struct Node {
    folder: TempDir,
    child: Child,
    output: Arc<Output>,
}

impl Node {
    fn start(folder: TempDir) -> Self {
        let (child, output) = launch(folder.path());
        Self { folder, child, output }
    }

    /// Waits until it is a slave.
    fn waits(&self) {
        self.output.wait_for("waits in slave mode");
    }

    /// Waits until it serves, and sees that it does.
    fn serves(&self) {
        Peer::connect(self.output.port(), "client").keep_alive();
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end; returns its exit code.
    fn code(&mut self) -> Option<i32> {
        self.output.wait_for_end();
        self.child.wait().unwrap().code()
    }

    fn log(&self) -> String {
        log(self.folder.path())
    }

    /// Whether the process has a listening TCP socket.
    fn listens(&self) -> bool {
        let process = PathBuf::from(format!("/proc/{}", self.child.id()));
        let links = fs::read_dir(process.join("fd")).unwrap().flatten();
        let links: Vec<_> = links.filter_map(|fd| fs::read_link(fd.path()).ok()).collect();
        let tables = ["net/tcp", "net/tcp6"].map(|table| fs::read_to_string(process.join(table)));
        tables.into_iter().flatten().any(|table| {
            table.lines().skip(1).any(|line| {
                let fields: Vec<_> = line.split_whitespace().collect();
                let socket = format!("socket:[{}]", fields[9]);
                fields[3] == LISTEN && links.iter().any(|link| link == Path::new(&socket))
            })
        })
    }
}

/// The state of a socket as `/proc/net/tcp` writes it.
const LISTEN: &str = "0A";

impl Drop for Node {
    fn drop(&mut self) {
        // Errors mean that it has ended.
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            eprintln!("{}{}", self.output.text(), self.log());
        }
    }
}

fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("data/broker.log")).unwrap_or_default()
}

#[test]
fn a_slave_waits_without_a_port_and_takes_over_from_a_killed_master() {
    let store = Store::new();
    let master = store.start("");
    master.serves();
    assert!(master.listens());
    let slave = store.start("");
    slave.waits();
    assert!(!slave.listens());
    let waits = format!(
        "Database {} is locked by another server. This broker is now in slave mode waiting a lock to \
         be acquired",
        store.lock_file().display()
    );
    assert_eq!(slave.log().matches(&waits).count(), 1);

    master.signal(Signal::KILL);
    slave.serves();
    let log = slave.log();
    assert_eq!(log.matches(&waits).count(), 1, "said once, however often it tried");
    assert!(log.contains("This broker is now the master"), "{log}");
    assert!(!log.contains("ERROR"), "{log}");
}

#[test]
fn a_master_that_stops_leaves_the_store_to_the_slave() {
    let store = Store::new();
    let mut master = store.start("");
    master.serves();
    let slave = store.start("databaseLockedWaitDelay='20'");
    slave.waits();
    master.signal(Signal::TERM);
    slave.serves();
    assert_eq!(master.code(), Some(0));
}

#[test]
fn fail_if_locked_ends_the_second_broker_with_a_reason() {
    let store = Store::new();
    let master = store.start("");
    master.serves();
    let locker = "<locker><shared-file-locker failIfLocked='true'/></locker>";
    let mut second = Node::start(store.folder("", locker));
    assert_eq!(second.code(), Some(1));
    let text = second.output.text();
    assert!(text.contains("is locked by another server, and failIfLocked is set"), "{text}");
    assert!(!second.log().contains("slave mode"));
}

#[test]
fn without_use_lock_nothing_is_locked() {
    let store = Store::new();
    let node = store.start("useLock='false'");
    node.serves();
    assert!(!store.lock_file().exists());
    assert!(node.log().contains("is not locked"), "{}", node.log());
}

#[test]
fn a_java_broker_on_the_store_is_waited_for() {
    let store = Store::new();
    fs::create_dir(store.lock_file().parent().unwrap()).unwrap();
    // What Java's `FileChannel.tryLock` does.
    let java = File::create(store.lock_file()).unwrap();
    fcntl_lock(&java, FlockOperation::NonBlockingLockExclusive).unwrap();
    let slave = store.start("");
    slave.waits();
    drop(java);
    slave.serves();
}

#[test]
fn a_locker_may_have_a_directory_of_its_own() {
    let store = Store::new();
    let locks = store.0.path().join("locks");
    let locker = format!(
        "<locker><shared-file-locker directory='{}' lockAcquireSleepInterval='50'/></locker>",
        locks.display()
    );
    let master = Node::start(store.folder("", &locker));
    master.serves();
    assert!(locks.join("lock").exists() && !store.lock_file().exists());
    let slave = Node::start(store.folder("", &locker));
    slave.waits();
}

#[test]
fn a_slave_that_is_told_to_stop_ends_well() {
    let store = Store::new();
    let master = store.start("");
    master.serves();
    let mut slave = store.start("");
    slave.waits();
    slave.signal(Signal::TERM);
    assert_eq!(slave.code(), Some(0));
    master.serves();
}

#[test]
fn a_master_whose_lock_file_is_deleted_is_a_slave_of_the_one_that_takes_over() {
    let store = Store::new();
    let mut master = store.start("lockKeepAlivePeriod='50'");
    master.serves();
    let mut slave = store.start("lockKeepAlivePeriod='50' databaseLockedWaitDelay='10'");
    slave.waits();
    let mut client = Peer::connect(master.output.port(), "witness");
    // Awake it might notice first, and have the new lock as soon as it has started again.
    master.signal(Signal::STOP);
    fs::remove_file(store.lock_file()).unwrap();
    slave.serves();
    master.signal(Signal::CONT);
    client.closes();
    master.output.wait_for("Restarting broker");
    master.waits();
    assert!(!master.listens());
    let log = master.log();
    assert_eq!(log.matches("the lock is lost").count(), 1, "{log}");
    assert!(log.contains("is shutdown"), "{log}");

    slave.signal(Signal::KILL);
    slave.output.wait_for_end();
    assert_eq!(slave.child.wait().unwrap().code(), None);
    master.output.wait_for_nth("Connector openwire listens at", 2);
    assert!(master.listens());
    master.signal(Signal::TERM);
    assert_eq!(master.code(), Some(0));
}

#[test]
fn a_master_that_lost_its_lock_ends_where_it_may_not_restart() {
    let store = Store::new();
    let folder = store.folder("lockKeepAlivePeriod='50'", "");
    let path = config(folder.path());
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("<broker ", "<broker restartAllowed='false' ")).unwrap();
    let mut master = Node::start(folder);
    master.serves();
    fs::remove_file(store.lock_file()).unwrap();
    assert_eq!(master.code(), Some(1));
    let log = master.log();
    assert!(log.contains("is shutdown"), "{log}");
}

#[test]
fn a_slave_in_the_background_lets_its_parent_go() {
    let store = Store::new();
    let master = store.start("");
    master.serves();
    let background = Background(store.folder("", ""));
    let started = background.run(&["start", "--daemon"]);
    let text = String::from_utf8(started.stdout).unwrap();
    assert!(started.status.success() && text.contains("waits in slave mode"), "{text}");
    let stopped = background.run(&["stop"]);
    assert!(stopped.status.success(), "{stopped:?}");
    let log = log(background.0.path());
    assert!(log.contains("Stopped before the broker was up"), "{log}");
}

/// The folder of a broker in the background, which ends with the test.
struct Background(TempDir);

impl Background {
    fn run(&self, arguments: &[&str]) -> std::process::Output {
        command(self.0.path(), arguments).output().unwrap()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.run(&["kill"]);
    }
}

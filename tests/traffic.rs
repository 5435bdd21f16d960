//! `broker producer` and `broker consumer` from outside: real processes and a real broker.
#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod harness;

use broker::client::{Connection, ConsumerOptions, body_text};
use broker::jms::Destination;
use harness::{Broker, PATIENCE};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, ChildStdout, Command, Stdio};
use tokio::time::timeout;

/// A command that has ended.
struct Outcome {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Outcome {
    /// What `consumer-1` printed, in order.
    fn received(&self) -> Vec<&str> {
        self.out.lines().filter_map(|line| line.split_once("Received ")).map(|(_, m)| m).collect()
    }

    #[track_caller]
    fn assert_says(&self, text: &str) {
        assert!(
            self.out.contains(text) || self.err.contains(text),
            "{text}: {}{}",
            self.out,
            self.err
        );
    }
}

/// A command that runs; killed if a test fails before it has ended.
struct Running {
    child: Child,
    /// Standard output, until the test lets go of it.
    out: Option<BufReader<ChildStdout>>,
    read: String,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_broker"))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = child.stdout.take().map(BufReader::new);
        Self { child, out, read: String::new() }
    }

    /// Reads standard output up to the line with `text`.
    fn wait_for(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            let len = self.out.as_mut().unwrap().read_line(&mut line).unwrap();
            assert!(len > 0, "ended without saying {text:?}: {}", self.read);
            self.read.push_str(&line);
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn end(mut self) -> Outcome {
        let mut out = std::mem::take(&mut self.read);
        self.out.take().unwrap().read_to_string(&mut out).unwrap();
        let mut err = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        Outcome { code: self.child.wait().unwrap().code(), out, err }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A command on `broker`, with arguments as they are typed.
fn start(broker: &Broker, line: &str) -> Running {
    let uri = broker.uri("");
    let mut arguments: Vec<_> = line.split_whitespace().collect();
    arguments.extend(["--brokerUrl", &uri]);
    Running::start(&arguments)
}

fn run(broker: &Broker, line: &str) -> Outcome {
    start(broker, line).end()
}

#[track_caller]
fn done(broker: &Broker, line: &str) -> Outcome {
    let outcome = run(broker, line);
    assert_eq!(outcome.code, Some(0), "{line}: {}{}", outcome.out, outcome.err);
    outcome
}

fn numbered(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("test message: {number}")).collect()
}

/// Everything in the queue TEST, which is empty then.
async fn drain(broker: &Broker) -> Vec<String> {
    let connection = Connection::open(&broker.uri("")).await.unwrap();
    let session = connection.session().await.unwrap();
    let options = ConsumerOptions { prefetch: 0, ..ConsumerOptions::default() };
    let mut consumer = session.consumer(Destination::queue("TEST"), options).await.unwrap();
    let mut texts = Vec::new();
    loop {
        consumer.pull(-1).await.unwrap();
        let dispatch = timeout(PATIENCE, consumer.receive()).await.expect("an answer").unwrap();
        let Some(message) = &dispatch.message else { break };
        texts.push(body_text(message).unwrap());
        consumer.ack(&dispatch).await.unwrap();
    }
    connection.close().await.unwrap();
    texts
}

#[test]
fn help_teaches() {
    for command in ["producer", "consumer"] {
        let help = Running::start(&[command, "--help"]).end();
        assert_eq!(help.code, Some(0));
        for part in ["Examples:", "Exit codes:", "--brokerUrl <URL>", "--messageCount <N>"] {
            help.assert_says(part);
        }
    }
}

#[test]
fn a_consumer_receives_in_order_what_a_producer_sent() {
    let broker = Broker::start();
    let sent = done(&broker, "producer --messageCount 2000");
    sent.assert_says(" INFO | Producing messages to queue://TEST\n");
    sent.assert_says(" INFO | Using persistent messages\n");
    sent.assert_says(" INFO | producer-1 Produced: 2000 messages\n");
    sent.assert_says(" INFO | Total: 2000 messages in ");
    for mode in ["AUTO_ACKNOWLEDGE", "CLIENT_ACKNOWLEDGE", "dups_ok_acknowledge"] {
        let line = format!("consumer --messageCount 500 --ackMode {mode} --batchSize 300");
        let received = done(&broker, &line);
        let begin = received.received()[0].rsplit_once(' ').unwrap().1.parse().unwrap();
        assert_eq!(received.received(), numbered(begin..begin + 500), "{mode}");
        received.assert_says(" INFO | consumer-1 Consumed: 500 messages\n");
        received.assert_says(" INFO | Total: 500 messages in ");
    }
    let rest = done(&broker, "consumer --messageCount 500 --transactionBatchSize 300");
    assert_eq!(rest.received(), numbered(1500..2000));
    rest.assert_says("consumer-1 Committing transaction: 1\n");
    let none = done(&broker, "consumer --messageCount 1 --breakOnNull true --receiveTimeOut 1");
    none.assert_says(" INFO | Total: 0 messages in ");
}

#[test]
fn bodies_are_as_they_were_chosen() {
    let broker = Broker::start();
    done(&broker, "producer --messageCount 1 --message hello --persistent false --msgTTL 600000");
    done(&broker, "producer --messageCount 1 --textMessageSize 11");
    done(&broker, "producer --messageCount 1 --messageSize 5");
    done(&broker, "producer --messageCount 1 --payload=-x");
    let received = done(&broker, "consumer --messageCount 4 --bytesAsText true");
    let texts = received.received();
    assert_eq!((texts[0], texts[1], texts[3]), ("hello", "Lorem ipsum", "-x"));
    assert!(texts[2].starts_with("ID:"), "{}", texts[2]);
    received.assert_says(" INFO | BytesMessage as text string: .....\n");
    let two = run(&broker, "producer --message a --messageSize 1");
    assert_eq!((two.code, two.err.contains("cannot be used with")), (Some(1), true));
}

#[test]
fn a_selector_chooses_and_leaves_the_rest() {
    let broker = Broker::start();
    done(&broker, "producer --messageCount 3 --msgGroupID a --message of-a");
    done(&broker, "producer --messageCount 3 --msgGroupID b --message of-b");
    let chosen = done(&broker, "consumer --messageCount 3 --selector JMSXGroupID='b'");
    assert_eq!(chosen.received(), ["of-b"; 3]);
    let rest = done(&broker, "consumer --messageCount 3");
    assert_eq!(rest.received(), ["of-a"; 3]);
}

#[test]
fn parallel_threads_each_do_all_of_the_work() {
    let broker = Broker::start();
    let sent = done(&broker, "producer --messageCount 50 --parallelThreads 4");
    sent.assert_says(" INFO | Running 4 parallel threads\n");
    sent.assert_says(" INFO | producer-4 Produced: 50 messages\n");
    sent.assert_says(" INFO | Total: 200 messages in ");
    let received = done(&broker, "consumer --messageCount 200");
    let mut texts = received.received();
    texts.sort_unstable();
    let mut wanted = vec![numbered(0..50); 4].concat();
    wanted.sort_unstable();
    assert_eq!(texts, wanted);
}

#[test]
fn a_durable_subscription_keeps_what_comes_meanwhile() {
    let broker = Broker::start();
    let durable = "consumer --destination topic://NEWS --durable true --clientId reader";
    let mut first = start(&broker, &format!("{durable} --messageCount 1"));
    first.wait_for("wait until 1 messages are consumed");
    done(&broker, "producer --destination topic://NEWS --messageCount 1 --message first");
    let first = first.end();
    assert_eq!((first.received(), first.code), (vec!["first"], Some(0)));
    done(&broker, "producer --destination topic://NEWS --messageCount 5");
    let second = done(&broker, &format!("{durable} --messageCount 5"));
    assert_eq!(second.received(), numbered(0..5));
}

#[tokio::test]
async fn an_interrupted_producer_rolls_back_the_transaction_it_is_in() {
    let broker = Broker::start();
    // Where the signal finds it is up to the scheduler; nearly always it is within the second transaction.
    for _ in 0..20 {
        let line = "producer --messageCount 1000000 --transactionBatchSize 100 --sleep 5";
        let mut producer = start(&broker, line);
        producer.wait_for("Committing transaction: 0");
        done(&broker, "consumer --messageCount 100");
        producer.signal(Signal::INT);
        let ended = producer.end();
        assert_eq!(ended.code, Some(130), "{}{}", ended.out, ended.err);
        ended.assert_says(" INFO | Interrupted\n");
        let sent = 100 + drain(&broker).await.len();
        assert_eq!(sent % 100, 0);
        ended.assert_says(&format!(" INFO | Total: {sent} messages in "));
        if ended.out.contains(" messages were rolled back\n") {
            return;
        }
    }
    panic!("no signal has met an open transaction");
}

#[test]
fn an_interrupted_consumer_gives_back_what_is_not_acknowledged() {
    for (mode, signal) in [
        ("--transactionBatchSize 7", Signal::INT),
        ("--ackMode CLIENT_ACKNOWLEDGE --batchSize 7", Signal::TERM),
    ] {
        let broker = Broker::start();
        done(&broker, "producer --messageCount 20");
        let mut consumer = start(&broker, &format!("consumer --messageCount 100 {mode}"));
        consumer.wait_for("Received test message: 19");
        consumer.signal(signal);
        let ended = consumer.end();
        assert_eq!(ended.code, Some(130), "{}{}", ended.out, ended.err);
        ended.assert_says(" INFO | 6 messages were received and given back\n");
        ended.assert_says(" INFO | Total: 14 messages in ");
        let rest = done(&broker, "consumer --messageCount 6");
        assert_eq!(rest.received(), numbered(14..20));
    }
}

#[test]
fn a_consumer_whose_output_nobody_reads_loses_nothing() {
    let broker = Broker::start();
    let mut consumer = start(&broker, "consumer");
    consumer.wait_for("wait until 1000 messages are consumed");
    consumer.out = None;
    done(&broker, "producer --messageCount 1");
    assert_eq!(consumer.child.wait().unwrap().code(), Some(130));
    assert_eq!(done(&broker, "consumer --messageCount 1").received(), numbered(0..1));
}

#[test]
fn a_broker_that_is_not_there_is_told_at_once() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for command in ["producer", "consumer"] {
        let alone = Running::start(&[command, "--brokerUrl", &format!("tcp://{nobody}")]).end();
        assert_eq!(alone.code, Some(1));
        let told = format!("ERROR: no broker can be reached: cannot connect to {nobody}: ");
        assert!(alone.err.starts_with(&told), "{}", alone.err);
    }
    let broker = Broker::start();
    let uri = format!("failover:(tcp://{nobody},{})?randomize=false", broker.uri(""));
    let second = Running::start(&["producer", "--messageCount", "1", "--brokerUrl", &uri]).end();
    assert_eq!(second.code, Some(0), "{}", second.err);
}

#[test]
fn a_refused_login_is_told() {
    let broker = Broker::start_with(
        r#"<plugins><simpleAuthenticationPlugin><users>
             <authenticationUser username="app" password="secret" groups="users"/>
           </users></simpleAuthenticationPlugin></plugins>"#,
    );
    for login in ["--user app --password wrong", ""] {
        let refused = run(&broker, &format!("producer --messageCount 1 {login}"));
        assert_eq!(refused.code, Some(1));
        let told = format!("ERROR: {} refuses the login of ", broker.address());
        assert!(refused.err.starts_with(&told), "{}", refused.err);
    }
    done(&broker, "producer --messageCount 1 --user app --password secret");
}

#[test]
fn mistakes_are_told_before_anything_is_sent() {
    let broker = Broker::start();
    for (line, told) in [
        ("producer --mesageCount 1", "'--messageCount'"),
        ("consumer --clientID x", "'--clientId'"),
        ("producer --destination temp-queue://A", "a temporary destination belongs to"),
        ("producer --payloadUrl /nowhere", "cannot read '/nowhere'"),
        ("producer --parallelThreads 0", "0 is not in 1..=1000"),
        ("consumer --ackMode NO_ACKNOWLEDGE", "AUTO_ACKNOWLEDGE"),
        ("consumer --destination topic://A --durable true", "needs a --clientId"),
        (
            "consumer --selector a=",
            "consumer-1 cannot open a consumer: javax.jms.InvalidSelectorException",
        ),
    ] {
        let refused = run(&broker, line);
        assert_eq!(refused.code, Some(1), "{line}");
        assert!(refused.err.contains(told), "{line}: {}", refused.err);
    }
}

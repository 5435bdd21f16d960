//! Where things are, what is found again, and what is refused.

use super::*;
use crate::store::Cancel;
use crate::store::kahadb::KahaDb;

fn queue(name: &str) -> Destination {
    Destination::queue(name)
}

fn subscription(number: u64, topics: &str) -> StoredSubscription {
    StoredSubscription {
        number,
        client: "c".into(),
        name: "n".into(),
        destination: Destination::topic(topics),
        selector: None,
        no_local: false,
    }
}

fn has_journal(disk: &SimulatedDisk, folder: &str) -> bool {
    let entries = disk.list(&Path::new("m").join(folder)).unwrap_or_default();
    entries.iter().any(|entry| entry.name == "db-1.log")
}

fn durable(store: &MultiKahaDb, subscription: u64) -> Vec<i64> {
    let limit = PageLimit { messages: 2, bytes: u64::MAX };
    let mut found = Vec::new();
    walk(
        store,
        |after| Fetch::Durable { subscription, topic: None, after, limit },
        |seq, _| found.push(seq),
    );
    found
}

#[test]
fn a_store_of_one_destination_is_made_when_it_is_first_used_and_found_again() {
    let disk = SimulatedDisk::new(1);
    let store = open(&disk, mixed()).unwrap();
    assert!(has_journal(&disk, "queue#3a#2f#2fQ.A") && has_journal(&disk, "txStore"));
    assert!(sequences(&store, &queue("Q.B")).is_empty());
    submit(&store, vec![StoreOp::Remove { destination: queue("Q.B"), sequence: 1 }]).unwrap();
    assert!(!has_journal(&disk, "queue#3a#2f#2fQ.B"));
    store.submit(Submit {
        ops: vec![add(&queue("Q.B"), 1, Vec::new())],
        durable: false,
        done: Box::new(drop),
    });
    assert_eq!(sequences(&store, &queue("Q.B")), [1], "it waits for the store");
    submit(&store, vec![add(&queue("other"), 2, Vec::new())]).unwrap();
    assert!(has_journal(&disk, "queue#3a#2f#2fQ.B") && has_journal(&disk, "#210"));
    assert_eq!(sequences(&store, &queue("other")), [2]);
    assert_eq!(store.status().messages, 2);
    store.close().unwrap();
    assert!(submit(&store, vec![add(&queue("Q.B"), 3, Vec::new())]).is_err());

    let store = open(&disk.reboot(), mixed()).unwrap();
    let recovered = store.recovered();
    assert_eq!(recovered.last_sequence, 2);
    let names: Vec<&str> = recovered.destinations.iter().map(|d| d.destination.name()).collect();
    assert_eq!(names, ["Q.B", "other"]);
    assert_eq!(sequences(&store, &queue("Q.B")), [1]);
}

#[test]
fn the_store_of_a_removed_destination_goes_with_the_next_start() {
    let disk = SimulatedDisk::new(1);
    let store = open(&disk, mixed()).unwrap();
    let create = |name| StoreOp::Create { destination: queue(name) };
    let ops = ["Q.A", "Q.B", "Q.C"].map(create).to_vec();
    submit(&store, ops).unwrap();
    submit(&store, vec![add(&queue("Q.B"), 1, Vec::new())]).unwrap();
    let delete = |name| StoreOp::Delete { destination: queue(name) };
    submit(&store, ["Q.A", "Q.B"].map(delete).to_vec()).unwrap();
    store.close().unwrap();

    let folders = ["Q.A", "Q.B", "Q.C"].map(|name| format!("queue#3a#2f#2f{name}"));
    let there = |disk: &SimulatedDisk| {
        folders.each_ref().map(|folder| disk.list(&Path::new("m").join(folder)).is_ok())
    };
    assert_eq!(there(&disk), [true, true, true]);
    let store = open(&disk, mixed()).unwrap();
    assert_eq!(there(&disk), [true, false, true], "the one of Q.A is for a filter");
    assert_eq!(store.recovered().destinations.len(), 1);
    submit(&store, vec![add(&queue("Q.B"), 2, Vec::new())]).unwrap();
    assert_eq!(sequences(&store, &queue("Q.B")), [2], "it may come again");
}

#[test]
fn a_destination_with_messages_stays_where_it_is_when_the_filters_change() {
    let disk = SimulatedDisk::new(2);
    let (full, empty) = (queue("full"), queue("empty"));
    let store = open(&disk, options(Vec::new())).unwrap();
    let create = StoreOp::Create { destination: empty.clone() };
    submit(&store, vec![add(&full, 1, Vec::new()), create]).unwrap();
    store.close().unwrap();
    let everything = || options(vec![filtered(None, true)]);
    let store = open(&disk, everything()).unwrap();
    assert_eq!(store.recovered().destinations.len(), 2);
    submit(&store, vec![add(&full, 2, Vec::new()), add(&empty, 3, Vec::new())]).unwrap();
    assert!(!has_journal(&disk, "queue#3a#2f#2ffull") && has_journal(&disk, "queue#3a#2f#2fempty"));
    assert_eq!(sequences(&store, &full), [1, 2]);
    submit(&store, vec![StoreOp::Purge { destination: full.clone(), last: 2 }]).unwrap();
    store.close().unwrap();
    let store = open(&disk, everything()).unwrap();
    assert_eq!(store.recovered().destinations.len(), 2);
    submit(&store, vec![add(&full, 4, Vec::new())]).unwrap();
    assert!(has_journal(&disk, "queue#3a#2f#2ffull"));
    assert_eq!(sequences(&store, &full), [4]);
    assert_eq!(sequences(&store, &empty), [3]);
}

#[test]
fn messages_of_one_destination_in_two_stores_are_refused() {
    let disk = SimulatedDisk::new(3);
    let store = open(&disk, mixed()).unwrap();
    submit(&store, vec![add(&queue("Q.A"), 1, Vec::new())]).unwrap();
    store.close().unwrap();
    let alien = KahaDbOptions { directory: "m/alien".into(), ..small() };
    let fs = Arc::new(disk.clone());
    let kaha = KahaDb::open(fs, alien, FORM, Arc::new(Heard::default())).unwrap();
    let (sender, receiver) = channel();
    let done = Box::new(move |outcome| sender.send(outcome).unwrap());
    kaha.submit(Submit { ops: vec![add(&queue("Q.A"), 2, Vec::new())], durable: true, done });
    receiver.recv().unwrap().unwrap();
    kaha.close().unwrap();
    let error = open(&disk, mixed()).unwrap_err().to_string();
    assert_eq!(error, "queue://Q.A is in m/queue#3a#2f#2fQ.A and in m/alien");
}

#[test]
fn a_durable_subscription_is_known_in_every_store_of_its_topics() {
    let disk = SimulatedDisk::new(4);
    let each = || options(vec![filtered(None, true)]);
    let store = open(&disk, each()).unwrap();
    let topic = |name: &str| Destination::topic(name);
    submit(&store, vec![add(&topic("T.before"), 1, Vec::new())]).unwrap();
    let subscribed = [(1, "T.>"), (2, "T.after, U")].map(|(n, topics)| subscription(n, topics));
    submit(&store, subscribed.into_iter().map(StoreOp::Subscribe).collect()).unwrap();
    for (sequence, name, wanted) in [
        (2, "T.after", vec![1, 2]),
        (3, "T.before", vec![1]),
        (4, "U", vec![2]),
        (5, "T.x", vec![1]),
    ] {
        submit(&store, vec![add(&topic(name), sequence, wanted)]).unwrap();
    }
    let check = |store: &MultiKahaDb| {
        assert_eq!(durable(store, 1), [2, 3, 5]);
        assert_eq!(durable(store, 2), [2, 4]);
    };
    check(&store);
    drop(store);
    let store = open(&disk, each()).unwrap();
    let pending: Vec<u64> = store.recovered().subscriptions.iter().map(|s| s.pending).collect();
    assert_eq!(pending, [3, 2]);
    check(&store);
    submit(&store, vec![StoreOp::Unsubscribe { subscription: 1 }]).unwrap();
    drop(store);
    let recovered = open(&disk, each()).unwrap().recovered();
    assert_eq!(recovered.subscriptions.len(), 1);
    assert_eq!(recovered.last_subscription, 2);
}

#[test]
fn one_store_that_fails_stops_all_and_says_so_once() {
    let (disk, heard) = (SimulatedDisk::new(5), Arc::new(Heard::default()));
    let store = MultiKahaDb::open(Arc::new(disk.clone()), mixed(), FORM, heard.clone()).unwrap();
    submit(&store, vec![add(&queue("Q.A"), 1, Vec::new())]).unwrap();
    disk.power_fails_at(disk.steps());
    submit(&store, vec![add(&queue("Q.A"), 2, Vec::new())]).unwrap_err();
    submit(&store, vec![add(&queue("Q.B"), 3, Vec::new())]).unwrap_err();
    let both = vec![add(&queue("Q.A"), 4, Vec::new()), add(&queue("Q.C"), 5, Vec::new())];
    submit(&store, both).unwrap_err();
    fetch(&store, Fetch::Exactly { destination: queue("Q.B"), sequences: vec![3] }).unwrap_err();
    assert_eq!(heard.failures.lock().len(), 1);
    store.close().unwrap_err();
    drop(store);
    let store = open(&disk.reboot(), mixed()).unwrap();
    assert_eq!(sequences(&store, &queue("Q.A"))[..1], [1]);
}

#[test]
fn a_full_disk_refuses_all_of_a_submit_and_takes_removals() {
    let disk = SimulatedDisk::new(6);
    let store = open(&disk, mixed()).unwrap();
    let (first, second) = (queue("Q.A"), queue("Q.B"));
    submit(&store, vec![add(&first, 1, Vec::new()), add(&second, 2, Vec::new())]).unwrap();
    disk.has_space(0);
    let mut sequence = 2;
    let mut send = |to: &[&Destination]| {
        let ops = to.iter().map(|queue| {
            sequence += 1;
            add(queue, sequence, Vec::new())
        });
        submit(&store, ops.collect())
    };
    while send(&[&first]).is_ok() {}
    let before = (sequences(&store, &first), sequences(&store, &second));
    assert!(matches!(send(&[&second, &first]), Err(StoreError::NoSpace(_))));
    assert_eq!((sequences(&store, &first), sequences(&store, &second)), before);
    let remove = |destination: &Destination, sequence| StoreOp::Remove {
        destination: destination.clone(),
        sequence,
    };
    submit(&store, vec![remove(&first, 1), remove(&second, 2)]).unwrap();
    assert!(sequences(&store, &second).is_empty());
    disk.has_space(usize::MAX);
    store.close().unwrap();
    let store = open(&disk, mixed()).unwrap();
    assert_eq!(sequences(&store, &first), before.0[1..]);
}

#[test]
fn a_store_may_use_what_the_others_leave() {
    let shares = |limit| limits(limit, &[60, 30, 0]).collect::<Vec<u64>>();
    assert_eq!(shares(100), [70, 40, 10]);
    assert_eq!(shares(20), [1, 1, 1], "a limit that is passed is not none");
    assert_eq!(shares(0), [0, 0, 0]);
}

#[test]
fn what_was_taken_back_or_is_too_large_is_in_no_store() {
    let disk = SimulatedDisk::new(7);
    let store = open(&disk, mixed()).unwrap();
    let cancel = Cancel::default();
    assert!(cancel.cancel());
    let mut taken_back = add(&queue("Q.B"), 1, Vec::new());
    if let StoreOp::Add(add) = &mut taken_back {
        add.cancel = Some(cancel);
    }
    submit(&store, vec![taken_back, add(&queue("Q.A"), 2, Vec::new())]).unwrap();
    assert!(sequences(&store, &queue("Q.B")).is_empty());
    let long = queue(&"x".repeat(70_000));
    let ops = vec![add(&queue("Q.A"), 3, Vec::new()), add(&long, 4, Vec::new())];
    assert!(matches!(submit(&store, ops), Err(StoreError::TooLarge(_))));
    assert_eq!(sequences(&store, &queue("Q.A")), [2]);
}

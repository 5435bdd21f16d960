//! What benches of the store share: a journal and a store in a folder, and work for them.

use super::Outcome;
use broker::jms::{Destination, Message, MessageId, ProducerId};
use broker::store::kahadb::fs::real::RealFilesystem;
use broker::store::kahadb::journal::{
    Files, FilesOptions, Gaps, Identity, Journal, JournalOptions, OnDamage, Scan, SpaceWatch,
    StoreId, SyncPolicy,
};
use broker::store::kahadb::{Fence, KahaDb, KahaDbOptions};
use broker::store::{
    Fetch, MessageForm, Page, PageLimit, Store, StoreError, StoreEvents, StoreOp, StoredAdd, Submit,
};
use bytes::{BufMut, Bytes};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Bytes of a stored message.
pub(crate) const BODY_BYTES: usize = 1024;
/// Submits under way of a producer that does not wait for each.
const WINDOW: usize = 64;
/// Messages of a page.
pub(crate) const PAGE: usize = 200;

struct Nobody;

impl StoreEvents for Nobody {
    fn bytes_used(&self, _: u64) {}

    fn failed(&self, error: &StoreError) {
        eprintln!("{error}");
    }
}

/// The body alone: what a protocol makes of a message is not the store's work.
const FORM: MessageForm = MessageForm {
    version: 12,
    encode: |message, out| out.put_slice(message.content.as_deref().unwrap_or_default()),
    decode: |bytes| Some(Arc::new(Message { content: Some(bytes), ..Message::default() })),
};

pub(crate) fn open(folder: &Path) -> Outcome<Arc<KahaDb>> {
    let options = KahaDbOptions { directory: folder.into(), ..KahaDbOptions::default() };
    Ok(KahaDb::open(Arc::new(RealFilesystem), options, FORM, Arc::new(Nobody))?)
}

/// An empty journal in `folder`.
pub(crate) fn journal(folder: &Path) -> Outcome<Journal> {
    let files = Arc::new(Files::open(
        Arc::new(RealFilesystem),
        FilesOptions {
            folder: folder.join("store"),
            file_bytes: 32 << 20,
            archive: folder.join("archive"),
            sync: SyncPolicy::Always,
        },
    )?);
    let scan = Scan::from_start(files.clone(), Gaps::default(), OnDamage::Refuse)?;
    let options = JournalOptions {
        identity: Identity { store_id: StoreId::random()?, epoch: 1, lock_generation: 1 },
        node: "bench".into(),
        batch_bytes_max: 4 << 20,
        sync: SyncPolicy::Always,
        fence: Fence::default(),
        lead_below: Duration::ZERO,
        space_retry: Duration::from_secs(1),
        space: SpaceWatch::default(),
    };
    Ok(Journal::open(files, scan.mark(), options, Box::new(drop))?)
}

pub(crate) fn add(destination: &Destination, sequence: i64, body: &Bytes) -> StoreOp {
    let producer = ProducerId { connection: Some("ID:bench".into()), session: 1, value: 1 };
    let id =
        MessageId { producer: Some(producer), producer_sequence: sequence, ..MessageId::default() };
    let message =
        Message { message_id: Some(id), content: Some(body.clone()), ..Message::default() };
    let (message, subscribers) = (Arc::new(message), Vec::new());
    let destination = destination.clone();
    StoreOp::Add(StoredAdd { destination, sequence, band: 0, message, subscribers, cancel: None })
}

/// Submits what `ops` makes, `WINDOW` at a time, until it makes nothing more.
pub(crate) fn feed(store: &KahaDb, mut ops: impl FnMut() -> Option<Vec<StoreOp>>) -> Outcome<()> {
    let (done, answers) = mpsc::channel();
    let mut waiting = 0;
    loop {
        let next = ops();
        let limit = if next.is_some() { WINDOW } else { 1 };
        while waiting >= limit {
            answers.recv()??;
            waiting -= 1;
        }
        let Some(ops) = next else { return Ok(()) };
        let done = done.clone();
        let done = Box::new(move |outcome| done.send(outcome).unwrap_or(()));
        store.submit(Submit { ops, durable: true, done });
        waiting += 1;
    }
}

pub(crate) fn fetch(store: &KahaDb, queue: &Destination, after: i64) -> Outcome<Page> {
    let (done, page) = mpsc::channel();
    let limit = PageLimit { messages: PAGE, bytes: 1 << 20 };
    let done = Box::new(move |answer| done.send(answer).unwrap_or(()));
    store.fetch(Fetch::Queue { destination: queue.clone(), band: 0, after, limit }, done);
    Ok(page.recv()??)
}

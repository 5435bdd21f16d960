//! How fast the journal takes messages, beside what the disk can do at all.
//!
//! `cargo bench --bench journal [folder]`: files go to a temporary folder there, by default the
//! system's. Rounds alternate between loads, and medians are told, for other users of the disk
//! make single rounds differ by far more than the loads do.

mod support;

use broker::store::kahadb::journal::{Add, Record, Submit, Wish};
use bytes::Bytes;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use support::Outcome;

const ROUND: Duration = Duration::from_secs(1);
const ROUNDS: usize = 5;
const MESSAGE_BYTES: usize = 1024 + 120;

fn main() -> Outcome<()> {
    let base = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let base = base.map_or_else(std::env::temp_dir, Into::into);
    let folder = tempfile::tempdir_in(base)?;
    // (producers, messages that each has under way)
    let loads = [(1, 1), (8, 1), (32, 1), (4, 200)];
    let mut rates = vec![Vec::new(); loads.len() + 1];
    for _ in 0..ROUNDS {
        rates[0].push(bare_syncs(folder.path())?);
        for (rate, (producers, window)) in rates[1..].iter_mut().zip(loads) {
            rate.push(journal(folder.path(), producers, window)?);
        }
    }
    let median = |mut rates: Vec<f64>| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    };
    let mut rates = rates.into_iter().map(median);
    println!("bare 4 KiB overwrite + fdatasync: {:8.0}/s", rates.next().unwrap_or_default());
    for ((producers, window), rate) in loads.into_iter().zip(rates) {
        println!("{producers:3} producers, window {window:3}:      {rate:8.0} messages/s");
    }
    Ok(())
}

/// Syncs per second of written blocks.
fn bare_syncs(folder: &Path) -> Outcome<f64> {
    let file = File::create(folder.join("bare"))?;
    file.write_all_at(&vec![0; 32 << 20], 0)?;
    file.sync_all()?;
    let (start, mut count) = (Instant::now(), 0_u32);
    while start.elapsed() < ROUND {
        file.write_all_at(&[1; 4096], u64::from(count % 8192) * 4096)?;
        file.sync_data()?;
        count += 1;
    }
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}

/// Messages per second that were answered as durable.
fn journal(folder: &Path, producers: usize, window: usize) -> Outcome<f64> {
    let folder = tempfile::tempdir_in(folder)?;
    let journal = support::store::journal(folder.path())?;
    let message = Bytes::from(vec![7; MESSAGE_BYTES]);
    let start = Instant::now();
    let produce = || {
        let (done, answers) = mpsc::channel();
        let (mut sent, mut answered) = (0_usize, 0_usize);
        while start.elapsed() < ROUND {
            while sent < answered + window {
                let add = Add { seq: sent as u64, message: message.clone(), ..Add::default() };
                let done = done.clone();
                journal.submit(Submit {
                    operations: vec![Record::Add(add).into()],
                    wish: Wish::Durable,
                    done: Box::new(move |end| done.send(end.is_ok()).unwrap_or(())),
                });
                sent += 1;
            }
            answered += usize::from(answers.recv().is_ok());
            answered += answers.try_iter().count();
        }
        answered
    };
    let answered: usize = std::thread::scope(|scope| {
        let producers: Vec<_> = (0..producers).map(|_| scope.spawn(produce)).collect();
        producers.into_iter().filter_map(|producer| producer.join().ok()).sum()
    });
    Ok(answered as f64 / start.elapsed().as_secs_f64())
}

//! Damage is found, or does no harm; it never panics and never shows wrong rows.

use super::super::storage::PageStorage;
use super::disk::Fate;
use super::*;

/// A settled index, or one whose last checkpoint waits in db.redo, and what is in it.
fn filled(settled: bool) -> (Disk, Model) {
    let mut random = Random(3);
    let disk = Disk::default();
    let mut index = open(&disk, small_pages());
    let mut model = Model::new();
    for round in 0..6 {
        let steps = batch(&mut random, 60, 600, [20, 900][round % 2]);
        apply_to_model(&mut model, &steps);
        apply(&mut index, &steps, &Record::default()).expect("applied");
    }
    if settled {
        index.settle().expect("settled");
    }
    (disk, model)
}

fn survive(disk: &Disk, model: &Model, what: &str) -> bool {
    let mut index = match PagedIndex::open(disk, small_pages()).expect("a working disk") {
        Opened::Replay(index, _) => index,
        Opened::Damaged(_) => return false,
        Opened::Fresh(_) | Opened::Clean(..) => panic!("{what}: an index that never was"),
    };
    let reader = index.reader();
    let shown = rows(&reader, reader.version());
    let verdict = index.verify().expect("a working disk");
    match shown {
        Ok(rows) => assert_eq!(&rows, model, "{what}"),
        Err(IndexError::Damaged(damage)) => {
            assert!(!verdict.damage.is_empty(), "{what}: {damage} but verify finds nothing");
        }
        Err(other) => panic!("{what}: {other}"),
    }
    for n in 0..50 {
        match reader.get(reader.version(), &key(n * 12)) {
            Ok(value) => assert_eq!(value.as_ref(), model.get(&key(n * 12)), "{what}"),
            Err(IndexError::Damaged(_)) => {}
            Err(other) => panic!("{what}: {other}"),
        }
    }
    let steps = [Step::Range(Vec::new(), vec![255])];
    match apply(&mut index, &steps, &Record::default()) {
        Ok(_) | Err(IndexError::Damaged(_)) => {}
        Err(other) => panic!("{what}: {other}"),
    }
    verdict.damage.is_empty()
}

#[test]
fn a_flipped_bit_is_found_or_harmless() {
    let mut random = Random(8);
    let mut found = 0;
    for settled in [true, false] {
        for _ in 0..400 * scale() {
            let (disk, model) = filled(settled);
            let file = ["db.data", "db.redo", "db.free"][random.below(3) as usize];
            let at = random.below(disk.file_len(file) as u64) as usize;
            let bit = 1 << random.below(8);
            disk.damage(file, |bytes| bytes[at] ^= bit);
            found += u32::from(!survive(&disk, &model, &format!("{file} byte {at}")));
        }
    }
    assert!(found > 50, "{found}");
}

#[test]
fn every_byte_of_the_meta_page_matters_and_every_header_byte_is_checked() {
    let (disk, model) = filled(true);
    for (file, bytes) in [("db.data", 190), ("db.redo", 32)] {
        for at in 0..bytes {
            disk.damage(file, |bytes| bytes[at] ^= 0x10);
            survive(&disk.reboot(Fate::Kept), &model, &format!("{file} byte {at}"));
            disk.damage(file, |bytes| bytes[at] ^= 0x10);
        }
    }
    assert!(survive(&disk, &model, "mended"));
}

#[test]
fn cut_swapped_zeroed_and_missing_files_are_found() {
    for settled in [true, false] {
        let (disk, model) = filled(settled);
        let pages = disk.file_len("db.data") / 1024;
        let copy = || disk.reboot(Fate::Kept);
        for page in 1..pages {
            let (from, to) = (page * 1024, page * 1024 + 1024);
            let zeroed = copy();
            zeroed.damage("db.data", |bytes| bytes[from..to].fill(0));
            survive(&zeroed, &model, "zeroed");
            let misdirected = copy();
            misdirected.damage("db.data", |bytes| bytes.copy_within(1024..2048, from));
            survive(&misdirected, &model, "misdirected");
            let cut = copy();
            cut.damage("db.data", |bytes| bytes.truncate(from));
            survive(&cut, &model, "cut");
        }
        for file in ["db.data", "db.redo"] {
            let missing = copy();
            missing.remove(file).expect("there");
            assert!(!survive(&missing, &model, file), "{file} is missing");
        }
        let missing = copy();
        missing.remove("db.free").expect("there");
        assert!(survive(&missing, &model, "db.free can be made again"));
        let index = open(&missing, small_pages());
        assert_eq!(index.stats().free_pages + 1, index.stats().pages);
    }
}

/// Pages with a good checksum and nonsense inside.
#[test]
fn nonsense_behind_a_good_checksum_does_not_panic() {
    let mut random = Random(12);
    let (disk, _) = filled(true);
    let pages = disk.file_len("db.data") as u64 / 1024;
    for round in 0..2000 * scale() {
        let _case = Case(round);
        let disk = disk.reboot(Fate::Kept);
        disk.damage("db.data", |bytes| {
            for _ in 0..1 + random.below(3) {
                let page = random.below(pages) as usize * 1024;
                let page = &mut bytes[page..page + 1024];
                if page.iter().all(|&byte| byte == 0) {
                    continue;
                }
                let at = [4, 16, 17, 18, 20, 24, 30, 60][random.below(8) as usize];
                page[at + random.below(8) as usize] = random.next() as u8;
                let crc = crc32fast::hash(&page[4..]);
                page[..4].copy_from_slice(&crc.to_le_bytes());
            }
        });
        let opened = PagedIndex::open(&disk, small_pages()).expect("a working disk");
        let (Opened::Replay(mut index, _) | Opened::Clean(mut index, _)) = opened else { continue };
        let reader = index.reader();
        drop(rows(&reader, reader.version()));
        drop(index.verify().expect("a working disk"));
        let steps = batch(&mut random, 100, 600, 30);
        drop(apply(&mut index, &steps, &Record::default()));
    }
}

/// The header says that the next checkpoint is complete, but an image of an older one is there.
#[test]
fn an_old_image_in_a_complete_redo_file_is_found() {
    let disk = Disk::default();
    let mut index = open(&disk, small_pages());
    let put = |value| [Step::Put(key(1), vec![value])];
    let mut images = Vec::new();
    for value in 1..3 {
        apply(&mut index, &put(value), &Record::default()).expect("applied");
        disk.damage("db.redo", |bytes| images.push(bytes[4096..4096 + 2048].to_vec()));
    }
    let meta_then_leaf = 4096 + 1024..4096 + 2048;
    disk.damage("db.redo", |bytes| bytes[meta_then_leaf].copy_from_slice(&images[0][1024..]));
    let opened = PagedIndex::open(&disk, small_pages()).expect("a working disk");
    assert!(matches!(opened, Opened::Damaged(Damage { file: "db.redo", .. })));
}

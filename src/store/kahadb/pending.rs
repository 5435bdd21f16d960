//! What a durable subscription has not acknowledged of one topic: a set of sequence numbers.
//!
//! All of it is in memory, in chunks of 4096 numbers, each a short list or a bitmap: at most a bit
//! for each message of a backlog without gaps. A chunk is a row of the index, written when it
//! changed.

use super::fields::Malformed;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
pub(super) struct Pending {
    chunks: BTreeMap<u64, Chunk>,
    /// Chunks that are not what the index has.
    changed: BTreeSet<u64>,
    count: u64,
}

#[derive(Debug)]
enum Chunk {
    /// Ascending.
    Few(Vec<u16>),
    Many {
        bits: Box<[u64; WORDS]>,
        count: u16,
    },
}

impl Pending {
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn contains(&self, seq: u64) -> bool {
        self.chunks.get(&(seq / CHUNK)).is_some_and(|chunk| chunk.contains(place(seq)))
    }

    /// False if it was there.
    pub(super) fn insert(&mut self, seq: u64) -> bool {
        let chunk = self.chunks.entry(seq / CHUNK).or_insert_with(|| Chunk::Few(Vec::new()));
        let is_new = chunk.insert(place(seq));
        if is_new {
            self.count += 1;
            self.changed.insert(seq / CHUNK);
        }
        is_new
    }

    /// False if it was not there.
    pub(super) fn remove(&mut self, seq: u64) -> bool {
        let number = seq / CHUNK;
        let Some(chunk) = self.chunks.get_mut(&number) else { return false };
        if !chunk.remove(place(seq)) {
            return false;
        }
        if chunk.count() == 0 {
            self.chunks.remove(&number);
        }
        self.count -= 1;
        self.changed.insert(number);
        true
    }

    /// Removes all up to `last`.
    pub(super) fn remove_to(&mut self, last: u64) {
        let rest = self.chunks.split_off(&(last / CHUNK));
        for (number, chunk) in std::mem::replace(&mut self.chunks, rest) {
            self.count -= u64::from(chunk.count());
            self.changed.insert(number);
        }
        let gone: Vec<u64> = self.range(0, last).collect();
        for seq in gone {
            self.remove(seq);
        }
    }

    /// Those from `first` to `last`, ascending.
    pub(super) fn range(&self, first: u64, last: u64) -> impl Iterator<Item = u64> {
        let chunks = if first <= last {
            self.chunks.range(first / CHUNK..=last / CHUNK)
        } else {
            self.chunks.range(0..0)
        };
        chunks
            .flat_map(|(number, chunk)| chunk.iter().map(move |at| number * CHUNK + u64::from(at)))
            .skip_while(move |seq| *seq < first)
            .take_while(move |seq| *seq <= last)
    }

    /// How many there are from `first` on.
    pub(super) fn count_from(&self, first: u64) -> u64 {
        let (number, place) = (first / CHUNK, place(first));
        let inside = self.chunks.get(&number).into_iter().flat_map(|chunk| chunk.iter());
        let behind = self.chunks.range(number + 1..).map(|(_, chunk)| u64::from(chunk.count()));
        behind.sum::<u64>() + inside.filter(|at| *at >= place).count() as u64
    }

    /// Chunks that changed since the last call, as rows; none for those that are empty.
    pub(super) fn take_changed(&mut self) -> impl Iterator<Item = (u64, Option<Vec<u8>>)> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|number| (number, self.chunks.get(&number).map(Chunk::encode)))
    }

    /// Numbers of the chunks that the index may have rows of.
    pub(super) fn chunks(&self) -> BTreeSet<u64> {
        self.chunks.keys().chain(&self.changed).copied().collect()
    }

    /// Adds what a row says.
    pub(super) fn load(&mut self, number: u64, row: &[u8]) -> Result<(), Malformed> {
        let chunk = Chunk::decode(row)?;
        if number > u64::MAX / CHUNK {
            return Err(Malformed);
        }
        self.count += u64::from(chunk.count());
        self.chunks.insert(number, chunk);
        Ok(())
    }
}

impl Chunk {
    fn count(&self) -> u16 {
        match self {
            Self::Few(list) => list.len() as u16,
            Self::Many { count, .. } => *count,
        }
    }

    fn contains(&self, at: u16) -> bool {
        match self {
            Self::Few(list) => list.binary_search(&at).is_ok(),
            Self::Many { bits, .. } => bits[usize::from(at) / 64] & 1 << (at % 64) != 0,
        }
    }

    fn insert(&mut self, at: u16) -> bool {
        if let Self::Few(list) = self
            && list.len() >= FEW_MAX
        {
            let (mut bits, count) = (Box::new([0_u64; WORDS]), list.len() as u16);
            list.iter().for_each(|at| bits[usize::from(*at) / 64] |= 1 << (at % 64));
            *self = Self::Many { bits, count };
        }
        match self {
            Self::Few(list) => match list.binary_search(&at) {
                Ok(_) => false,
                Err(place) => {
                    list.insert(place, at);
                    true
                }
            },
            Self::Many { bits, count } => {
                let (word, bit) = (&mut bits[usize::from(at) / 64], 1 << (at % 64));
                let is_new = *word & bit == 0;
                *word |= bit;
                *count += u16::from(is_new);
                is_new
            }
        }
    }

    fn remove(&mut self, at: u16) -> bool {
        match self {
            Self::Few(list) => match list.binary_search(&at) {
                Ok(place) => {
                    list.remove(place);
                    true
                }
                Err(_) => false,
            },
            Self::Many { bits, count } => {
                let (word, bit) = (&mut bits[usize::from(at) / 64], 1 << (at % 64));
                let was_there = *word & bit != 0;
                *word &= !bit;
                *count -= u16::from(was_there);
                was_there
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = u16> {
        let (few, many) = match self {
            Self::Few(list) => (Some(list), None),
            Self::Many { bits, .. } => (None, Some(bits)),
        };
        let bits = many.into_iter().flat_map(|bits| bits.iter().enumerate());
        let many = bits.flat_map(|(i, word)| {
            (0..64).filter(move |bit| word & 1 << bit != 0).map(move |bit| (i * 64 + bit) as u16)
        });
        few.into_iter().flatten().copied().chain(many)
    }

    /// A list of u16, which is shorter than a bitmap, or a bitmap.
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Many { bits, count } if usize::from(*count) > FEW_MAX => {
                bits.iter().flat_map(|word| word.to_le_bytes()).collect()
            }
            _ => self.iter().flat_map(u16::to_le_bytes).collect(),
        }
    }

    fn decode(row: &[u8]) -> Result<Self, Malformed> {
        if row.len() == WORDS * 8 {
            let mut bits = Box::new([0; WORDS]);
            for (word, bytes) in bits.iter_mut().zip(row.chunks_exact(8)) {
                *word = bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
            }
            let count = bits.iter().map(|word| word.count_ones() as u16).sum();
            return Ok(Self::Many { bits, count });
        }
        let list: Vec<u16> =
            row.chunks_exact(2).map(|pair| u16::from(pair[0]) | u16::from(pair[1]) << 8).collect();
        let ascending = list.windows(2).all(|pair| pair[0] < pair[1]);
        let sane = row.len() == list.len() * 2 && list.len() <= FEW_MAX && !list.is_empty();
        let inside = list.last().is_some_and(|last| u64::from(*last) < CHUNK);
        if ascending && sane && inside { Ok(Self::Few(list)) } else { Err(Malformed) }
    }
}

/// Where in its chunk.
fn place(seq: u64) -> u16 {
    (seq % CHUNK) as u16
}

/// Numbers of a chunk.
const CHUNK: u64 = 4096;
const WORDS: usize = CHUNK as usize / 64;
/// A longer list takes more room than a bitmap of 512 bytes, or nearly.
const FEW_MAX: usize = 240;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_the_set_that_was_inserted_and_survives_its_rows(
            steps in prop::collection::vec((0..20_000_u64, 1..400_u64, any::<bool>()), 0..40),
            first in 0..20_000_u64, length in 0..10_000_u64,
        ) {
            let (mut pending, mut model) = (Pending::default(), BTreeSet::new());
            let mut rows: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
            for (start, count, insert) in steps {
                if count % 17 == 0 {
                    pending.remove_to(start);
                    model.retain(|seq| *seq > start);
                }
                for seq in start..start + count {
                    match insert {
                        true => prop_assert_eq!(pending.insert(seq), model.insert(seq)),
                        false => prop_assert_eq!(pending.remove(seq), model.remove(&seq)),
                    }
                }
                for (number, row) in pending.take_changed() {
                    match row {
                        Some(row) => drop(rows.insert(number, row)),
                        None => drop(rows.remove(&number)),
                    }
                }
            }
            prop_assert_eq!(pending.count(), model.len() as u64);
            prop_assert_eq!(pending.count_from(first), model.range(first..).count() as u64);
            let range: Vec<u64> = pending.range(first, first + length).collect();
            prop_assert!(model.range(first..=first + length).eq(&range));
            let mut back = Pending::default();
            for (number, row) in &rows {
                back.load(*number, row).unwrap();
            }
            prop_assert!(back.range(0, u64::MAX).eq(model.iter().copied()));
            prop_assert_eq!(back.count(), pending.count());
        }

        #[test]
        fn a_damaged_row_is_refused_or_a_set(row in prop::collection::vec(any::<u8>(), 0..600)) {
            let mut pending = Pending::default();
            if pending.load(1, &row).is_ok() {
                prop_assert_eq!(pending.range(0, u64::MAX).count() as u64, pending.count());
            }
        }
    }
}

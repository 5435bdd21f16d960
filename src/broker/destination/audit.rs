//! Recent message ids, so that a message sent twice is taken once.
//!
//! Per producer a window over its sequence numbers, one bit each, as wide as `maxAuditDepth`. Sequence
//! numbers below the window are unknown and pass: the audit may miss a duplicate, it never loses a
//! message.

use crate::jms::{MessageId, ProducerId};
use hashbrown::HashMap;

/// Which messages of which producers have been seen.
#[derive(Debug)]
pub struct Audit {
    depth: i64,
    producers_max: usize,
    windows: HashMap<ProducerId, Window>,
    clock: u64,
}

#[derive(Debug, Default)]
struct Window {
    /// Highest sequence seen.
    highest: i64,
    /// Ring of bits, indexed by sequence modulo its length.
    bits: Vec<Bits>,
    used: u64,
}

/// Of 64 sequences.
#[derive(Clone, Copy, Debug, Default)]
struct Bits {
    seen: u64,
    gone: u64,
}

/// What is known of a message that comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing.
    New,
    /// It came before.
    There,
    /// It came before, and has left again.
    Gone,
}

impl Audit {
    /// Remembers `depth` messages of each of `producers_max` producers.
    pub fn new(depth: u32, producers_max: usize) -> Self {
        Self {
            depth: (i64::from(depth.max(1)) + 63) / 64 * 64,
            producers_max: producers_max.max(1),
            windows: HashMap::new(),
            clock: 0,
        }
    }

    /// Notes `id`; true when it had been noted before. Ids without producer are never duplicates.
    pub fn is_duplicate(&mut self, id: &MessageId) -> bool {
        self.note(id) != Seen::New
    }

    /// Notes `id`; says what was known of it. Ids without producer are always new.
    pub fn note(&mut self, id: &MessageId) -> Seen {
        let Some(producer) = &id.producer else { return Seen::New };
        self.clock += 1;
        if let Some(window) = self.windows.get_mut(producer) {
            window.used = self.clock;
            return window.note(id.producer_sequence, self.depth);
        }
        if self.windows.len() >= self.producers_max {
            self.evict();
        }
        let mut window = Window { used: self.clock, ..Window::default() };
        window.highest = id.producer_sequence;
        window.bits = vec![Bits::default(); 1];
        window.set(id.producer_sequence);
        self.windows.insert(producer.clone(), window);
        Seen::New
    }

    /// Takes everything of `producer` up to `highest`, as far as the window reaches, as seen.
    pub fn seen_up_to(&mut self, producer: ProducerId, highest: i64) {
        let words = usize::try_from(self.depth / 64).unwrap_or(1).max(1);
        let bits = vec![Bits { seen: u64::MAX, gone: 0 }; words];
        let window = Window { highest, bits, used: self.clock };
        self.windows.insert(producer, window);
    }

    /// Forgets `id`, so that it may come again.
    pub fn forget(&mut self, id: &MessageId) {
        if let Some(window) = self.window_of(id) {
            window.clear(id.producer_sequence);
        }
    }

    /// The message has left.
    pub fn gone(&mut self, id: &MessageId) {
        if let Some(window) = self.window_of(id) {
            let (word, mask) = place(id.producer_sequence, window.bits.len());
            window.bits[word].gone |= mask;
        }
    }

    /// The window that reaches to `id`.
    fn window_of(&mut self, id: &MessageId) -> Option<&mut Window> {
        let window = self.windows.get_mut(id.producer.as_ref()?)?;
        let back = window.highest.saturating_sub(id.producer_sequence);
        (id.producer_sequence <= window.highest && back < window.width()).then_some(window)
    }

    /// Drops the eighth of the producers that was quiet for longest.
    fn evict(&mut self) {
        let mut used: Vec<u64> = self.windows.values().map(|window| window.used).collect();
        used.sort_unstable();
        let limit = used[used.len() / 8];
        self.windows.retain(|_, window| window.used > limit);
    }
}

impl Window {
    fn width(&self) -> i64 {
        i64::try_from(self.bits.len()).unwrap_or(i64::MAX / 64) * 64
    }

    /// Notes `sequence`; says what was known of it.
    fn note(&mut self, sequence: i64, depth: i64) -> Seen {
        if sequence > self.highest {
            self.advance(sequence, depth);
            self.set(sequence);
            return Seen::New;
        }
        if self.highest.saturating_sub(sequence) >= self.width() {
            if self.highest.saturating_sub(sequence) >= depth {
                return Seen::New;
            }
            self.widen(depth);
        }
        let (word, mask) = place(sequence, self.bits.len());
        let bits = self.bits[word];
        self.set(sequence);
        match (bits.seen & mask != 0, bits.gone & mask != 0) {
            (false, _) => Seen::New,
            (true, false) => Seen::There,
            (true, true) => Seen::Gone,
        }
    }

    fn advance(&mut self, sequence: i64, depth: i64) {
        let step = sequence.saturating_sub(self.highest);
        if self.width() < depth {
            self.widen((self.width() * 2).min(depth));
        }
        if step >= self.width() {
            self.bits.fill(Bits::default());
        } else {
            for gone in self.highest + 1..=sequence {
                self.clear(gone);
            }
        }
        self.highest = sequence;
    }

    /// Grows the ring to `width` bits, keeping what is known.
    fn widen(&mut self, width: i64) {
        let words = usize::try_from(width / 64).unwrap_or(1).max(1);
        if words <= self.bits.len() {
            return;
        }
        let old = std::mem::replace(&mut self.bits, vec![Bits::default(); words]);
        let old_width = i64::try_from(old.len()).unwrap_or(1) * 64;
        for back in 0..old_width {
            let sequence = self.highest.saturating_sub(back);
            let ((from, mask), (to, bit)) = (place(sequence, old.len()), place(sequence, words));
            if old[from].seen & mask != 0 {
                self.bits[to].seen |= bit;
            }
            if old[from].gone & mask != 0 {
                self.bits[to].gone |= bit;
            }
        }
    }

    fn set(&mut self, sequence: i64) {
        let (word, mask) = place(sequence, self.bits.len());
        self.bits[word].seen |= mask;
    }

    fn clear(&mut self, sequence: i64) {
        let (word, mask) = place(sequence, self.bits.len());
        self.bits[word].seen &= !mask;
        self.bits[word].gone &= !mask;
    }
}

/// The word and bit of `sequence` in a ring of `words` words.
fn place(sequence: i64, words: usize) -> (usize, u64) {
    let bits = i64::try_from(words).map_or(i64::MAX, |words| words.saturating_mul(64));
    let bit = sequence.rem_euclid(bits);
    (usize::try_from(bit / 64).unwrap_or(0), 1 << (bit % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn id(producer: &str, sequence: i64) -> MessageId {
        MessageId {
            producer: Some(ProducerId { connection: Some(producer.into()), session: 1, value: 1 }),
            producer_sequence: sequence,
            ..MessageId::default()
        }
    }

    proptest::proptest! {
        /// Inside the window the audit is exact; it never calls a new message a duplicate.
        #[test]
        fn agrees_with_a_set_inside_the_window(steps in proptest::collection::vec(-70i64..200, 1..400)) {
            let (mut audit, mut seen) = (Audit::new(128, 4), HashSet::new());
            let (mut at, mut highest) = (0i64, i64::MIN);
            for step in steps {
                at = (at + step).max(0);
                let duplicate = audit.is_duplicate(&id("p", at));
                if duplicate {
                    proptest::prop_assert!(seen.contains(&at));
                } else if highest.saturating_sub(at) < 64 {
                    proptest::prop_assert!(!seen.contains(&at));
                }
                seen.insert(at);
                highest = highest.max(at);
            }
        }
    }

    #[test]
    fn a_forgotten_message_may_come_again() {
        let mut audit = Audit::new(64, 4);
        assert!(!audit.is_duplicate(&id("p", 7)));
        assert!(audit.is_duplicate(&id("p", 7)));
        audit.forget(&id("p", 7));
        assert!(!audit.is_duplicate(&id("p", 7)));
    }

    #[test]
    fn what_has_left_is_told_from_what_is_there() {
        let mut audit = Audit::new(1024, 4);
        assert_eq!(audit.note(&id("p", 7)), Seen::New);
        assert_eq!(audit.note(&id("p", 7)), Seen::There);
        audit.gone(&id("p", 7));
        assert_eq!(audit.note(&id("p", 7)), Seen::Gone);
        for sequence in 8..500 {
            assert_eq!(audit.note(&id("p", sequence)), Seen::New, "{sequence}");
        }
        assert_eq!(audit.note(&id("p", 7)), Seen::Gone, "the window has grown since");
        audit.forget(&id("p", 7));
        assert_eq!(audit.note(&id("p", 7)), Seen::New);
        assert_eq!(audit.note(&id("p", 7)), Seen::There);
        audit.gone(&id("q", 1));
        audit.gone(&id("p", 9_999));
    }

    /// Sequence numbers are the client's choice.
    #[test]
    fn the_farthest_sequence_numbers_do_no_harm() {
        let far = [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX];
        for first in far {
            for second in far {
                let mut audit = Audit::new(128, 4);
                assert!(!audit.is_duplicate(&id("p", first)));
                audit.forget(&id("p", second));
                assert!(!audit.is_duplicate(&id("p", second)), "{first} {second}");
                audit.forget(&id("p", first));
                audit.forget(&id("p", second));
            }
        }
    }

    #[test]
    fn the_producers_that_were_quiet_for_longest_are_forgotten_first() {
        let mut audit = Audit::new(64, 8);
        for producer in 0..9 {
            audit.is_duplicate(&id(&producer.to_string(), 1));
        }
        assert!(!audit.is_duplicate(&id("0", 1)), "the first one is forgotten");
        assert!(audit.is_duplicate(&id("8", 1)));
    }
}

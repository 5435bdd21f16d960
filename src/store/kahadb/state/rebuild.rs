//! Reading the whole log, which may have gaps, into an empty state.
//!
//! It is read twice. First what destinations, subscriptions and prepared branches there are in the
//! end, and the newest Live record of each file; then what destinations hold, in order. Records of
//! files that were dropped are missed only where a Live record says the same.

use super::contents::nonsense;
use super::evidence::{Evidence, Life};
use super::{Contents, View};
use crate::store::kahadb::index::IndexError;
use crate::store::kahadb::journal::{Add, Gaps, Range, Ranges, Record, Stored};
use std::collections::BTreeSet;

/// What the first reading finds.
#[derive(Debug, Default)]
pub(in crate::store::kahadb) struct Outline {
    pub(in crate::store::kahadb) evidence: Evidence,
    /// Records that say what destinations, subscriptions and branches there are.
    state: Vec<Stored>,
    /// The payload of the last DropFile record.
    pub(in crate::store::kahadb) gaps: Option<bytes::Bytes>,
}

impl Outline {
    pub(in crate::store::kahadb) fn add(&mut self, stored: Stored) -> Result<(), IndexError> {
        match &stored.record {
            Record::Live { file, as_of, set } => {
                self.evidence.add(*file, *as_of, set).map_err(nonsense)?;
            }
            Record::DropFile { gaps, .. } => self.gaps = Some(gaps.clone()),
            Record::Destination { .. }
            | Record::Deleted { .. }
            | Record::Subscription(_)
            | Record::Unsubscribed { .. }
            | Record::Forget { .. } => self.state.push(stored),
            Record::Prepare { branch } => {
                // What it holds is not needed here.
                let xid = crate::store::kahadb::names::only_xid(branch).map_err(nonsense)?;
                self.state.push(Stored { record: Record::Prepare { branch: xid }, ..stored });
            }
            _ => {}
        }
        Ok(())
    }
}

impl Outline {
    /// Forgets what files say that were to be dropped.
    pub(in crate::store::kahadb) fn without(&mut self, gaps: &Gaps) {
        self.evidence.files.retain(|number| !gaps.contains(*number));
        self.state.retain(|stored| !gaps.contains(stored.lsn.file()));
    }
}

impl View {
    /// Takes up the outline; what is applied from now on is the log from its start.
    pub(in crate::store::kahadb) fn begin_rebuild(
        &mut self,
        outline: Outline,
    ) -> Result<(), IndexError> {
        let Outline { mut evidence, state, .. } = outline;
        for stored in state {
            if let Record::Unsubscribed { subscription } = &stored.record {
                evidence.leaving.entry(*subscription).or_default();
            }
            let is_dead =
                matches!(evidence.life(stored.lsn), Some(Life::Dead | Life::Elsewhere(_)));
            let ends = matches!(
                stored.record,
                Record::Deleted { .. } | Record::Unsubscribed { .. } | Record::Forget { .. }
            );
            if ends || !is_dead {
                self.apply_state(&stored)?;
            }
        }
        self.rebuilding = Some(evidence);
        Ok(())
    }

    pub(super) fn rebuild_contents(&mut self, stored: &Stored) -> Result<(), IndexError> {
        match &stored.record {
            Record::Add(add) => self.rebuild_add(stored, add),
            // Whether it is there again is known already.
            Record::Deleted { destination } => {
                self.clear(*destination, stored.lsn.file());
                Ok(())
            }
            Record::Unsubscribed { subscription } => {
                let rebuilding = self.rebuilding.as_mut();
                let topics = rebuilding.and_then(|known| known.leaving.remove(subscription));
                for number in topics.unwrap_or_default() {
                    self.leave(number, *subscription, stored.lsn.file());
                }
                Ok(())
            }
            _ => self.apply_contents(stored),
        }
    }

    fn rebuild_add(&mut self, stored: &Stored, add: &Add) -> Result<(), IndexError> {
        self.counters.last_sequence = self.counters.last_sequence.max(add.seq);
        let Some(evidence) = &self.rebuilding else { return Ok(()) };
        let life = evidence.life(stored.lsn);
        let Some(from) = add.moved_from else {
            match life {
                None => return self.apply_contents(stored),
                Some(Life::Here(wanted)) => self.add_for(stored, add, &wanted),
                Some(Life::Elsewhere(_) | Life::Dead) => {}
            }
            return Ok(());
        };
        let first_is_there = evidence.files.contains(&from.file());
        let first = evidence.life(from);
        match life {
            Some(Life::Here(wanted)) => self.settle(stored, add, &wanted)?,
            Some(Life::Elsewhere(_) | Life::Dead) => {
                let seq = Range { first: add.seq, last: add.seq };
                self.remove(add.destination, seq, stored.lsn.file())?;
            }
            None if !first_is_there => {
                let listed = add.subscriptions.iter().flat_map(Ranges::iter).collect();
                self.settle(stored, add, &listed)?;
            }
            None => match first {
                None | Some(Life::Here(_)) => self.apply_contents(stored)?,
                Some(Life::Elsewhere(wanted)) => self.settle(stored, add, &wanted)?,
                Some(Life::Dead) => {}
            },
        }
        Ok(())
    }

    /// The message is there, and wanted by these.
    fn settle(
        &mut self,
        stored: &Stored,
        add: &Add,
        wanted: &BTreeSet<u64>,
    ) -> Result<(), IndexError> {
        let before = match self.contents.get(&add.destination) {
            Some(contents) => contents.find(&self.tree, add.destination, add.seq)?,
            None => None,
        };
        let seq = Range { first: add.seq, last: add.seq };
        self.remove(add.destination, seq, stored.lsn.file())?;
        self.add_for(stored, add, wanted);
        match before {
            Some((_, row)) if row.is_delivered => {
                self.deliver(add.destination, &Ranges::one(add.seq, add.seq), stored.lsn.file())
            }
            _ => Ok(()),
        }
    }

    fn add_for(&mut self, stored: &Stored, add: &Add, wanted: &BTreeSet<u64>) {
        let exists = self.contents.get(&add.destination).is_some_and(Contents::exists);
        let known = wanted.iter().copied().filter(|number| self.is_there(*number)).collect();
        if exists {
            self.add(stored, add, &known);
        }
    }
}

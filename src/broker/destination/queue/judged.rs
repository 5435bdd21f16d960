//! What a consumer has looked at: no pending message there is acceptable to it, so that each is looked at once.
//!
//! ```text
//!   MIN          again          up_to           MAX
//!    |  judged   |  to judge  |  judged  |  to judge
//! ```

use super::super::backlog::Backlog;
use super::Key;

/// Places from `from` on and before `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker::destination) struct Span {
    pub(super) from: Key,
    pub(super) until: Key,
}

impl Span {
    /// The place of one message.
    pub(in crate::broker::destination) fn of(key: Key) -> Self {
        Self { from: key, until: key.next() }
    }

    /// What has both, and all between.
    pub(in crate::broker::destination) fn with(self, other: Self) -> Self {
        Self { from: self.from.min(other.from), until: self.until.max(other.until) }
    }

    fn has(self, key: Key) -> bool {
        self.from <= key && key < self.until
    }
}

/// What has all the spans there are.
pub(in crate::broker::destination) fn join(one: Option<Span>, other: Option<Span>) -> Option<Span> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.with(other)),
        (one, other) => one.or(other),
    }
}

/// How far a consumer has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judged {
    up_to: Key,
    /// Before `up_to`.
    again: Option<Span>,
}

impl Judged {
    pub(super) const NOTHING: Self = Self { up_to: Key::MIN, again: None };

    pub(super) fn has(&self, key: Key) -> bool {
        key < self.up_to && !self.again.is_some_and(|again| again.has(key))
    }

    /// Where to go on.
    pub(super) fn first(&self) -> Key {
        self.again.map_or(self.up_to, |again| again.from)
    }

    /// Where to go on behind what is to be judged again.
    pub(super) fn up_to(&self) -> Key {
        self.up_to
    }

    /// What is to be judged again.
    pub(super) fn again(&self) -> Option<Span> {
        self.again
    }

    /// All before `key` that was not judged is.
    pub(super) fn advance(&mut self, key: Key) {
        self.up_to = self.up_to.max(key);
        let rest = self.again.map(|again| Span { from: again.from.max(key), ..again });
        self.again = rest.filter(|again| again.from < again.until);
    }

    /// What is in `span` is to be judged, again if it was.
    pub(super) fn look_at(&mut self, span: Span) {
        let before = Span { until: span.until.min(self.up_to), ..span };
        if before.from < before.until {
            self.again = join(self.again, Some(before));
        }
    }

    /// The first place to be judged that only the store has: what is behind its key is not in memory.
    pub(super) fn unread(&self, backlog: &Backlog) -> Option<Key> {
        let rest = Span { from: self.up_to, until: Key::MAX };
        let spans = self.again.into_iter().chain([rest]);
        let place = |key: Key| (key.rank, key.sequence);
        spans
            .filter_map(|span| backlog.unread_in(place(span.from), place(span.until)))
            .map(|(band, after)| Key::at(band, after))
            .next()
    }
}

/// The way of a dispatch pass through the pending messages: forward, over what nobody has to judge, and back
/// where something may be acceptable after all.
#[derive(Debug)]
pub(super) struct Pass {
    at: Key,
    /// The farthest it has come to.
    farthest: Key,
    /// From the first place on the pass goes on at the second.
    leap: Option<(Key, Key)>,
}

impl Pass {
    /// Through `again`, and through all from `from` on.
    pub(super) fn new(again: Option<Span>, from: Key) -> Self {
        match again.filter(|again| again.from < from) {
            Some(Span { from: at, until }) => Self { at, farthest: at, leap: Some((until, from)) },
            None => Self { at: from, farthest: from, leap: None },
        }
    }

    /// Where it is.
    pub(super) fn at(&self) -> Key {
        self.at
    }

    /// The farthest it has come to.
    pub(super) fn farthest(&self) -> Key {
        self.farthest
    }

    /// It goes on to `key`.
    pub(super) fn go_on(&mut self, key: Key) {
        self.at = self.at.max(key);
        self.farthest = self.farthest.max(self.at);
    }

    /// Whether it goes on farther than where it is, before it comes to `key`.
    pub(super) fn leaps_before(&mut self, key: Key) -> bool {
        let leap = self.leap.take_if(|(until, _)| *until <= key);
        leap.is_some_and(|(_, to)| {
            let moves = self.at < to;
            self.go_on(to);
            moves
        })
    }

    /// It goes through `span` too, and then on from where it is.
    pub(super) fn go_back(&mut self, span: Span) {
        let (until, to) = self.leap.unwrap_or((span.until, self.at));
        let to = to.max(self.at);
        if span.from < to {
            self.leap = Some((until.max(span.until), to));
            self.at = self.at.min(span.from);
        }
    }

    /// Nothing more is pending before `end`.
    pub(super) fn finish(&mut self, end: Key) {
        let to = self.leap.map_or(self.at, |(until, to)| until.max(to));
        self.go_on(to.min(end));
    }
}

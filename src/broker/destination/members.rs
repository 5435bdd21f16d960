//! The subscriptions of a topic, and which of them get a message in which order (`<dispatchPolicy>`).
//!
//! A topic hands each message to one subscription after the other before the next message, so all see the
//! same order: that is what `strictOrderDispatchPolicy` asks for.

use super::counters::SharedCounts;
use super::durable::DurableSubscription;
use super::in_flight::Entry;
use super::report::SubscriptionReport;
use super::selector_index::{Match, SelectorIndex};
use super::subscription::TopicSubscription;
use super::{Effects, Now};
use crate::broker::candidate::Candidate;
use crate::broker::outbox::SubscriptionKey;
use crate::broker::policy::TopicDispatch;
use crate::jms::selector::Value;
use crate::jms::{ConsumerId, ConsumerInfo, Destination, Message, Text};
use hashbrown::HashSet;
use std::cmp::Reverse;
use std::sync::Arc;

/// A subscription of a topic.
#[derive(Clone, Debug)]
pub enum TopicMember {
    Plain(Arc<TopicSubscription>),
    Durable(Arc<DurableSubscription>),
}

impl TopicMember {
    pub(super) fn key(&self) -> SubscriptionKey {
        match self {
            Self::Plain(subscription) => subscription.key,
            Self::Durable(subscription) => subscription.key,
        }
    }

    /// What its consumer, or the last one it had, asked for.
    pub fn info(&self) -> Arc<ConsumerInfo> {
        match self {
            Self::Plain(subscription) => Arc::clone(&subscription.info),
            Self::Durable(subscription) => subscription.info(),
        }
    }

    pub(super) fn joined(&self, topic: &Destination, counts: &Arc<SharedCounts>) {
        match self {
            Self::Plain(subscription) => subscription.joined(topic, counts),
            Self::Durable(subscription) => subscription.joined(topic, counts),
        }
    }

    pub(super) fn left(&self, topic: &Destination) {
        match self {
            Self::Plain(subscription) => subscription.left(topic),
            Self::Durable(subscription) => subscription.left(topic),
        }
    }

    /// What it tells about itself, and how many messages of the topic with these `counts` it holds.
    pub(super) fn report(&self, counts: &Arc<SharedCounts>) -> (SubscriptionReport, u64) {
        match self {
            Self::Plain(subscription) => subscription.report(counts),
            Self::Durable(subscription) => subscription.report(counts),
        }
    }

    fn client(&self) -> Option<Text> {
        match self {
            Self::Plain(subscription) => subscription.info.client_id.clone(),
            Self::Durable(subscription) => Some(Text::clone(&subscription.owner.client)),
        }
    }
}

/// A member, and the messages of this batch for it, if it is a durable one or was found by its selector.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) member: TopicMember,
    pub(super) staged: Vec<Entry>,
    /// Another one takes messages for the same consumers.
    shadowed: bool,
}

/// The members of a topic, in the order in which they are served.
#[derive(Debug)]
pub(super) struct Members {
    list: Vec<Joined>,
    keys: HashSet<SubscriptionKey>,
    durables: usize,
    dispatch: TopicDispatch,
    places: Places,
}

/// Who is where in the list, found out when it is asked for after a change.
#[derive(Debug, Default)]
struct Places {
    known: bool,
    durables: Vec<usize>,
    /// Those that are asked for every message: durable ones and those without selector, in order.
    always: Vec<usize>,
    plain: SelectorIndex,
}

impl Places {
    /// `member` comes, behind all others.
    fn add(&mut self, place: usize, member: &TopicMember) {
        let is_asked = match member {
            TopicMember::Durable(_) => {
                self.durables.push(place);
                true
            }
            TopicMember::Plain(plain) => match plain.selector() {
                Some(selector) => {
                    self.plain.add(place, selector);
                    false
                }
                None => true,
            },
        };
        if is_asked {
            self.always.push(place);
        }
    }
}

impl Members {
    pub(super) fn new(dispatch: TopicDispatch) -> Self {
        Self {
            list: Vec::new(),
            keys: HashSet::new(),
            durables: 0,
            dispatch,
            places: Places::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn has(&self, key: SubscriptionKey) -> bool {
        self.keys.contains(&key)
    }

    /// How many durable subscriptions there are.
    pub(super) fn durable_count(&self) -> usize {
        self.durables
    }

    pub(super) fn join(&mut self, member: TopicMember) {
        self.keys.insert(member.key());
        self.durables += usize::from(matches!(member, TopicMember::Durable(_)));
        if self.places.known {
            self.places.add(self.list.len(), &member);
        }
        self.list.push(Joined { member, staged: Vec::new(), shadowed: false });
        self.arrange();
    }

    pub(super) fn leave(&mut self, key: SubscriptionKey) -> Option<TopicMember> {
        if !self.keys.remove(&key) {
            return None;
        }
        let at = self.list.iter().position(|joined| joined.member.key() == key)?;
        let gone = self.list.remove(at);
        self.durables -= usize::from(matches!(gone.member, TopicMember::Durable(_)));
        self.places.known = false;
        self.arrange();
        Some(gone.member)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &TopicMember> + Clone {
        self.list.iter().map(|joined| &joined.member)
    }

    pub(super) fn durables(&self) -> impl Iterator<Item = &Arc<DurableSubscription>> + Clone {
        self.iter().filter_map(|member| match member {
            TopicMember::Durable(durable) => Some(durable),
            TopicMember::Plain(_) => None,
        })
    }

    /// Durable subscriptions that may get `message`, with what is staged for them.
    pub(super) fn durables_for(
        &mut self,
        message: &Message,
    ) -> impl Iterator<Item = (&Arc<DurableSubscription>, &mut Vec<Entry>)> {
        let only = self.addressee(message);
        self.find_places();
        let (mut rest, mut passed) = (&mut self.list[..], 0);
        let durables = self.places.durables.iter().filter_map(move |place| {
            let (_, from) = std::mem::take(&mut rest).split_at_mut(place - passed);
            let (joined, behind) = from.split_first_mut()?;
            (rest, passed) = (behind, place + 1);
            Some(joined)
        });
        durables.filter_map(move |joined| match &joined.member {
            TopicMember::Durable(durable)
                if !joined.shadowed
                    && only.as_ref().is_none_or(|only| *only == durable.owner.client) =>
            {
                Some((durable, &mut joined.staged))
            }
            _ => None,
        })
    }

    fn find_places(&mut self) {
        if self.places.known {
            return;
        }
        let mut places = Places { known: true, ..Places::default() };
        let members = self.list.iter().enumerate();
        members.for_each(|(place, joined)| places.add(place, &joined.member));
        self.places = places;
    }

    /// Serves all that may want something of what arrived, in the order in which they came.
    fn serve_found(&mut self, arrived: &[Entry], now: Now, out: &mut Effects) -> u64 {
        self.find_places();
        let Places { always, plain, .. } = &self.places;
        let mut touched = Vec::new();
        for entry in arrived {
            let candidate = Candidate { message: &entry.message, redeliveries: entry.redeliveries };
            plain.each_for(&candidate, |place, is| {
                let staged = &mut self.list[place].staged;
                if staged.is_empty() {
                    touched.push((place, is));
                }
                staged.push(entry.clone());
            });
        }
        // Each is found in one way only.
        touched.sort_unstable_by_key(|(place, _)| *place);
        let (mut served, mut touched) = (0, touched.into_iter().peekable());
        for place in always {
            while let Some((before, is)) = touched.next_if(|(at, _)| at < place) {
                served += self.list[before].serve_staged(is, now, out);
            }
            served += self.list[*place].serve(arrived, now, out);
        }
        for (place, is) in touched {
            served += self.list[place].serve_staged(is, now, out);
        }
        served
    }

    /// Gives the members what arrived; how many deliveries that were.
    pub(super) fn fan_out(&mut self, arrived: &[Entry], now: Now, out: &mut Effects) -> u64 {
        match self.dispatch {
            TopicDispatch::Simple => self.serve_found(arrived, now, out),
            TopicDispatch::Priority | TopicDispatch::PriorityNetwork => {
                // Who has a durable subscription changes while it is here.
                self.arrange();
                self.serve(arrived, now, out)
            }
            TopicDispatch::RoundRobin => {
                let mut served = 0;
                for entry in arrived {
                    served += self.serve(std::slice::from_ref(entry), now, out);
                    if !self.list.is_empty() {
                        self.list.rotate_left(1);
                        self.places.known = false;
                    }
                }
                served
            }
            TopicDispatch::ClientId { .. } => {
                let mut served = 0;
                for entry in arrived {
                    let only = self.addressee(&entry.message);
                    let one = std::slice::from_ref(entry);
                    for joined in &mut self.list {
                        if only.is_none() || joined.member.client() == only {
                            served += joined.serve(one, now, out);
                        }
                    }
                }
                // What is staged for durable subscriptions was addressed to them.
                served + self.list.iter_mut().map(|joined| joined.serve(&[], now, out)).sum::<u64>()
            }
        }
    }

    fn serve(&mut self, entries: &[Entry], now: Now, out: &mut Effects) -> u64 {
        let open = self.list.iter_mut().filter(|joined| !joined.shadowed);
        open.map(|joined| joined.serve(entries, now, out)).sum()
    }

    /// Puts the members in order of priority, or leaves of those that stand for the same remote consumer the
    /// one with the highest priority open: where the policy says so.
    fn arrange(&mut self) {
        match self.dispatch {
            TopicDispatch::Priority => {
                self.places.known = false;
                self.list.sort_by_key(|joined| Reverse(joined.member.info().priority));
            }
            TopicDispatch::PriorityNetwork => self.shadow(),
            _ => {}
        }
    }

    fn shadow(&mut self) {
        let mut served: Vec<ConsumerId> = Vec::new();
        let mut by_priority: Vec<&mut Joined> = self.list.iter_mut().collect();
        by_priority.sort_by_key(|joined| Reverse(joined.member.info().priority));
        for joined in by_priority {
            let info = joined.member.info();
            let remote = info.network_consumer_path.iter().flatten().flatten();
            let remote: Vec<ConsumerId> =
                remote.filter(|_| info.network_subscription).cloned().collect();
            joined.shadowed = remote.iter().any(|id| served.contains(id));
            if !joined.shadowed {
                served.extend(remote);
            }
        }
    }

    /// The one client `message` is for, if it names one.
    fn addressee(&self, message: &Message) -> Option<Text> {
        let TopicDispatch::ClientId { property, suffix } = &self.dispatch else { return None };
        let destination = message.destination.as_ref()?;
        if !destination.name().ends_with(&**suffix) {
            return None;
        }
        let candidate = Candidate { message, redeliveries: 0 };
        match candidate.property(property) {
            Value::String(client) => Some(client.as_ref().into()),
            _ => None,
        }
    }
}

impl Joined {
    /// Gives a plain subscription what was found for it.
    fn serve_staged(&mut self, is: Match, now: Now, out: &mut Effects) -> u64 {
        let mut staged = std::mem::take(&mut self.staged);
        let served = match (&self.member, is) {
            (TopicMember::Durable(_), _) => 0,
            (TopicMember::Plain(plain), Match::Sure) => plain.offer_matching(&staged, now, out),
            (TopicMember::Plain(plain), Match::Possible) => plain.offer(&staged, now, out),
        };
        staged.clear();
        self.staged = staged;
        served
    }

    fn serve(&mut self, entries: &[Entry], now: Now, out: &mut Effects) -> u64 {
        match &self.member {
            TopicMember::Plain(_) if entries.is_empty() => 0,
            TopicMember::Plain(subscription) => subscription.offer(entries, now, out),
            TopicMember::Durable(durable) => {
                let staged = self.staged.len() as u64;
                if staged > 0 {
                    out.offers.push((Arc::clone(durable), std::mem::take(&mut self.staged)));
                }
                staged
            }
        }
    }
}

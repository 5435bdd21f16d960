//! What must hold of every history, whatever died when. At its end everything was drained, so what was
//! not delivered then is not there.

use super::history::{Event, Name, Spot, Unit};
use std::collections::{HashMap, HashSet};
use std::fmt::{self, Write};

/// A promise that was broken, and to which message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) spot: Spot,
    pub(crate) what: &'static str,
}

pub(crate) const LOST: &str = "it was confirmed and never came";
pub(crate) const FORGOTTEN: &str = "it came, nobody acknowledged it, and it did not come again";
pub(crate) const AGAIN: &str = "it came after its acknowledgement was confirmed";
pub(crate) const ROLLED_BACK: &str = "it came although its transaction was not committed";
pub(crate) const TORN: &str = "its transaction was done in part";
pub(crate) const UNKNOWN: &str = "it came and nobody had sent it";
pub(crate) const OVERTAKEN: &str = "it came after a later one of the same source";
pub(crate) const UNMARKED: &str = "it came again from the same broker, not marked as redelivered";

/// One delivery of a message.
struct Delivery {
    at: usize,
    /// Which broker process.
    process: usize,
    redelivered: bool,
}

struct Asked<'a> {
    at: usize,
    process: usize,
    unit: &'a Unit,
    answer: Option<bool>,
}

/// Everything that is wrong, in the order of the messages.
pub(crate) fn check(events: &[Event]) -> Vec<Violation> {
    let (units, mut deliveries) = sort(events);
    let mut found = orders(events);
    found.extend(sources(&units, &deliveries));
    found.extend(marks(&deliveries));
    let deaths = events.iter().filter(|event| matches!(event, Event::Started)).count();
    let ghosts = ghosts(&units, &deliveries, deaths);
    deliveries.retain(|spot, _| !ghosts.contains(spot));
    for asked in &units {
        found.extend(whole(asked, &deliveries, &ghosts));
    }
    found.extend(ends(&units, &deliveries));
    found.sort_by_key(|violation| (violation.spot, violation.what));
    found.dedup();
    found
}

type Deliveries = HashMap<Spot, Vec<Delivery>>;

fn sort(events: &[Event]) -> (Vec<Asked<'_>>, Deliveries) {
    let (mut units, mut deliveries, mut process) = (Vec::<Asked<'_>>::new(), Deliveries::new(), 0);
    for (at, event) in events.iter().enumerate() {
        match event {
            Event::Began(unit) => units.push(Asked { at, process, unit, answer: None }),
            Event::Ended { unit, applied } => units[*unit].answer = Some(*applied),
            Event::Delivered { spot, redelivered, .. } => {
                let delivery = Delivery { at, process, redelivered: *redelivered };
                deliveries.entry(*spot).or_default().push(delivery);
            }
            Event::Started => process += 1,
        }
    }
    (units, deliveries)
}

/// Messages that went to a consumer while they were being stored, and may have gone with their broker:
/// nobody was told that they are there, no other broker had them, and nobody was told that they are
/// consumed.
fn ghosts(units: &[Asked<'_>], deliveries: &Deliveries, deaths: usize) -> HashSet<Spot> {
    let mut ghosts = HashSet::new();
    let unanswered = units.iter().filter(|asked| asked.answer.is_none() && asked.process < deaths);
    for asked in unanswered {
        if let [spot] = asked.unit.sends[..]
            && asked.unit.acks.is_empty()
            && let Some(all) = deliveries.get(&spot)
            && all.iter().all(|delivery| delivery.process == asked.process)
        {
            ghosts.insert(spot);
        }
    }
    for asked in units.iter().filter(|asked| asked.answer == Some(true)) {
        for spot in &asked.unit.acks {
            ghosts.remove(spot);
        }
    }
    ghosts
}

/// A unit was done as its answer says; without answer, in all its parts or in none. Of ghosts nothing is
/// known.
fn whole(asked: &Asked<'_>, deliveries: &Deliveries, ghosts: &HashSet<Spot>) -> Vec<Violation> {
    let came = |spot: &Spot| deliveries.contains_key(spot);
    let came_again = |spot: &Spot| {
        deliveries.get(spot).is_some_and(|all| all.iter().any(|delivery| delivery.at > asked.at))
    };
    // (message, whether its part was done, what is wrong if that is not as answered)
    let sends = asked.unit.sends.iter().map(|spot| {
        let done = came(spot);
        (*spot, done, if done { ROLLED_BACK } else { LOST })
    });
    let acks = asked.unit.acks.iter().map(|spot| {
        let done = !came_again(spot);
        (*spot, done, if done { FORGOTTEN } else { AGAIN })
    });
    let parts: Vec<_> = sends.chain(acks).filter(|(spot, ..)| !ghosts.contains(spot)).collect();
    let violation = |spot, what| Violation { spot, what };
    match asked.answer {
        Some(applied) => {
            let wrong = parts.into_iter().filter(|(_, done, _)| *done != applied);
            wrong.map(|(spot, _, what)| violation(spot, what)).collect()
        }
        None => {
            let first = parts.first().map(|(_, done, _)| *done);
            let wrong = parts.into_iter().filter(|(_, done, _)| Some(*done) != first);
            wrong.map(|(spot, ..)| violation(spot, TORN)).collect()
        }
    }
}

/// Messages come from somewhere.
fn sources(units: &[Asked<'_>], deliveries: &Deliveries) -> Vec<Violation> {
    let mut sent = HashMap::new();
    for asked in units {
        for spot in &asked.unit.sends {
            assert!(sent.insert(*spot, asked.at).is_none(), "{spot:?} was sent twice");
        }
    }
    let unknown = deliveries.iter().filter(|(spot, all)| {
        sent.get(spot).is_none_or(|sent| all.first().is_some_and(|first| first.at < *sent))
    });
    unknown.map(|(spot, _)| Violation { spot: *spot, what: UNKNOWN }).collect()
}

/// A message is there until somebody acknowledges it.
fn ends(units: &[Asked<'_>], deliveries: &Deliveries) -> Vec<Violation> {
    let mut acknowledged: HashMap<Spot, usize> = HashMap::new();
    for asked in units.iter().filter(|asked| asked.answer != Some(false)) {
        for spot in &asked.unit.acks {
            acknowledged.insert(*spot, asked.at); // the last one counts
        }
    }
    let forgotten = deliveries.iter().filter(|(spot, all)| {
        let last = all.last().map(|delivery| delivery.at);
        acknowledged.get(spot).copied() < last
    });
    forgotten.map(|(spot, _)| Violation { spot: *spot, what: FORGOTTEN }).collect()
}

/// A message that the same process delivers again is marked.
fn marks(deliveries: &Deliveries) -> Vec<Violation> {
    let unmarked = deliveries.iter().filter(|(_, all)| {
        all.windows(2).any(|two| two[0].process == two[1].process && !two[1].redelivered)
    });
    unmarked.map(|(spot, _)| Violation { spot: *spot, what: UNMARKED }).collect()
}

/// Each consumer gets what a source sent in its order.
fn orders(events: &[Event]) -> Vec<Violation> {
    let (mut last, mut found) = (HashMap::new(), Vec::new());
    for event in events {
        let Event::Delivered { consumer, spot, .. } = event else { continue };
        let before = last.insert((*consumer, spot.place, spot.name.source), spot.name);
        if before.is_some_and(|before| before >= spot.name) {
            found.push(Violation { spot: *spot, what: OVERTAKEN });
        }
    }
    found
}

/// All that is known of a message and its copies, for the reader of a failure.
pub(crate) fn story(events: &[Event], of: Name) -> String {
    let same = |spot: &Spot| (spot.name.source, spot.name.number) == (of.source, of.number);
    let (mut text, mut units, mut told, mut process) = (String::new(), 0, Vec::new(), 0);
    for (at, event) in events.iter().enumerate() {
        let line: &dyn fmt::Debug = match event {
            Event::Began(unit) => {
                units += 1;
                if !unit.sends.iter().chain(&unit.acks).any(same) {
                    continue;
                }
                told.push(units - 1);
                event
            }
            Event::Ended { unit, .. } if told.contains(unit) => event,
            Event::Delivered { spot, .. } if same(spot) => event,
            Event::Started => {
                process += 1;
                continue;
            }
            _ => continue,
        };
        writeln!(text, "  {at}, broker {process}: {line:?}").expect("text can be written");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: u32) -> Name {
        Name { source: 1, number, copy: 0 }
    }

    fn spot(number: u32) -> Spot {
        Spot { place: "q", name: name(number) }
    }

    fn sends(numbers: &[u32]) -> Event {
        Event::Began(Unit { sends: numbers.iter().map(|n| spot(*n)).collect(), ..Unit::default() })
    }

    fn acks(numbers: &[u32]) -> Event {
        Event::Began(Unit { acks: numbers.iter().map(|n| spot(*n)).collect(), ..Unit::default() })
    }

    fn ended(unit: usize, applied: bool) -> Event {
        Event::Ended { unit, applied }
    }

    fn came(consumer: usize, number: u32) -> Event {
        Event::Delivered { consumer, spot: spot(number), redelivered: false }
    }

    fn again(consumer: usize, number: u32) -> Event {
        Event::Delivered { consumer, spot: spot(number), redelivered: true }
    }

    fn wrong(events: &[Event]) -> Vec<(u32, &'static str)> {
        check(events).iter().map(|v| (v.spot.name.number, v.what)).collect()
    }

    #[test]
    fn what_is_sent_comes_and_is_acknowledged_is_right() {
        let events = [sends(&[1]), ended(0, true), came(1, 1), acks(&[1]), ended(1, true)];
        assert_eq!(wrong(&events), []);
        let before_the_answer = [sends(&[1]), came(1, 1), ended(0, true), acks(&[1])];
        assert_eq!(wrong(&before_the_answer), []);
    }

    #[test]
    fn what_was_confirmed_must_come() {
        assert_eq!(wrong(&[sends(&[1]), ended(0, true)]), [(1, LOST)]);
        assert_eq!(wrong(&[sends(&[1]), Event::Started]), [], "in doubt");
    }

    #[test]
    fn what_came_must_come_again_until_it_is_acknowledged() {
        let start = [sends(&[1]), ended(0, true), came(1, 1)];
        assert_eq!(wrong(&start), [(1, FORGOTTEN)]);
        let rolled_back = [&start[..], &[acks(&[1]), ended(1, false)]].concat();
        assert_eq!(wrong(&rolled_back), [(1, FORGOTTEN)]);
        let in_doubt = [&start[..], &[acks(&[1]), Event::Started]].concat();
        assert_eq!(wrong(&in_doubt), []);
        let and_came = [&in_doubt[..], &[came(2, 1)]].concat();
        assert_eq!(wrong(&and_came), [(1, FORGOTTEN)]);
        let and_done = [&and_came[..], &[acks(&[1]), ended(2, true)]].concat();
        assert_eq!(wrong(&and_done), []);
    }

    #[test]
    fn what_came_before_it_was_stored_may_go_with_its_broker() {
        let start = [sends(&[1]), came(1, 1)];
        let moves = Event::Began(Unit {
            sends: vec![Spot { place: "to", name: name(1) }],
            acks: vec![spot(1)],
        });
        let died = |more: &[Event]| wrong(&[&start[..], more, &[Event::Started]].concat());
        assert_eq!(died(&[]), []);
        assert_eq!(died(std::slice::from_ref(&moves)), []);
        assert_eq!(died(&[moves.clone(), ended(1, false)]), []);
        assert_eq!(died(&[moves, ended(1, true)]), [(1, LOST)], "the copy");
        assert_eq!(died(&[ended(0, true)]), [(1, FORGOTTEN)]);
        let again = [&start[..], &[Event::Started, came(2, 1)]].concat();
        assert_eq!(wrong(&again), [(1, FORGOTTEN)], "it was stored");
    }

    #[test]
    fn what_was_acknowledged_is_gone() {
        let events = [sends(&[1]), came(1, 1), acks(&[1]), ended(1, true), Event::Started];
        assert_eq!(wrong(&events), []);
        let events = [&events[..], &[came(2, 1), acks(&[1]), ended(2, true)]].concat();
        assert_eq!(wrong(&events), [(1, AGAIN)]);
    }

    #[test]
    fn transactions_are_done_wholly_or_not_at_all() {
        let (one, two) = (|| [came(1, 1), acks(&[1])], || [came(1, 2), acks(&[2])]);
        let start = [sends(&[1, 2])];
        let with = |more: &[Event]| wrong(&[&start[..], more].concat());
        assert_eq!(with(&one()), [(2, TORN)]);
        assert_eq!(with(&two()), [(2, TORN)]);
        assert_eq!(with(&[one(), two()].concat()), []);
        assert_eq!(with(&[]), []);
        assert_eq!(with(&[&[ended(0, true)], &one()[..]].concat()), [(2, LOST)]);
        assert_eq!(with(&[&[ended(0, false)], &one()[..]].concat()), [(1, ROLLED_BACK)]);
    }

    #[test]
    fn a_message_that_is_moved_is_in_one_place() {
        let to = Spot { place: "to", name: Name { copy: 1, ..name(1) } };
        let moves = Event::Began(Unit { sends: vec![to], acks: vec![spot(1)] });
        let came_there = [
            Event::Delivered { consumer: 3, spot: to, redelivered: false },
            Event::Began(Unit::ack(to)),
        ];
        let came_back = [came(2, 1), acks(&[1])];
        let start = [sends(&[1]), ended(0, true), came(1, 1), moves, Event::Started];
        let with = |more: &[Event]| wrong(&[&start[..], more].concat());
        assert_eq!(with(&came_there), []);
        assert_eq!(with(&came_back), []);
        assert_eq!(with(&[&came_back[..], &came_there[..]].concat()), [(1, TORN)], "in both");
        assert_eq!(with(&[]), [(1, TORN)], "in none");
    }

    #[test]
    fn order_is_kept_for_each_consumer() {
        let start = [sends(&[1]), sends(&[2]), came(1, 1), came(1, 2), Event::Started];
        let end = [acks(&[1]), acks(&[2])];
        assert_eq!(wrong(&[&start[..], &[came(2, 1), came(2, 2)], &end].concat()), []);
        let turned = [&start[..], &[came(2, 2), came(2, 1)], &end].concat();
        assert_eq!(wrong(&turned), [(1, OVERTAKEN)]);
        let doubled = [&start[..], &[came(2, 1), again(2, 1), came(2, 2)], &end].concat();
        assert_eq!(wrong(&doubled), [(1, OVERTAKEN)]);
    }

    #[test]
    fn a_message_that_comes_again_says_so() {
        let start = [sends(&[1]), came(1, 1)];
        let end = [acks(&[1])];
        assert_eq!(wrong(&[&start[..], &[again(2, 1)], &end].concat()), []);
        assert_eq!(wrong(&[&start[..], &[came(2, 1)], &end].concat()), [(1, UNMARKED)]);
        let other_process = [&start[..], &[Event::Started, came(2, 1)], &end].concat();
        assert_eq!(wrong(&other_process), []);
    }

    #[test]
    fn what_nobody_sent_must_not_come() {
        assert_eq!(wrong(&[came(1, 7), acks(&[7])]), [(7, UNKNOWN)]);
        assert_eq!(wrong(&[came(1, 7), acks(&[7]), sends(&[7])]), [(7, UNKNOWN)]);
    }

    #[test]
    fn the_story_of_a_message_leaves_others_out() {
        let events = [sends(&[1]), sends(&[2]), ended(0, true), ended(1, true), came(1, 1)];
        let story = story(&events, name(2));
        assert_eq!(story.lines().count(), 2, "{story}");
    }
}

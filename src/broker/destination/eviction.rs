//! Which pending messages of a topic subscription go when there are too many of them
//! (`<messageEvictionStrategy>`; semantics.md section 7).

use super::in_flight::Entry;
use crate::broker::candidate::Candidate;
use crate::broker::policy::Eviction;
use crate::jms::selector::Value;
use hashbrown::{HashMap, HashSet};
use std::collections::VecDeque;

/// Takes at least one message out of `pending`, unless there is none, and adds it to `gone`.
pub(super) fn evict(eviction: &Eviction, pending: &mut VecDeque<Entry>, gone: &mut Vec<Entry>) {
    match eviction {
        Eviction::Oldest => gone.extend(pending.pop_front()),
        Eviction::OldestWithLowestPriority => {
            let lowest = pending.iter().enumerate();
            let lowest = lowest.min_by_key(|(at, entry)| (entry.message.priority, *at));
            let lowest = lowest.map(|(at, _)| at);
            gone.extend(lowest.and_then(|at| pending.remove(at)));
        }
        Eviction::UniqueProperty(name) => {
            let newest = newest_of_each(name, pending);
            if newest.is_empty() || newest.len() == pending.len() {
                return gone.extend(pending.pop_front());
            }
            for (at, entry) in std::mem::take(pending).into_iter().enumerate() {
                if newest.contains(&at) {
                    pending.push_back(entry);
                } else {
                    gone.push(entry);
                }
            }
        }
    }
}

/// Where the newest message of each value of a property is: by timestamp, of equal ones the first.
fn newest_of_each(name: &str, pending: &VecDeque<Entry>) -> HashSet<usize> {
    let mut newest: HashMap<String, (usize, i64)> = HashMap::new();
    for (at, entry) in pending.iter().enumerate() {
        let candidate = Candidate { message: &entry.message, redeliveries: 0 };
        let value = match candidate.property(name) {
            Value::Null => continue,
            value => format!("{value:?}"),
        };
        let stamp = entry.message.timestamp;
        let known = newest.entry(value).or_insert((at, stamp));
        if stamp > known.1 {
            *known = (at, stamp);
        }
    }
    newest.into_values().map(|(at, _)| at).collect()
}

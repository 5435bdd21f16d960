//! How the queues of a virtual topic are called.

/// Prefix and postfix around the name of a topic. `*` in them is any one level: the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naming {
    /// Whole levels before the topic.
    before: Vec<Box<str>>,
    /// What the topic's first level is preceded by.
    head: Box<str>,
    /// What the topic's last level is followed by.
    tail: Box<str>,
    /// Whole levels behind the topic.
    behind: Vec<Box<str>>,
}

impl Naming {
    pub fn new(prefix: &str, postfix: &str) -> Self {
        let mut before: Vec<Box<str>> = prefix.split('.').map(Into::into).collect();
        let head = before.pop().unwrap_or_default();
        let mut behind = postfix.split('.').map(Box::from);
        let tail = behind.next().unwrap_or_default();
        Self { before, head, tail, behind: behind.collect() }
    }

    /// The topic, or pattern of topics, in the name of a queue that is called so.
    pub fn topic_of<'a>(&self, queue: &'a str) -> Option<&'a str> {
        let mut rest = queue;
        for expected in &self.before {
            let (level, behind) = rest.split_once('.')?;
            rest = Some(behind).filter(|_| fits(expected, level))?;
        }
        rest = rest.strip_prefix(&*self.head)?;
        for expected in self.behind.iter().rev() {
            let (before, level) = rest.rsplit_once('.')?;
            rest = Some(before).filter(|_| fits(expected, level))?;
        }
        rest.strip_suffix(&*self.tail).filter(|topic| !topic.is_empty())
    }
}

fn fits(expected: &str, level: &str) -> bool {
    expected == "*" || expected == level
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topic_stands_between_prefix_and_postfix() {
        for (prefix, postfix, queue, topic) in [
            ("Consumer.*.", "", "Consumer.A.VirtualTopic.X", Some("VirtualTopic.X")),
            ("Consumer.*.", "", "Consumer.A.VirtualTopic.>", Some("VirtualTopic.>")),
            ("Consumer.*.", "", "Consumer.A", None),
            ("Consumer.*.", "", "Consumer.A.", None),
            ("Consumer.*.", "", "Other.A.X", None),
            ("Consumer.*.", ".in", "Consumer.A.X.in", Some("X")),
            ("Consumer.*.", ".in", "Consumer.A.in", None),
            ("Consumer.*.", ".in", "Consumer.A.X", None),
            ("Q-", "-q", "Q-X.Y-q", Some("X.Y")),
            ("", ".*.end", "X.Y.any.end", Some("X.Y")),
            ("", "", "X", Some("X")),
        ] {
            assert_eq!(Naming::new(prefix, postfix).topic_of(queue), topic, "{prefix} {queue}");
        }
    }
}

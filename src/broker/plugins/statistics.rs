//! Counters by message (semantics.md section 17): a message sent to `ActiveMQ.Statistics.*` with JMSReplyTo is a
//! question, and each answer a MapMessage.

use crate::broker::Broker;
use crate::broker::destination::Incoming;
use crate::broker::destination::counters::Counters;
use crate::broker::destination::report::SubscriptionReport;
use crate::broker::destination::{Now, Op};
use crate::broker::error::BrokerError;
use crate::broker::snapshot::{DestinationSnapshot, Totals};
use crate::broker::usage::Usage;
use crate::jms::properties::{self, PropertyMap, PropertyValue};
use crate::jms::wildcard;
use crate::jms::{BodyKind, Destination, Message, Text};
use std::sync::Arc;

/// What somebody wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::broker) struct Question {
    subject: Subject,
    reply_to: Destination,
    correlation_id: Option<Text>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Subject {
    Destinations {
        /// A name, a pattern or several.
        of: Destination,
        /// An empty map follows the answers.
        ends: bool,
        /// With the time of the first message.
        first: bool,
    },
    Broker {
        /// Its counters begin anew before they are told.
        reset: bool,
    },
    Subscriptions,
}

const DESTINATION: &str = "ActiveMQ.Statistics.Destination";
const BROKER: &str = "ActiveMQ.Statistics.Broker";
const SUBSCRIPTION: &str = "ActiveMQ.Statistics.Subscription";
const ENDS: &str = "ActiveMQ.Statistics.Destination.List.End.With.Null";
const FIRST: &str = "ActiveMQ.Statistics.Destination.Include.First.Message.Timestamp";
const RESET: &str = "ActiveMQ.Statistics.Broker.Reset";

impl Question {
    /// The question that `message` is, if it is one.
    pub(super) fn of(message: &Message) -> Option<Self> {
        let destination = message.destination.as_ref()?;
        let reply_to = message.reply_to.clone()?;
        let has = |name: &str| {
            let map = message.properties.as_deref();
            map.is_some_and(|map| matches!(properties::find(map, name), Ok(Some(_))))
        };
        let name = destination.name();
        let subject = if let Some(asked) = name.strip_prefix(DESTINATION) {
            let asked = asked.strip_prefix('.').unwrap_or(asked);
            let wanted = asked.replace(ENDS, "");
            Subject::Destinations {
                ends: wanted != asked || has(ENDS),
                of: Destination::new(destination.kind(), Some(wanted.into())),
                first: has(FIRST),
            }
        } else if name.starts_with(SUBSCRIPTION) {
            Subject::Subscriptions
        } else if name.starts_with(BROKER) {
            Subject::Broker { reset: has(RESET) }
        } else {
            return None;
        };
        Some(Self { subject, reply_to, correlation_id: message.correlation_id.clone() })
    }
}

impl Broker {
    /// Sends the answers to `question`.
    pub(in crate::broker) async fn answer(&self, question: Question) -> Result<(), BrokerError> {
        let Question { subject, reply_to, correlation_id } = question;
        if reply_to.kind().is_temporary() && self.router.find(&reply_to).is_none() {
            return Err(BrokerError::DestinationMissing(reply_to));
        }
        let mut answers = Vec::new();
        match subject {
            Subject::Destinations { of, ends, first } => {
                let parts = of.parts();
                let wanted = |there: &Destination| {
                    parts.iter().any(|part| {
                        let kinds = part.kind() == there.kind();
                        kinds && wildcard::matches(part.name(), there.name())
                    })
                };
                for snapshot in self.snapshots(wanted).await {
                    answers.push((self.of_destination(&snapshot, first), true));
                }
                if ends {
                    answers.push((PropertyMap::default(), true));
                }
            }
            Subject::Broker { reset } => {
                if reset {
                    self.reset_counters().await;
                }
                answers.push((self.of_broker(&self.totals().await), true));
            }
            Subject::Subscriptions => {
                for report in self.subscriptions().await {
                    let of = report.info.destination.as_ref();
                    let temporary = of.is_some_and(|of| of.kind().is_temporary());
                    if report.durable.is_none() && !temporary {
                        answers.push((self.of_subscription(&report), false));
                    }
                }
            }
        }
        for (map, correlates) in answers {
            let correlation_id = correlation_id.clone().filter(|_| correlates);
            self.reply(map, &reply_to, correlation_id).await?;
        }
        Ok(())
    }

    async fn reply(
        &self,
        map: PropertyMap,
        to: &Destination,
        correlation_id: Option<Text>,
    ) -> Result<(), BrokerError> {
        let id = self.announcer.next_id();
        let now_ms = Now::read().wall_ms;
        let message = Message {
            kind: BodyKind::Map,
            producer_id: id.producer.clone(),
            message_id: Some(id),
            destination: Some(to.clone()),
            correlation_id,
            priority: PRIORITY,
            timestamp: now_ms,
            broker_in_time: now_ms,
            jms_type: Some("Advisory".into()),
            content: map.encode().ok(),
            ..Message::default()
        };
        let handle = self.destination(to, None).await?;
        let bytes = (message.size() as u64).max(handle.policy.get().minimum_message_bytes);
        handle.send(vec![Op::Send(Incoming::of_broker(Arc::new(message), bytes))]).await;
        Ok(())
    }

    /// The fields that every answer begins with.
    fn named(&self) -> PropertyMap {
        let mut map = PropertyMap::default();
        map.set("brokerName", PropertyValue::String(Text::clone(&self.options.name)));
        map.set("brokerId", text(&self.options.id));
        map
    }

    fn of_destination(&self, snapshot: &DestinationSnapshot, first: bool) -> PropertyMap {
        let DestinationSnapshot { handle, report } = snapshot;
        let mut map = self.named();
        map.set("destinationName", text(&handle.destination));
        put_counters(&mut map, &report.own);
        map.set("size", long(report.size));
        map.set("inflightCount", long(report.in_flight));
        map.set("messagesCached", long(0_u64));
        put_usage(&mut map, "memory", &handle.usage);
        map.set("consumerCount", long(handle.gauges.consumers.count()));
        map.set("producerCount", long(handle.gauges.producers.count()));
        if let Some(oldest) = report.oldest_ms.filter(|_| first) {
            map.set("firstMessageTimestamp", PropertyValue::Long(oldest));
        }
        map
    }

    fn of_broker(&self, totals: &Totals) -> PropertyMap {
        let mut map = self.named();
        put_counters(&mut map, &totals.counters);
        map.set("size", long(totals.size));
        map.set("inflightCount", long(totals.in_flight));
        map.set("messagesCached", long(0_u64));
        put_usage(&mut map, "memory", &self.memory);
        put_usage(&mut map, "store", &self.options.store_usage);
        put_usage(&mut map, "temp", &self.options.temp_usage);
        map.set("consumerCount", long(totals.consumers));
        map.set("producerCount", long(totals.producers));
        for (field, schemes) in ADDRESSES {
            let found = self.options.addresses.iter();
            let found = found.rev().find(|(scheme, _)| schemes.contains(&&**scheme));
            let address = found.map(|(_, address)| Text::clone(address)).unwrap_or_default();
            map.set(field, PropertyValue::String(address));
        }
        map.set("vm", text(format_args!("vm://{}", self.options.name)));
        let folder = Text::clone(&self.options.data_directory);
        map.set("dataDirectory", PropertyValue::String(folder));
        map
    }

    fn of_subscription(&self, report: &SubscriptionReport) -> PropertyMap {
        let SubscriptionReport { info, .. } = report;
        let consumer = info.consumer_id.as_ref();
        let connection = consumer.and_then(|consumer| consumer.connection.clone());
        let entry = self.registry.connection(connection.as_ref());
        let client = entry.and_then(|entry| entry.info.client_id.clone());
        let maybe = |text: Option<Text>| text.map_or(PropertyValue::Null, PropertyValue::String);
        let mut map = self.named();
        let destination = info.destination.as_ref().and_then(|of| of.name_text().cloned());
        map.set("destinationName", maybe(destination));
        map.set("clientId", maybe(client));
        map.set("connectionId", maybe(connection));
        map.set("sessionId", PropertyValue::Long(consumer.map_or(0, |of| of.session)));
        map.set("selector", maybe(info.selector.clone()));
        map.set("enqueueCounter", long(report.enqueued));
        map.set("dequeueCounter", long(report.dequeued));
        map.set("dispatchedCounter", long(report.dispatched));
        map.set("dispatchedQueueSize", long(report.in_flight));
        map.set("prefetchSize", PropertyValue::Int(report.prefetch));
        let limit = PropertyValue::Int(info.maximum_pending_message_limit);
        map.set("maximumPendingMessageLimit", limit);
        map.set("exclusive", PropertyValue::Bool(info.exclusive));
        map.set("retroactive", PropertyValue::Bool(info.retroactive));
        map.set("slowConsumer", PropertyValue::Bool(report.slow));
        map
    }
}

/// JMS's priority of a message that asks for none.
const PRIORITY: i8 = 4;

/// Fields for the addresses of connectors, and the schemes of those.
const ADDRESSES: [(&str, &[&str]); 4] = [
    ("openwire", &["tcp", "nio", "auto", "auto+nio"]),
    ("stomp", &["stomp", "stomp+nio"]),
    ("ssl", &["ssl", "nio+ssl", "auto+ssl", "auto+nio+ssl"]),
    ("stomp+ssl", &["stomp+ssl", "stomp+nio+ssl"]),
];

fn put_counters(map: &mut PropertyMap, counters: &Counters) {
    map.set("enqueueCount", long(counters.enqueued));
    map.set("dequeueCount", long(counters.dequeued));
    map.set("dispatchCount", long(counters.dispatched));
    map.set("expiredCount", long(counters.expired));
    map.set("averageMessageSize", long(counters.message_bytes.average() as u64));
    let (waits, double) = (&counters.enqueue_ms, PropertyValue::Double);
    map.set("averageEnqueueTime", double(waits.average()));
    map.set("maxEnqueueTime", double(waits.max as f64));
    map.set("minEnqueueTime", double(waits.min as f64));
}

fn put_usage(map: &mut PropertyMap, name: &str, usage: &Usage) {
    let percent = i32::try_from(usage.percent()).unwrap_or(i32::MAX);
    map.set(format!("{name}PercentUsage"), PropertyValue::Int(percent));
    map.set(format!("{name}Usage"), long(usage.used()));
    map.set(format!("{name}Limit"), long(usage.limit()));
}

fn long(value: impl Into<u64>) -> PropertyValue {
    PropertyValue::Long(i64::try_from(value.into()).unwrap_or(i64::MAX))
}

fn text(value: impl std::fmt::Display) -> PropertyValue {
    PropertyValue::String(value.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: &str, properties: &[&str]) -> Option<Subject> {
        let map: PropertyMap =
            properties.iter().map(|name| (Text::from(*name), PropertyValue::Bool(true))).collect();
        let message = Message {
            destination: Some(Destination::queue(name)),
            reply_to: Some(Destination::queue("ANSWERS")),
            properties: map.encode().ok(),
            ..Message::default()
        };
        let ordinary = Message { reply_to: None, ..message.clone() };
        assert_eq!(Question::of(&ordinary), None, "nobody could be answered");
        Question::of(&message).map(|question| question.subject)
    }

    #[test]
    fn statistics_questions_are_told_by_their_destination() {
        let destinations = |of: &str, ends, first| {
            Some(Subject::Destinations { of: Destination::queue(of), ends, first })
        };
        assert_eq!(
            asked("ActiveMQ.Statistics.Destination.A.>", &[]),
            destinations("A.>", false, false)
        );
        assert_eq!(asked("ActiveMQ.Statistics.DestinationA", &[]), destinations("A", false, false));
        assert_eq!(asked(&format!("{DESTINATION}.A{ENDS}"), &[]), destinations("A", true, false));
        assert_eq!(
            asked(&format!("{DESTINATION}.A"), &[ENDS, FIRST]),
            destinations("A", true, true)
        );
        assert_eq!(asked(BROKER, &[]), Some(Subject::Broker { reset: false }));
        assert_eq!(asked(BROKER, &[RESET]), Some(Subject::Broker { reset: true }));
        assert_eq!(
            asked(RESET, &[]),
            Some(Subject::Broker { reset: false }),
            "only the property resets"
        );
        assert_eq!(asked(SUBSCRIPTION, &[]), Some(Subject::Subscriptions));
        assert_eq!(asked("ActiveMQ.Statistics.Else", &[]), None);
        assert_eq!(asked("A", &[]), None);
    }
}

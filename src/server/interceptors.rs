//! From `<destinationInterceptors>` to what the broker does with them.

use crate::broker::VirtualSubscriptions;
use crate::broker::interceptors::selector_cache::{SelectorCache, SelectorCacheOptions};
use crate::broker::interceptors::{
    Composite, Forward, Interceptors, Layer, Mirror, Naming, Rule, VirtualTopic,
};
use crate::config::{
    self, BrokerConfig, DestinationInterceptor, DestinationKind, Plugin, VirtualDestination,
};
use crate::jms::Destination;
use crate::jms::selector::Selector;
use std::sync::Arc;

/// The interceptors that `broker` describes, or the default ones.
pub(super) fn of_config(broker: &BrokerConfig) -> Interceptors {
    let selector_cache = broker.plugins.iter().find_map(|plugin| match plugin {
        Plugin::VirtualSelectorCache(cache) => Some(cache),
        _ => None,
    });
    let selector_cache = selector_cache.map(|cache| {
        Arc::new(SelectorCache::new(SelectorCacheOptions {
            single: cache.single_selector_per_destination,
            ignore_wildcards: cache.ignore_wildcard_selectors,
        }))
    });
    Interceptors { selector_cache, ..listed(broker) }
}

/// Which virtual consumers are announced.
pub(super) fn virtual_subscriptions(broker: &BrokerConfig) -> VirtualSubscriptions {
    match (broker.use_virtual_dest_subs, broker.use_virtual_dest_subs_on_creation) {
        (false, _) => VirtualSubscriptions::Nothing,
        (true, false) => VirtualSubscriptions::Consumers,
        (true, true) => VirtualSubscriptions::ConsumersAndQueues,
    }
}

fn listed(broker: &BrokerConfig) -> Interceptors {
    let Some(listed) = &broker.destination_interceptors.0 else { return defaults(broker) };
    let mut interceptors = Interceptors::default();
    for interceptor in listed {
        let layer = match interceptor {
            DestinationInterceptor::Virtual(several) => {
                let rules = several.destinations.iter();
                Layer::Virtual(rules.map(|one| rule(one, &mut interceptors)).collect())
            }
            DestinationInterceptor::Mirrored(queue) => Layer::Mirror(mirror(queue, broker)),
        };
        interceptors.layers.push(layer);
    }
    interceptors
}

fn defaults(broker: &BrokerConfig) -> Interceptors {
    let mut interceptors = match broker.use_virtual_topics {
        true => Interceptors::default_virtual_topics(),
        false => Interceptors::default(),
    };
    if broker.use_mirrored_queues {
        let queue = config::MirroredQueue::default();
        interceptors.layers.push(Layer::Mirror(mirror(&queue, broker)));
    }
    interceptors
}

fn mirror(queue: &config::MirroredQueue, broker: &BrokerConfig) -> Mirror {
    let (prefix, postfix) = (queue.prefix.as_str().into(), queue.postfix.as_str().into());
    Mirror { prefix, postfix, temporaries: broker.use_temp_mirrored_queues }
}

fn rule(one: &VirtualDestination, interceptors: &mut Interceptors) -> Rule {
    match one {
        VirtualDestination::Topic(topic) => interceptors.add_virtual_topic(VirtualTopic {
            name: topic.name.as_str().into(),
            naming: Naming::new(&topic.prefix, &topic.postfix),
            selector_aware: topic.selector_aware,
            local: topic.local,
            drop_on_resource_limit: topic.drop_on_resource_limit,
            set_original_destination: topic.set_original_destination,
        }),
        VirtualDestination::CompositeQueue(queue) => {
            Rule::Composite(composite(queue, DestinationKind::Queue))
        }
        VirtualDestination::CompositeTopic(topic) => {
            Rule::Composite(composite(topic, DestinationKind::Topic))
        }
    }
}

fn composite(composite: &config::Composite, kind: DestinationKind) -> Composite {
    let forward_to = composite.forward_to.iter().flat_map(|target| {
        // The configuration has checked it.
        let selector = target.selector.as_deref().and_then(|text| Selector::parse(text).ok());
        let destinations = target.destination.destinations().into_iter();
        destinations.map(move |destination| Forward { destination, selector: selector.clone() })
    });
    Composite {
        name: Destination::new(kind, Some(composite.name.as_str().into())),
        forward_to: forward_to.collect(),
        forward_only: composite.forward_only,
        keep_unmatched: composite.send_when_not_matched,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Variables;
    use std::path::Path;

    /// Of the interceptors of a broker with these attributes and this inside: where messages for these go
    /// elsewhere too, or may.
    fn intercepted(attributes: &str, content: &str) -> Vec<&'static str> {
        let text = format!("<broker {attributes}>{content}</broker>");
        let config = config::parse(&text, Path::new("a.xml"), Variables::default());
        let config = config.unwrap_or_else(|errors| panic!("{text}: {errors}"));
        let interceptors = of_config(&config.broker);
        let all = ["topic://VirtualTopic.T", "topic://OWN.T", "queue://Q", "queue://COMPOSITE"];
        let destination = |name: &str| Destination::parse(name, DestinationKind::Queue);
        all.into_iter().filter(|name| interceptors.intercept(&destination(name))).collect()
    }

    const OWN: &str = "<virtualDestinationInterceptor><virtualDestinations>\
        <virtualTopic name='OWN.>'/><compositeQueue name='COMPOSITE'><forwardTo>\
        <queue physicalName='A'/></forwardTo></compositeQueue></virtualDestinations>\
        </virtualDestinationInterceptor>";

    #[test]
    fn virtual_topics_are_there_by_default_and_mirrored_queues_are_not() {
        assert_eq!(intercepted("", ""), ["topic://VirtualTopic.T"]);
        assert_eq!(intercepted("useVirtualTopics='false'", ""), [""; 0]);
        let mirrored = ["topic://VirtualTopic.T", "queue://Q", "queue://COMPOSITE"];
        assert_eq!(intercepted("useMirroredQueues='true'", ""), mirrored);
    }

    #[test]
    fn configured_interceptors_replace_the_default_ones() {
        let listed = |of: &str| format!("<destinationInterceptors>{of}</destinationInterceptors>");
        let both = "useVirtualTopics='true' useMirroredQueues='true'";
        assert_eq!(intercepted(both, &listed(OWN)), ["topic://OWN.T", "queue://COMPOSITE"]);
        assert_eq!(intercepted("useVirtualTopics='false'", &listed(OWN)).len(), 2);
        let mirror = "<mirroredQueue copyMessage='true'/>";
        assert_eq!(intercepted("", &listed(mirror)), ["queue://Q", "queue://COMPOSITE"]);
    }
}

//! `<plugins>`: security, and what wraps the broker. The last one listed sees commands first.

use std::path::PathBuf;
use std::time::Duration;

use super::destination::AppliesTo;
use super::macros::{choice, element};
use super::report::{Problem, Remark};
use super::table::Reading;
use super::units::Secret;
use super::xml::Element;
use crate::jms::{DestinationKind, wildcard};

choice! {
    pub enum Plugin {
        SimpleAuthentication(SimpleAuthentication) = "simpleAuthenticationPlugin", active;
        Jaas(JaasAuthentication) = "jaasAuthenticationPlugin", security;
        JaasCertificate(JaasCertificateAuthentication) =
            "jaasCertificateAuthenticationPlugin", security;
        JaasDual(JaasDualAuthentication) = "jaasDualAuthenticationPlugin", security;
        Authorization(Authorization) = "authorizationPlugin", security;
        Statistics = "statisticsBrokerPlugin", active;
        TimeStamping(TimeStamping) = "timeStampingBrokerPlugin", active;
        Logging(Logging) = "loggingBrokerPlugin", active;
        Redelivery(Redelivery) = "redeliveryPlugin", active;
        DiscardingDlq(DiscardingDlq) = "discardingDLQBrokerPlugin", active;
        ForcePersistency(ForcePersistency) = "forcePersistencyModeBrokerPlugin", active;
        DestinationPathSeparator(DestinationPathSeparator) =
            "destinationPathSeparatorPlugin", active;
        Destinations(DestinationsPlugin) = "destinationsPlugin", active;
        TraceBrokerPath(TraceBrokerPath) = "traceBrokerPathPlugin", active;
        VirtualSelectorCache(VirtualSelectorCache) =
            "virtualSelectorCacheBrokerPlugin", active;
        RuntimeConfiguration(RuntimeConfiguration) = "runtimeConfigurationPlugin", active;
    }
    without_effect {
        "partitionBrokerPlugin", "camelRoutesBrokerPlugin", "camelEndpointLoader",
        "connectionDotFilePlugin", "destinationDotFilePlugin", "udpTraceBrokerPlugin",
        "multicastTraceBrokerPlugin",
    }
    foreign_bean = foreign_plugin;
}

/// A Java plugin may go, unless it looks as if it kept somebody out.
fn foreign_plugin(class: &str, element: &Element, reading: &mut Reading<'_>) {
    let lower = class.to_ascii_lowercase();
    let class = class.to_owned();
    if ["auth", "secur", "jaas", "login", "ldap", "acl"].iter().any(|word| lower.contains(word)) {
        reading.error(&element.place, Problem::UnknownSecurityPlugin { class });
    } else {
        reading.remark(&element.place, Remark::Bean { class });
    }
}

element! {
    /// Users and passwords in the configuration itself.
    pub struct SimpleAuthentication = "simpleAuthenticationPlugin" {
        users: Vec<AuthenticationUser> = "users", Vec::new(), active;
        /// A connection without user and password is let in.
        anonymous_access_allowed: bool = "anonymousAccessAllowed", false, active;
        anonymous_user: String = "anonymousUser", "anonymous".to_owned(), active;
        anonymous_group: String = "anonymousGroup", "anonymous".to_owned(), active;
    }
    without_effect { "userPasswords", "userGroups" }
}

element! {
    pub struct AuthenticationUser = "authenticationUser" {
        username: String = "username", String::new(), active;
        password: Secret = "password", Secret::default(), active;
        groups: Vec<String> = "groups", Vec::new(), active;
    }
    required { "username" = "the name to log in with", "password" = "what the user must know" }
}

element! {
    /// The login modules of an entry of login.config.
    pub struct JaasAuthentication = "jaasAuthenticationPlugin" {
        configuration: String = "configuration", "activemq-domain".to_owned(), active;
        discover_login_config: bool = "discoverLoginConfig", true, active;
    }
}

element! {
    /// As [`JaasAuthentication`], with the client's certificate.
    pub struct JaasCertificateAuthentication = "jaasCertificateAuthenticationPlugin" {
        configuration: String = "configuration", "activemq-domain".to_owned(), active;
        discover_login_config: bool = "discoverLoginConfig", true, active;
    }
}

element! {
    /// Certificates on TLS connections, passwords on the others.
    pub struct JaasDualAuthentication = "jaasDualAuthenticationPlugin" {
        configuration: String = "configuration", "activemq-domain".to_owned(), active;
        ssl_configuration: String = "sslConfiguration", "activemq-ssl-domain".to_owned(), active;
        discover_login_config: bool = "discoverLoginConfig", true, active;
    }
}

element! {
    /// Who may read, write and create which destinations.
    pub struct Authorization = "authorizationPlugin" {
        map: Option<AuthorizationMapChoice> = "map", None, active;
    }
    required { "map" = "without entries nobody could do anything" }
}

choice! {
    pub enum AuthorizationMapChoice {
        Entries(AuthorizationMap) = "authorizationMap", active;
    }
    refused {
        "cachedLDAPAuthorizationMap" => "rights from LDAP are not offered; list them here",
        "lDAPAuthorizationMap" => "rights from LDAP are not offered; list them here",
        "simpleAuthorizationMap" => "it is made of Java objects; use <authorizationMap>",
    }
}

element! {
    /// The rights on a destination are those of all entries that cover it, together.
    pub struct AuthorizationMap = "authorizationMap" {
        entries: Vec<AuthorizationEntry> = "authorizationEntries" | "entries", Vec::new(), active;
        default_entry: Option<AuthorizationEntry> = "defaultEntry", None, active;
        /// For all temporary destinations; unset = everything is allowed there.
        temp_destinations: Option<TempDestinationAuthorizationEntry> =
            "tempDestinationAuthorizationEntry", None, active;
    }
    without_effect { "groupClass" }
}

element! {
    /// Groups with rights; `*` is everybody who has logged in.
    pub struct AuthorizationEntry = "authorizationEntry" {
        applies_to: AppliesTo = "queue" | "topic" | "tempQueue" | "tempTopic" | "destination",
            AppliesTo::default(), active;
        read: Vec<String> = "read", Vec::new(), active;
        write: Vec<String> = "write", Vec::new(), active;
        admin: Vec<String> = "admin", Vec::new(), active;
    }
    without_effect { "groupClass" }
}

element! {
    pub struct TempDestinationAuthorizationEntry = "tempDestinationAuthorizationEntry" {
        read: Vec<String> = "read", Vec::new(), active;
        write: Vec<String> = "write", Vec::new(), active;
        admin: Vec<String> = "admin", Vec::new(), active;
    }
    without_effect { "groupClass", "queue", "topic", "tempQueue", "tempTopic" }
}

element! {
    /// Sets time stamps and limits times to live.
    pub struct TimeStamping = "timeStampingBrokerPlugin" {
        /// For messages that would live for ever; 0 = leave them.
        zero_expiration_override: Duration = "zeroExpirationOverride", Duration::ZERO, active;
        /// Longest time to live; 0 = no limit.
        ttl_ceiling: Duration = "ttlCeiling", Duration::ZERO, active;
        /// Leave messages whose time stamp is in the past.
        future_only: bool = "futureOnly", false, active;
        process_network_messages: bool = "processNetworkMessages", false, active;
    }
}

element! {
    pub struct Logging = "loggingBrokerPlugin" {
        log_all: bool = "logAll", false, active;
        log_connection_events: bool = "logConnectionEvents", true, active;
        log_session_events: bool = "logSessionEvents", true, active;
        log_consumer_events: bool = "logConsumerEvents", false, active;
        log_producer_events: bool = "logProducerEvents", false, active;
        log_transaction_events: bool = "logTransactionEvents", false, active;
        log_internal_events: bool = "logInternalEvents", false, active;
        per_destination_logger: bool = "perDestinationLogger", false,
            ignored("the lines name the destination; all have one logger");
    }
}

element! {
    /// Redelivers later from the broker instead of sending to the dead letter queue.
    pub struct Redelivery = "redeliveryPlugin" {
        fallback_to_dead_letter: bool = "fallbackToDeadLetter", true, active;
        send_to_dlq_if_max_retries_exceeded: bool = "sendToDlqIfMaxRetriesExceeded", true, active;
        policies: RedeliveryPolicyMap =
            "redeliveryPolicyMap", RedeliveryPolicyMap::default(), active;
    }
}

element! {
    pub struct RedeliveryPolicyMap = "redeliveryPolicyMap" {
        entries: Vec<RedeliveryPolicy> =
            "redeliveryPolicyEntries" | "entries", Vec::new(), active;
        default_entry: Option<RedeliveryPolicy> = "defaultEntry", None, active;
    }
}

element! {
    pub struct RedeliveryPolicy = "redeliveryPolicy" {
        applies_to: AppliesTo = "queue" | "topic" | "tempQueue" | "tempTopic" | "destination",
            AppliesTo::default(), active;
        /// Unset (-1) = endlessly.
        maximum_redeliveries: Option<u32> = "maximumRedeliveries", Some(6), active;
        initial_redelivery_delay: Duration =
            "initialRedeliveryDelay", Duration::from_secs(1), active;
        redelivery_delay: Duration = "redeliveryDelay", Duration::from_secs(1), active;
        use_exponential_back_off: bool = "useExponentialBackOff", false, active;
        back_off_multiplier: f64 = "backOffMultiplier", 5.0, active;
        /// Unset (-1) = no limit.
        maximum_redelivery_delay: Option<Duration> = "maximumRedeliveryDelay", None, active;
        use_collision_avoidance: bool = "useCollisionAvoidance", false, active;
        collision_avoidance_percent: u32 = "collisionAvoidancePercent", 15, active;
    }
    without_effect { "preDispatchCheck" = "true" }
}

impl RedeliveryPolicyMap {
    /// The policy of a destination, if it has one: as with policies of destinations.
    pub fn entry_for(&self, kind: DestinationKind, name: &str) -> Option<&RedeliveryPolicy> {
        let candidates = self.entries.iter().filter_map(|entry| {
            entry.applies_to.best_part(kind, name).map(|pattern| (pattern, entry))
        });
        let best = candidates.max_by(|(a, _), (b, _)| wildcard::by_specificity(a, b));
        best.map(|(_, entry)| entry).or(self.default_entry.as_ref())
    }
}

element! {
    /// Drops dead letters.
    pub struct DiscardingDlq = "discardingDLQBrokerPlugin" {
        drop_all: bool = "dropAll", true, active;
        drop_temporary_topics: bool = "dropTemporaryTopics", true, active;
        drop_temporary_queues: bool = "dropTemporaryQueues", true, active;
        /// Regular expressions of destination names, separated by spaces.
        drop_only: Option<String> = "dropOnly", None, active;
        /// A line in the log every so many messages.
        report_interval: u32 = "reportInterval", 1000, active;
    }
}

/// What is to be dropped must be regular expressions.
pub(crate) fn check_patterns(plugin: &DiscardingDlq, reading: &mut Reading<'_>) {
    for pattern in plugin.drop_only.iter().flat_map(|patterns| patterns.split_whitespace()) {
        if let Err(source) = regex_lite::Regex::new(pattern) {
            let pattern = pattern.to_owned();
            reading.error(&plugin.place, Problem::BadPattern { pattern, source });
        }
    }
}

element! {
    /// All messages become persistent, or none.
    pub struct ForcePersistency = "forcePersistencyModeBrokerPlugin" {
        persistence_flag: bool = "persistenceFlag", false, active;
    }
}

element! {
    pub struct DestinationPathSeparator = "destinationPathSeparatorPlugin" {
        path_separator: String = "pathSeparator", "/".to_owned(), active;
    }
}

element! {
    /// Destinations from a file, one qualified name per line.
    pub struct DestinationsPlugin = "destinationsPlugin" {
        location: Option<PathBuf> = "location", None, active;
    }
}

element! {
    pub struct TraceBrokerPath = "traceBrokerPathPlugin" {
        /// The property that lists the brokers a message came through.
        stamp_property: String = "stampProperty", "BrokerPath".to_owned(), active;
    }
}

element! {
    /// Remembers the selectors of absent virtual topic consumers.
    pub struct VirtualSelectorCache = "virtualSelectorCacheBrokerPlugin" {
        persist_file: Option<PathBuf> = "persistFile", None, active;
        persist_interval: Duration = "persistInterval", Duration::from_secs(600), active;
        single_selector_per_destination: bool = "singleSelectorPerDestination", false, active;
        ignore_wildcard_selectors: bool = "ignoreWildcardSelectors", false, active;
    }
}

element! {
    /// Applies changes of the file while running.
    pub struct RuntimeConfiguration = "runtimeConfigurationPlugin" {
        /// 0 = only on request.
        check_period: Duration = "checkPeriod", Duration::ZERO, active;
    }
}

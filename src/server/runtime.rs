//! `<runtimeConfigurationPlugin>`: changes of the configuration file take effect while the broker runs.
//!
//! | changed | effect |
//! |---|---|
//! | `<destinationPolicy>` | destinations and new consumers have the new policies; how messages are kept (cursors, priorities, audit, groups, recovery) changes for new destinations only |
//! | `<destinationInterceptors>` | messages that come from now on |
//! | `<simpleAuthenticationPlugin>` | connections that come from now on |
//! | `<destinations>` | new ones come into being |
//! | anything else | is logged, and waits for the next start |

use super::{interceptors, plan};
use crate::broker::Broker;
use crate::broker::live::Live;
use crate::config::{Config, Difference, Plugin, PolicyEntry, PolicyMap};
use crate::jms::Destination;
use std::fs;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::task::JoinHandle;

/// Looks at the file of `config` again and again, if that is wanted.
pub(super) fn watch(
    config: &Config,
    broker: &Arc<Broker>,
    policies: Arc<Live<PolicyMap>>,
) -> Option<Watching> {
    let period = config.broker.plugins.iter().find_map(|plugin| match plugin {
        Plugin::RuntimeConfiguration(of) => Some(of.check_period),
        _ => None,
    })?;
    let file = config.file.display();
    if period.is_zero() {
        tracing::info!("Changes of {file} are for the next start: checkPeriod is 0");
        return None;
    }
    tracing::info!("Monitoring for updates (every {} millis): {file}", period.as_millis());
    let follower = Follower { config: config.clone(), broker: Arc::clone(broker), policies };
    Some(Watching(tokio::spawn(follower.run(period))))
}

/// Ends when it is dropped.
#[derive(Debug)]
pub(super) struct Watching(JoinHandle<()>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Follower {
    /// What is in effect, or waits for the next start.
    config: Config,
    broker: Arc<Broker>,
    policies: Arc<Live<PolicyMap>>,
}

impl Follower {
    async fn run(mut self, period: Duration) {
        let mut seen = self.modified().ok();
        loop {
            tokio::time::sleep(period.max(SHORTEST_PERIOD)).await;
            match self.modified() {
                Ok(modified) if seen != Some(modified) => {
                    seen = Some(modified);
                    self.update().await;
                }
                Ok(_) => {}
                Err(error) => {
                    // An editor may be about to put a new one there.
                    let file = self.config.file.display();
                    tracing::debug!(%file, %error, "the configuration is not there");
                }
            }
        }
    }

    fn modified(&self) -> io::Result<(SystemTime, u64)> {
        let metadata = fs::metadata(&self.config.file)?;
        Ok((metadata.modified()?, metadata.len()))
    }

    async fn update(&mut self) {
        let config = self.config.clone();
        let file = config.file.display().to_string();
        let changed = match tokio::task::spawn_blocking(move || config.reload()).await {
            Ok(Ok(changed)) => changed,
            Ok(Err(errors)) => {
                for error in errors.iter() {
                    tracing::error!("{error}");
                }
                tracing::error!("{file} has errors: nothing of it is applied");
                return;
            }
            Err(error) => {
                tracing::error!(%error, "reading {file} ended early");
                return;
            }
        };
        let differences = self.config.differences(&changed);
        if differences.is_empty() {
            tracing::info!("No material change to configuration in {file}");
            return;
        }
        tracing::info!("change in {file}");
        for difference in &differences {
            if !self.apply(difference, &changed).await {
                tracing::warn!("changes to {difference} are ignored: they need a restart");
            }
        }
        self.config = changed;
    }

    /// False if it has to wait for the next start.
    async fn apply(&self, difference: &Difference, changed: &Config) -> bool {
        let name = match difference {
            Difference::Attribute(_) => return false,
            Difference::Element(name) | Difference::Plugin(name) => name.as_str(),
        };
        match name {
            "destinationPolicy" => {
                let before = self.policies.get();
                self.policies.set(changed.broker.destination_policy.clone());
                self.broker.apply_policies().await;
                tell_policies(&before.entries, &changed.broker.destination_policy.entries);
            }
            "destinationInterceptors" => {
                self.broker.apply_interceptors(interceptors::of_config(&changed.broker));
            }
            "simpleAuthenticationPlugin" => {
                let is_there = |config: &Config| {
                    let plugins = &config.broker.plugins;
                    plugins.iter().any(|plugin| matches!(plugin, Plugin::SimpleAuthentication(_)))
                };
                // Who would let everybody in must say so by a restart.
                if !is_there(&self.config) || !is_there(changed) {
                    return false;
                }
                let authenticator = plan::authenticator(&changed.broker.plugins);
                self.broker.options.authenticator.set(authenticator);
            }
            "destinations" => {
                for destination in plan::destinations(&changed.broker) {
                    if let Err(error) = self.broker.destination(&destination, None).await {
                        tracing::error!(%destination, %error, "a configured destination was not created");
                    }
                }
            }
            _ => return false,
        }
        tracing::info!("applied changes to {difference}");
        true
    }
}

/// Says which entries are new, other ones or gone.
fn tell_policies(before: &[PolicyEntry], now: &[PolicyEntry]) {
    let named = |entry: &PolicyEntry| {
        let of = entry.applies_to.0.as_ref();
        let of = of.map(|of| Destination::new(of.kind, Some(of.name.as_str().into())));
        of.map_or_else(|| "nothing".to_owned(), |of| of.to_string())
    };
    let find = |entries: &[PolicyEntry], name: &str| {
        entries.iter().find(|entry| named(entry) == name).map(plan::described)
    };
    for entry in now {
        let name = named(entry);
        match find(before, &name) {
            None => tracing::info!("added policy for: {name}"),
            Some(old) if old != plan::described(entry) => {
                tracing::info!("updated policy for: {name}");
            }
            Some(_) => {}
        }
    }
    for name in before.iter().map(named).filter(|name| find(now, name).is_none()) {
        tracing::info!("removed policy for: {name}");
    }
}

/// A shorter period would only burn the processor.
const SHORTEST_PERIOD: Duration = Duration::from_millis(10);

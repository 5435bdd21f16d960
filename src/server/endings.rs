//! What comes after a lost lock, a failed disk or a full one, as the configuration says.

use crate::config::{BrokerConfig, IoExceptionHandler, IoExceptions};
use std::time::Duration;

/// What comes after a broker that cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It starts again, and is a slave where another broker has the store (`restartAllowed`).
    Restart,
    /// It could not start again, and tries once more after so long.
    RestartIn(Duration),
    /// The process ends with this code.
    Exit(i32),
}

/// What comes after each end that nobody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Endings {
    /// It is no longer the master of its store.
    pub(super) lost_lock: After,
    /// What a failed disk has of the last writes is not known: somebody has to look, unless the broker is to go
    /// on all the same (`ignoreAllErrors`), with what was confirmed.
    pub(super) store_failed: After,
}

/// Without a word in the configuration: a failure.
const FAILURE_CODE: i32 = 1;

impl Endings {
    pub(super) fn of_config(broker: &BrokerConfig) -> Self {
        let code = broker.system_exit_on_shutdown_exit_code;
        let exits = broker.system_exit_on_shutdown;
        let handler = Handler::of_config(broker.io_exception_handler.as_ref());
        let lost_lock = match broker.restart_allowed {
            _ if exits => After::Exit(code),
            true => After::Restart,
            false => After::Exit(FAILURE_CODE),
        };
        let store_failed = match exits || handler.exits {
            _ if handler.ignores_all => After::Restart,
            true => After::Exit(code),
            false => After::Exit(FAILURE_CODE),
        };
        Self { lost_lock, store_failed }
    }
}

/// What comes when a broker that was up cannot start again.
pub fn after_failed_restart(broker: &BrokerConfig) -> After {
    let handler = Handler::of_config(broker.io_exception_handler.as_ref());
    match handler.ignores_all {
        true => After::RestartIn(handler.period.max(SHORTEST_PERIOD)),
        false => After::Exit(FAILURE_CODE),
    }
}

/// A period of zero would never rest.
const SHORTEST_PERIOD: Duration = Duration::from_millis(10);

impl Default for Endings {
    fn default() -> Self {
        Self::of_config(&BrokerConfig::default())
    }
}

/// What a full disk does to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WithoutSpace {
    /// Producers wait, all else goes on.
    Waits,
    /// It stops (`ignoreNoSpaceErrors="false"`).
    Stops,
    /// Its connectors are closed; how often to look whether there is space (`stopStartConnectors` as well).
    Pauses(Duration),
}

impl WithoutSpace {
    pub(super) fn of_config(handler: Option<&IoExceptionHandler>) -> Self {
        match Handler::of_config(handler) {
            of if of.ignores_no_space || of.ignores_all => Self::Waits,
            of if of.pauses => Self::Pauses(of.period),
            _ => Self::Stops,
        }
    }
}

/// What the kinds of `ioExceptionHandler` have in common.
struct Handler {
    ignores_all: bool,
    ignores_no_space: bool,
    pauses: bool,
    period: Duration,
    exits: bool,
}

impl Handler {
    fn of_config(handler: Option<&IoExceptionHandler>) -> Self {
        macro_rules! of {
            ($handler:expr) => {
                Self {
                    ignores_all: $handler.ignore_all_errors,
                    ignores_no_space: $handler.ignore_no_space_errors,
                    pauses: $handler.stop_start_connectors,
                    period: $handler.resume_check_sleep_period,
                    exits: $handler.system_exit_on_shutdown,
                }
            };
        }
        match handler {
            None => of!(IoExceptions::default()),
            Some(IoExceptionHandler::Default(of)) => of!(of),
            Some(IoExceptionHandler::LeaseLocker(of)) => of!(of),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_lost_its_lock_starts_again_and_one_that_lost_its_disk_does_not() {
        let plain = BrokerConfig::default();
        let failed = After::Exit(FAILURE_CODE);
        let expected = Endings { lost_lock: After::Restart, store_failed: failed };
        assert_eq!(Endings::of_config(&plain), expected);
        let once = BrokerConfig { restart_allowed: false, ..plain.clone() };
        let expected = Endings { lost_lock: failed, store_failed: failed };
        assert_eq!(Endings::of_config(&once), expected);
        let code = BrokerConfig { system_exit_on_shutdown_exit_code: 7, ..plain };
        let exits = BrokerConfig { system_exit_on_shutdown: true, ..code.clone() };
        let expected = Endings { lost_lock: After::Exit(7), store_failed: After::Exit(7) };
        assert_eq!(Endings::of_config(&exits), expected);
        let of = IoExceptions { system_exit_on_shutdown: true, ..IoExceptions::default() };
        let io_exception_handler = Some(IoExceptionHandler::Default(of));
        let expected = Endings { lost_lock: After::Restart, store_failed: After::Exit(7) };
        let handled = BrokerConfig { io_exception_handler, ..code };
        assert_eq!(Endings::of_config(&handled), expected);
        assert_eq!(after_failed_restart(&handled), failed);
    }

    #[test]
    fn all_errors_are_ignored_by_starting_again_until_it_works() {
        let of = IoExceptions {
            ignore_all_errors: true,
            system_exit_on_shutdown: true,
            resume_check_sleep_period: Duration::ZERO,
            ..IoExceptions::default()
        };
        let io_exception_handler = Some(IoExceptionHandler::Default(of));
        let broker = BrokerConfig { io_exception_handler, ..BrokerConfig::default() };
        assert_eq!(Endings::of_config(&broker).store_failed, After::Restart);
        assert_eq!(after_failed_restart(&broker), After::RestartIn(SHORTEST_PERIOD));
    }

    #[test]
    fn a_full_disk_stops_the_broker_or_its_connectors_only_if_that_is_configured() {
        assert_eq!(WithoutSpace::of_config(None), WithoutSpace::Waits);
        let of = |ignore_no_space_errors, stop_start_connectors| {
            let of = IoExceptions {
                ignore_no_space_errors,
                stop_start_connectors,
                ..IoExceptions::default()
            };
            WithoutSpace::of_config(Some(&IoExceptionHandler::Default(of)))
        };
        assert_eq!([of(true, false), of(true, true)], [WithoutSpace::Waits; 2]);
        assert_eq!(of(false, false), WithoutSpace::Stops);
        assert_eq!(of(false, true), WithoutSpace::Pauses(Duration::from_secs(5)));
    }
}

//! Names of the folders of an `<mKahaDB>`.
//!
//! A store's folder is called like the filter, or the one destination, that it is for:
//! `queue://ORDERS.>` becomes `queue#3a#2f#2fORDERS.#3e`. Bytes that a folder cannot be trusted with
//! are `#` and two hex digits; `#` is one of them, so that no two names meet.

use crate::jms::{Destination, DestinationKind};

/// The store of all destinations that have no other.
pub(super) const REST: &str = "#210";
/// The store of what lies in several.
pub(super) const TRANSACTIONS: &str = "txStore";
/// Linux has no longer names, bytes.
const NAME_BYTES_MAX: usize = 255;

/// None if the name would be too long.
pub(super) fn name_of(destination: &Destination) -> Option<String> {
    let mut name = String::new();
    for byte in destination.to_string().bytes() {
        match is_kept(byte) {
            true => name.push(byte.into()),
            false => name.push_str(&format!("#{byte:02x}")),
        }
    }
    (name.len() <= NAME_BYTES_MAX).then_some(name)
}

/// What the folder `name` is for, if it is for a filter or a destination.
pub(super) fn destination_in(name: &str) -> Option<Destination> {
    let mut text = Vec::with_capacity(name.len());
    let mut bytes = name.bytes();
    while let Some(byte) = bytes.next() {
        text.push(match byte {
            b'#' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            byte => byte,
        });
    }
    let text = String::from_utf8(text).ok()?;
    let destination = Destination::parse(&text, DestinationKind::Queue);
    (name_of(&destination).as_deref() == Some(name)).then_some(destination)
}

fn is_kept(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_those_of_activemq() {
        for (destination, name) in [
            (Destination::queue("ORDERS.>"), "queue#3a#2f#2fORDERS.#3e"),
            (Destination::topic("a b_c-d"), "topic#3a#2f#2fa#20b_c-d"),
            (Destination::queue("A#20"), "queue#3a#2f#2fA#2320"),
            (Destination::queue("\u{e4}"), "queue#3a#2f#2f#c3#a4"),
        ] {
            assert_eq!(name_of(&destination).as_deref(), Some(name));
        }
        assert_eq!(name_of(&Destination::queue("x".repeat(300))), None);
        for alien in [REST, TRANSACTIONS, "data-archive", "queue#3A#2f#2fA", "queue#3a#2f#2f#41"] {
            assert_eq!(destination_in(alien), None, "{alien}");
        }
    }

    proptest! {
        #[test]
        fn a_folder_tells_what_it_is_for(name in "\\PC{1,30}", is_queue: bool) {
            let name = name.trim();
            prop_assume!(!name.is_empty());
            let kind = if is_queue { DestinationKind::Queue } else { DestinationKind::Topic };
            let destination = Destination::new(kind, Some(name.into()));
            if let Some(folder) = name_of(&destination) {
                prop_assert!(folder.bytes().all(|byte| is_kept(byte) || byte == b'#'));
                prop_assert_eq!(destination_in(&folder), Some(destination));
            }
        }

        #[test]
        fn any_folder_may_be_there(name in "\\PC{0,30}|[a-z#0-9]{0,30}") {
            if let Some(destination) = destination_in(&name) {
                prop_assert_eq!(name_of(&destination), Some(name));
            }
        }
    }
}

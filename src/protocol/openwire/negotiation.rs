//! The first frames of a connection: each side offers a version and options in a `WireFormatInfo`,
//! both compute the same result.

use super::codec::{Settings, WireError};
use super::command::WireFormatInfo;
use crate::jms::Text;
use crate::jms::properties::{PropertyError, PropertyMap, PropertyValue};
use std::time::Duration;

/// The newest version there is.
pub const VERSION_MAX: i32 = 12;

/// What one side offers. Defaults are those of a broker and of ActiveMQ's client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    pub version: i32,
    /// `TightEncodingEnabled`.
    pub tight: bool,
    /// `CacheEnabled`.
    pub cache: bool,
    /// `CacheSize`, slots; 0 means as many as there can be.
    pub cache_size: i32,
    /// `StackTraceEnabled`.
    pub stack_trace: bool,
    /// `TcpNoDelayEnabled`.
    pub tcp_no_delay: bool,
    /// `SizePrefixDisabled`: frames without size. Only both sides together can want it, and we
    /// never do.
    pub size_prefix_disabled: bool,
    /// `MaxInactivityDuration`, ms; 0 switches the monitor off.
    pub max_inactivity_ms: i64,
    /// `MaxInactivityDurationInitalDelay` (so spelled), ms.
    pub initial_delay_ms: i64,
    /// `MaxFrameSize`, bytes; not positive: no limit.
    pub max_frame_size: i64,
    /// `MaxFrameSizeEnabled`; only told.
    pub max_frame_size_enabled: bool,
    /// `Host`: the name by which a client reached the broker.
    pub host: Option<Text>,
    /// `ProviderName`.
    pub provider_name: Option<Text>,
    /// `ProviderVersion`.
    pub provider_version: Option<Text>,
    /// `PlatformDetails`.
    pub platform_details: Option<Text>,
}

/// What two sides agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    pub settings: Settings,
    pub tcp_no_delay: bool,
    /// After how long a silent peer is given up; none: never.
    pub max_inactivity: Option<Duration>,
    /// How long both sides wait before they begin to watch.
    pub initial_delay: Duration,
}

/// What `WireFormatInfo` begins with.
const MAGIC: [u8; 8] = *b"ActiveMQ";

/// How many options a peer may offer, and how many bytes each of them may have: it is not known
/// yet.
const OPTIONS_MAX: usize = 64;
const OPTION_BYTES_MAX: usize = 512;

impl Default for Offer {
    fn default() -> Self {
        Self {
            version: VERSION_MAX,
            tight: true,
            cache: true,
            cache_size: 1024,
            stack_trace: true,
            tcp_no_delay: true,
            size_prefix_disabled: false,
            max_inactivity_ms: 30_000,
            initial_delay_ms: 10_000,
            max_frame_size: i64::MAX,
            max_frame_size_enabled: true,
            host: None,
            provider_name: Some("ActiveMQ".into()),
            provider_version: None,
            platform_details: None,
        }
    }
}

impl Offer {
    /// The frame that makes this offer.
    pub fn to_wire(&self) -> Result<WireFormatInfo, WireError> {
        let bool = PropertyValue::Bool;
        let options = [
            (TIGHT, Some(bool(self.tight))),
            (CACHE, Some(bool(self.cache))),
            (CACHE_SIZE, Some(PropertyValue::Int(self.cache_size))),
            (SIZE_PREFIX_DISABLED, Some(bool(self.size_prefix_disabled))),
            (STACK_TRACE, Some(bool(self.stack_trace))),
            (TCP_NO_DELAY, Some(bool(self.tcp_no_delay))),
            (MAX_INACTIVITY, Some(PropertyValue::Long(self.max_inactivity_ms))),
            (INITIAL_DELAY, Some(PropertyValue::Long(self.initial_delay_ms))),
            (MAX_FRAME_SIZE, Some(PropertyValue::Long(self.max_frame_size))),
            (MAX_FRAME_SIZE_ENABLED, Some(bool(self.max_frame_size_enabled))),
            (HOST, self.host.clone().map(PropertyValue::String)),
            (PROVIDER_NAME, self.provider_name.clone().map(PropertyValue::String)),
            (PROVIDER_VERSION, self.provider_version.clone().map(PropertyValue::String)),
            (PLATFORM_DETAILS, self.platform_details.clone().map(PropertyValue::String)),
        ];
        let options: PropertyMap = options
            .into_iter()
            .filter_map(|(name, value)| Some((Text::from(name), value?)))
            .collect();
        let properties = Some(options.encode()?);
        Ok(WireFormatInfo { magic: MAGIC, version: self.version, properties })
    }

    /// Reads a peer's offer; what it does not mention is false, 0 or null. Refuses another magic,
    /// and offers that are larger than any real one.
    pub fn from_wire(info: &WireFormatInfo) -> Result<Self, WireError> {
        if info.magic != MAGIC {
            return Err(WireError::Magic);
        }
        let bytes = info.properties.as_deref().unwrap_or(&[0; 4]);
        if let Some((count, _)) = bytes.split_first_chunk()
            && let count = i32::from_be_bytes(*count)
            && count > OPTIONS_MAX as i32
        {
            return Err(PropertyError::Count(count).into());
        }
        if bytes.len() > OPTIONS_MAX * 2 * OPTION_BYTES_MAX {
            return Err(WireError::Offer("its options have too many bytes"));
        }
        let options = Options(PropertyMap::decode(bytes)?);
        options.check()?;
        Ok(Self {
            version: info.version,
            tight: options.bool(TIGHT),
            cache: options.bool(CACHE),
            cache_size: options.number(CACHE_SIZE).clamp(0, i32::MAX.into()) as i32,
            stack_trace: options.bool(STACK_TRACE),
            tcp_no_delay: options.bool(TCP_NO_DELAY),
            size_prefix_disabled: options.bool(SIZE_PREFIX_DISABLED),
            max_inactivity_ms: options.number(MAX_INACTIVITY),
            initial_delay_ms: options.number(INITIAL_DELAY),
            max_frame_size: options.number(MAX_FRAME_SIZE),
            max_frame_size_enabled: options.bool(MAX_FRAME_SIZE_ENABLED),
            host: options.text(HOST),
            provider_name: options.text(PROVIDER_NAME),
            provider_version: options.text(PROVIDER_VERSION),
            platform_details: options.text(PLATFORM_DETAILS),
        })
    }
}

/// What holds between two sides with these offers. `version_min` is the oldest version to talk to:
/// the transport option `wireFormat.minmumWireFormatVersion`, at least 1.
pub fn negotiate(ours: &Offer, theirs: &Offer, version_min: i32) -> Result<Agreement, WireError> {
    let version = ours.version.min(theirs.version).min(VERSION_MAX);
    let min = version_min.max(1);
    if version < min {
        return Err(WireError::Version { version, min });
    }
    let cache_size = ours.cache_size.min(theirs.cache_size).clamp(0, i32::from(u16::MAX)) as u16;
    let max_frame_size = match smaller_positive(ours.max_frame_size, theirs.max_frame_size) {
        size @ 1.. => size.cast_unsigned(),
        _ => u64::MAX,
    };
    let settings = Settings {
        version,
        tight: ours.tight && theirs.tight,
        cache_size: (ours.cache && theirs.cache).then_some(cache_size),
        stack_trace: ours.stack_trace && theirs.stack_trace,
        max_frame_size,
    };
    Ok(Agreement {
        settings,
        tcp_no_delay: ours.tcp_no_delay && theirs.tcp_no_delay,
        max_inactivity: positive_ms(ours.max_inactivity_ms.min(theirs.max_inactivity_ms)),
        initial_delay: positive_ms(ours.initial_delay_ms.min(theirs.initial_delay_ms))
            .unwrap_or_default(),
    })
}

/// The smaller one; what is not positive loses.
fn smaller_positive(a: i64, b: i64) -> i64 {
    match (a > 0, b > 0) {
        (true, true) => a.min(b),
        (true, false) => a,
        (false, _) => b,
    }
}

fn positive_ms(ms: i64) -> Option<Duration> {
    u64::try_from(ms).ok().filter(|&ms| ms > 0).map(Duration::from_millis)
}

/// The options of a peer's offer.
struct Options(PropertyMap);

impl Options {
    /// Nothing nested, nothing long.
    fn check(&self) -> Result<(), WireError> {
        for (name, value) in self.0.iter() {
            let len = match value {
                PropertyValue::Map(_) | PropertyValue::List(_) => {
                    return Err(WireError::Offer("an option is a map or a list"));
                }
                PropertyValue::String(text) => text.len(),
                PropertyValue::Bytes(bytes) => bytes.len(),
                _ => 0,
            };
            if name.len().max(len) > OPTION_BYTES_MAX {
                return Err(WireError::Offer("an option is too long"));
            }
        }
        Ok(())
    }

    fn bool(&self, name: &str) -> bool {
        matches!(self.0.get(name), Some(PropertyValue::Bool(true)))
    }

    fn number(&self, name: &str) -> i64 {
        match self.0.get(name) {
            Some(PropertyValue::Int(value)) => (*value).into(),
            Some(PropertyValue::Long(value)) => *value,
            _ => 0,
        }
    }

    fn text(&self, name: &str) -> Option<Text> {
        match self.0.get(name) {
            Some(PropertyValue::String(text)) => Some(text.clone()),
            _ => None,
        }
    }
}

const TIGHT: &str = "TightEncodingEnabled";
const CACHE: &str = "CacheEnabled";
const CACHE_SIZE: &str = "CacheSize";
const SIZE_PREFIX_DISABLED: &str = "SizePrefixDisabled";
const STACK_TRACE: &str = "StackTraceEnabled";
const TCP_NO_DELAY: &str = "TcpNoDelayEnabled";
const MAX_INACTIVITY: &str = "MaxInactivityDuration";
const INITIAL_DELAY: &str = "MaxInactivityDurationInitalDelay";
const MAX_FRAME_SIZE: &str = "MaxFrameSize";
const MAX_FRAME_SIZE_ENABLED: &str = "MaxFrameSizeEnabled";
const HOST: &str = "Host";
const PROVIDER_NAME: &str = "ProviderName";
const PROVIDER_VERSION: &str = "ProviderVersion";
const PLATFORM_DETAILS: &str = "PlatformDetails";

#[cfg(test)]
mod tests {
    use super::*;

    fn agree(change: impl FnOnce(&mut Offer)) -> Result<Agreement, WireError> {
        let mut theirs = Offer::default();
        change(&mut theirs);
        negotiate(&Offer::default(), &Offer::from_wire(&theirs.to_wire()?)?, 1)
    }

    #[test]
    fn an_offer_arrives_as_it_was_made() {
        let offer = Offer {
            host: Some("broker.example".into()),
            provider_version: Some("1.0".into()),
            platform_details: Some("x".into()),
            max_frame_size: 104_857_600,
            cache_size: 0,
            ..Offer::default()
        };
        assert_eq!(Offer::from_wire(&offer.to_wire().unwrap()), Ok(offer));
    }

    #[test]
    fn both_sides_must_want_an_option_and_the_smaller_number_holds() {
        let agreed = agree(|_| {}).unwrap();
        assert_eq!(agreed.settings.cache_size, Some(1024));
        assert!(agreed.settings.tight && agreed.settings.stack_trace && agreed.tcp_no_delay);
        assert_eq!(agreed.max_inactivity, Some(Duration::from_secs(30)));
        let agreed = agree(|offer| {
            offer.version = 9;
            offer.tight = false;
            offer.cache_size = 0;
            offer.max_inactivity_ms = 600;
            offer.initial_delay_ms = 100;
            offer.max_frame_size = 4096;
        })
        .unwrap();
        let settings = Settings {
            version: 9,
            tight: false,
            cache_size: Some(0),
            stack_trace: true,
            max_frame_size: 4096,
        };
        assert_eq!(agreed.settings, settings);
        assert_eq!(agreed.max_inactivity, Some(Duration::from_millis(600)));
        assert_eq!(agreed.initial_delay, Duration::from_millis(100));
    }

    #[test]
    fn zero_switches_the_monitor_off_and_lifts_no_frame_limit() {
        let agreed = agree(|offer| {
            offer.max_inactivity_ms = 0;
            offer.max_frame_size = 0;
        })
        .unwrap();
        assert_eq!(agreed.max_inactivity, None);
        assert_eq!(agreed.settings.max_frame_size, i64::MAX as u64);
    }

    #[test]
    fn an_offer_without_properties_is_the_plainest() {
        let bare = WireFormatInfo { magic: MAGIC, version: 99, properties: None };
        let theirs = Offer::from_wire(&bare).unwrap();
        let agreed = negotiate(&Offer::default(), &theirs, 1).unwrap();
        let settings = Settings::before_negotiation(i64::MAX as u64);
        assert_eq!(agreed.settings, settings);
        assert_eq!(agreed.max_inactivity, None);
    }

    #[test]
    fn another_magic_and_an_old_version_are_refused() {
        let foreign = WireFormatInfo { magic: *b"ActiveM0", ..WireFormatInfo::default() };
        assert_eq!(Offer::from_wire(&foreign), Err(WireError::Magic));
        for version in [0, -1, i32::MIN] {
            let agreed = agree(|offer| offer.version = version);
            assert!(matches!(agreed, Err(WireError::Version { .. })));
        }
        let old = Offer { version: 2, ..Offer::default() };
        assert!(negotiate(&Offer::default(), &old, 3).is_err());
    }

    #[test]
    fn an_offer_has_limits() {
        let wire = |map: PropertyMap| WireFormatInfo {
            magic: MAGIC,
            version: 12,
            properties: Some(map.encode().unwrap()),
        };
        let of_value = |value| Offer::from_wire(&wire([("k".into(), value)].into_iter().collect()));
        assert!(of_value(PropertyValue::String("x".repeat(512).into())).is_ok());
        assert!(of_value(PropertyValue::String("x".repeat(513).into())).is_err());
        assert!(of_value(PropertyValue::Bytes(vec![0; 513].into())).is_err());
        assert!(of_value(PropertyValue::List(Vec::new())).is_err());
        assert!(of_value(PropertyValue::Map(PropertyMap::default())).is_err());
        let of_count = |count: usize| {
            let entries = (0..count).map(|n| (n.to_string().into(), PropertyValue::Null));
            Offer::from_wire(&wire(entries.collect()))
        };
        assert!(of_count(64).is_ok());
        assert!(of_count(65).is_err());
    }
}

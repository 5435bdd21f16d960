//! What a single property can be: text, number, switch, path, list, map.

use std::path::PathBuf;
use std::time::Duration;

use super::report::SubjectKind;
use super::table::{Content, Given, Property, Reading};
use super::units::{self, BadValue, DurationWithUnit, MemorySize, Percent, Secret};
use super::uri::BrokerUri;

/// A list of texts: `<value>` elements, lines of text, or `a,b` in an attribute.
impl Property for Vec<String> {
    fn read(given: &Given<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        let split = |text: &str| {
            let words = text.split([',', '\n']).map(str::trim).filter(|word| !word.is_empty());
            words.map(str::to_owned).collect::<Self>()
        };
        let Content::Inside(element) = given.content else {
            return reading.scalar(given, |text| Ok(split(text)));
        };
        let mut texts = split(&element.text);
        let list = match element.children.as_slice() {
            [list] if list.name == "list" || list.name == "set" => list,
            _ => element,
        };
        for child in &list.children {
            if child.name == "value" {
                texts.push(child.text.trim().to_owned());
            } else {
                reading.unknown_element(child, &element.name, &["value"]);
            }
        }
        Some(texts)
    }
}

/// A map: `<map><entry key="a" value="b"/></map>` or `<props><prop key="a">b</prop></props>`.
impl Property for Vec<(String, String)> {
    fn read(given: &Given<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        let Content::Inside(element) = given.content else {
            return reading.scalar(given, |_| Err(BadValue::NotAMap));
        };
        let entries = match element.children.as_slice() {
            [map] if map.name == "map" || map.name == "props" => map,
            _ => element,
        };
        let mut pairs = Self::new();
        for entry in &entries.children {
            let key =
                entry.attribute("key").filter(|_| entry.name == "entry" || entry.name == "prop");
            let Some(key) = key else {
                reading.unknown_element(entry, &entries.name, &["entry", "prop"]);
                continue;
            };
            let inside = entry.named("value").next().unwrap_or(entry).text.trim();
            let value = entry.attribute("value").unwrap_or(inside);
            pairs.push((key.to_owned(), value.to_owned()));
        }
        Some(pairs)
    }
}

impl Property for bool {
    fn read(given: &Given<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        let parse = match given.kind {
            SubjectKind::Attribute | SubjectKind::Element => units::boolean,
            SubjectKind::Property | SubjectKind::UriOption => units::lenient_boolean,
        };
        reading.scalar(given, parse)
    }
}

/// `impl Property` for values that are one text.
macro_rules! scalars {
    ($($type:ty = $parse:expr;)*) => { $(
        impl Property for $type {
            fn read(given: &Given<'_>, reading: &mut Reading<'_>) -> Option<Self> {
                reading.scalar(given, $parse)
            }
        }
    )* };
}

/// Java's `int` and `long` are signed: so are the limits.
const INT_MAX: i64 = i32::MAX as i64;

scalars! {
    String = |text| Ok(text.to_owned());
    Option<String> = |text| Ok(Some(text.to_owned()));
    Secret = |text| Ok(Self::from(text));
    Option<Secret> = |text| Ok(Some(Secret::from(text)));
    PathBuf = path;
    Option<PathBuf> = |text| path(text).map(Some);
    u16 = |text| units::integer(text, 0, i64::from(u16::MAX));
    Option<u16> = |text| units::integer(text, 0, i64::from(u16::MAX)).map(Some);
    u32 = |text| units::integer(text, 0, INT_MAX);
    Option<u32> = |text| {
        let value: i64 = units::integer(text, i64::from(i32::MIN), INT_MAX)?;
        Ok(u32::try_from(value).ok())
    };
    Option<i32> = |text| units::integer(text, i64::from(i32::MIN), INT_MAX).map(Some);
    i32 = |text| units::integer(text, i64::from(i32::MIN), INT_MAX);
    u64 = |text| units::integer(text, 0, i64::MAX);
    i64 = |text| units::integer(text, i64::MIN, i64::MAX);
    f64 = units::number;
    Option<bool> = |text| units::boolean(text).map(Some);
    MemorySize = Self::parse;
    Option<MemorySize> = |text| MemorySize::parse(text).map(Some);
    Option<Percent> = |text| Percent::parse(text).map(Some);
    Duration = units::milliseconds;
    Option<Duration> = units::milliseconds_or_never;
    BrokerUri = |text| Ok(text.parse::<Self>()?);
    DurationWithUnit = |text| units::duration_with_unit(text).map(Self);
    Option<BrokerUri> = |text| Ok(Some(text.parse::<BrokerUri>()?));
}

/// `file:PATH` or a bare path.
fn path(text: &str) -> Result<PathBuf, BadValue> {
    let text = text.trim();
    let path = match text.strip_prefix("file:") {
        Some(rest) if rest.starts_with("///") => rest.trim_start_matches("//"),
        Some(rest) => rest,
        None => text,
    };
    if path.is_empty() { Err(BadValue::Empty) } else { Ok(PathBuf::from(path)) }
}

//! ActiveMQ's URIs: `tcp://host:port?option=value`, and composites such as
//! `failover:(tcp://a:1,static:(tcp://b:2)?x=1)?randomize=false`.
//!
//! They look like RFC 3986 and are not: brackets nest, option names contain dots, a composite has
//! no host. Options are percent-decoded (`+` is a space, as in Java's URLDecoder); the rest is
//! taken literally. Nesting is limited.

use std::fmt::{self, Write as _};
use std::str::FromStr;

/// A parsed URI. `Display` writes one that parses to the same value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerUri {
    /// Lower case: `tcp`, `auto+nio+ssl`, `failover`.
    pub scheme: String,
    pub target: UriTarget,
    /// In the order written, names and values decoded. A name may occur twice; the last one counts.
    pub options: Vec<UriOption>,
}

/// What a URI points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UriTarget {
    /// `//host:port/path`. An IPv6 host is kept without its brackets; it may be empty.
    Address { host: String, port: Option<u16>, path: String },
    /// `(uri,uri)`, for `static`, `failover`, `masterslave`, `fanout`, `discovery`.
    Composite(Vec<BrokerUri>),
}

/// `name=value` after the question mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UriOption {
    pub name: String,
    /// None: there is no `=`. Such an option sets nothing.
    pub value: Option<String>,
}

/// Why a text is not a URI.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    #[error("a URI starts with a scheme such as tcp:")]
    NoScheme,
    #[error("'{0}' is not a port")]
    BadPort(String),
    #[error("'{0}' is not a host")]
    BadHost(String),
    #[error("no host and port, as in tcp://0.0.0.0:61616")]
    NoAddress,
    #[error("the brackets do not match")]
    Brackets,
    #[error("a composite needs at least one address")]
    EmptyComposite,
    #[error("URIs are nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    #[error("'{0}' is not percent-encoded UTF-8")]
    Encoding(String),
}

impl BrokerUri {
    /// The last value given for `name`.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().rev().find(|o| o.name == name)?.value.as_deref()
    }

    /// Host and port, for a URI that names one address with a port.
    pub fn address(&self) -> Option<(&str, u16)> {
        match &self.target {
            UriTarget::Address { host, port: Some(port), .. } => Some((host, *port)),
            _ => None,
        }
    }

    /// The addresses of a composite, one level down; empty for a plain URI.
    pub fn parts(&self) -> &[Self] {
        match &self.target {
            UriTarget::Composite(parts) => parts,
            UriTarget::Address { .. } => &[],
        }
    }

    fn parse(text: &str, depth: usize) -> Result<Self, UriError> {
        if depth > DEPTH_MAX {
            return Err(UriError::TooDeep);
        }
        let text = text.trim();
        let (scheme, rest) = text.split_once(':').ok_or(UriError::NoScheme)?;
        let well_formed = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        if !well_formed {
            return Err(UriError::NoScheme);
        }
        let scheme = scheme.to_ascii_lowercase();
        let after_slashes = rest.strip_prefix("//").unwrap_or(rest);
        let (target, query) = if let Some(inner) = after_slashes.strip_prefix('(') {
            let end = closing_bracket(inner).ok_or(UriError::Brackets)?;
            let (list, rest) = inner.split_at(end);
            let rest = rest.strip_prefix(')').unwrap_or(rest);
            let query = match rest.split_once('?') {
                Some(("" | "/", query)) => query,
                None if rest.is_empty() || rest == "/" => "",
                _ => return Err(UriError::Brackets),
            };
            (UriTarget::Composite(composite(list, depth)?), query)
        } else if COMPOSITES.contains(&scheme.as_str()) && after_slashes.contains(':') {
            // `failover:tcp://a:1,tcp://b:2?x=1` without brackets: options belong to the last part.
            (UriTarget::Composite(composite(after_slashes, depth)?), "")
        } else {
            let (address, query) = after_slashes.split_once('?').unwrap_or((after_slashes, ""));
            (address_of(address)?, query)
        };
        Ok(Self { scheme, target, options: options_of(query)? })
    }
}

/// `failover:(static:(failover:(tcp://a)))` is the deepest that makes sense.
const DEPTH_MAX: usize = 8;

/// Schemes whose brackets may be left out.
const COMPOSITES: [&str; 5] = ["failover", "static", "masterslave", "fanout", "discovery"];

impl FromStr for BrokerUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        Self::parse(text, 0)
    }
}

/// The offset of the bracket that closes the one just before `inner`.
fn closing_bracket(inner: &str) -> Option<usize> {
    let mut open = 1usize;
    for (at, c) in inner.char_indices() {
        match c {
            '(' => open += 1,
            ')' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(at);
        }
    }
    None
}

fn composite(list: &str, depth: usize) -> Result<Vec<BrokerUri>, UriError> {
    let mut open = 0usize;
    let mut parts = Vec::new();
    for part in list.split(|c: char| {
        match c {
            '(' => open += 1,
            ')' => open = open.saturating_sub(1),
            _ => {}
        }
        c == ',' && open == 0
    }) {
        if !part.trim().is_empty() {
            parts.push(BrokerUri::parse(part, depth + 1)?);
        }
    }
    if parts.is_empty() { Err(UriError::EmptyComposite) } else { Ok(parts) }
}

fn address_of(text: &str) -> Result<UriTarget, UriError> {
    let (authority, path) = match text.find('/') {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    if path.contains(['(', ')', ',']) {
        return Err(UriError::Brackets);
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(v6) => {
            let (host, rest) =
                v6.split_once(']').ok_or_else(|| UriError::BadHost(authority.to_owned()))?;
            match rest.strip_prefix(':') {
                Some(port) => (host, port),
                None if rest.is_empty() => (host, ""),
                None => return Err(UriError::BadHost(authority.to_owned())),
            }
        }
        None => authority.rsplit_once(':').unwrap_or((authority, "")),
    };
    let bracketed = authority.starts_with('[');
    let allowed = |c: char| c.is_alphanumeric() || "-_.%*$~".contains(c) || (bracketed && c == ':');
    if !host.chars().all(allowed) || (bracketed && !host.contains(':')) {
        return Err(UriError::BadHost(host.to_owned()));
    }
    let port = match port {
        "" => None,
        digits => {
            let plain = digits.bytes().all(|b| b.is_ascii_digit());
            let port = digits.parse().ok().filter(|_| plain);
            Some(port.ok_or_else(|| UriError::BadPort(digits.to_owned()))?)
        }
    };
    Ok(UriTarget::Address { host: host.to_owned(), port, path: path.to_owned() })
}

fn options_of(query: &str) -> Result<Vec<UriOption>, UriError> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = match pair.split_once('=') {
                Some((name, value)) => (name, Some(decode(value)?)),
                None => (pair, None),
            };
            Ok(UriOption { name: decode(name)?, value })
        })
        .collect()
}

fn decode(text: &str) -> Result<String, UriError> {
    let bad = || UriError::Encoding(text.to_owned());
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
                let (high, low) = (digit(bytes.next()), digit(bytes.next()));
                let value = high.zip(low).map(|(high, low)| high * 16 + low);
                value.and_then(|v| u8::try_from(v).ok()).ok_or_else(bad)?
            }
            other => other,
        });
    }
    String::from_utf8(decoded).map_err(|_| bad())
}

fn encode(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~:/*$@;!".contains(&byte) {
            f.write_char(char::from(byte))?;
        } else {
            write!(f, "%{byte:02X}")?;
        }
    }
    Ok(())
}

impl fmt::Display for BrokerUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.scheme)?;
        match &self.target {
            UriTarget::Address { host, port, path } => {
                let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
                write!(f, "//{open}{host}{close}")?;
                if let Some(port) = port {
                    write!(f, ":{port}")?;
                }
                f.write_str(path)?;
            }
            UriTarget::Composite(parts) => {
                f.write_char('(')?;
                for (i, part) in parts.iter().enumerate() {
                    write!(f, "{}{part}", if i == 0 { "" } else { "," })?;
                }
                f.write_char(')')?;
            }
        }
        for (i, option) in self.options.iter().enumerate() {
            f.write_char(if i == 0 { '?' } else { '&' })?;
            encode(&option.name, f)?;
            if let Some(value) = &option.value {
                f.write_char('=')?;
                encode(value, f)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn uri(text: &str) -> BrokerUri {
        text.parse().unwrap()
    }

    #[test]
    fn plain_addresses() {
        let text = "tcp://0.0.0.0:61616?maximumConnections=1000&wireFormat.maxFrameSize=104857600";
        let parsed = uri(text);
        assert_eq!(parsed.scheme, "tcp");
        assert_eq!(parsed.address(), Some(("0.0.0.0", 61616)));
        assert_eq!(parsed.option("maximumConnections"), Some("1000"));
        assert_eq!(parsed.option("wireFormat.maxFrameSize"), Some("104857600"));
        assert_eq!(parsed.to_string(), text);

        assert_eq!(uri("tcp://[::1]:61616").address(), Some(("::1", 61616)));
        assert_eq!(uri("ws://localhost:61614/").address(), Some(("localhost", 61614)));
        assert_eq!(uri("multicast://default?group=g").option("group"), Some("g"));
        assert_eq!(uri("AUTO+NIO://h:1").scheme, "auto+nio");
        assert_eq!(uri("tcp://h:1?a=1&a=2").option("a"), Some("2"));
        assert_eq!(uri("tcp://h:1?a=x%20y+z%26").option("a"), Some("x y z&"));
        assert_eq!(uri("tcp://h:1?a&b=2&c").option("b"), Some("2"));
        assert_eq!(uri("tcp://h:1?a=1&a").option("a"), None);
        assert_eq!(uri("vm:localhost").target, uri("vm://localhost").target);
    }

    #[test]
    fn composites_nest() {
        let parsed =
            uri("static:(failover:(tcp://a:1?x=1,nio://b:2)?randomize=false,tcp://c:3)?y=2");
        assert_eq!(parsed.option("y"), Some("2"));
        let [failover, plain] = parsed.parts() else { panic!("{parsed}") };
        assert_eq!(failover.option("randomize"), Some("false"));
        assert_eq!(failover.parts()[0].option("x"), Some("1"));
        assert_eq!(plain.address(), Some(("c", 3)));
        assert_eq!(uri("static://(tcp://a:1,tcp://b:2)").parts().len(), 2);
        assert_eq!(uri("failover:tcp://a:1,tcp://b:2").parts().len(), 2);
        assert_eq!(uri("failover://tcp://a:1").parts().len(), 1);
        assert_eq!(uri("masterslave:(tcp://a:1, tcp://b:2)").parts().len(), 2);
    }

    #[test]
    fn damaged_uris_say_what_is_wrong() {
        for (text, expected) in [
            ("", UriError::NoScheme),
            ("localhost", UriError::NoScheme),
            ("://h", UriError::NoScheme),
            ("tcp://h:x", UriError::BadPort("x".to_owned())),
            ("tcp://h:+1", UriError::BadPort("+1".to_owned())),
            ("tcp://h:65536", UriError::BadPort("65536".to_owned())),
            ("tcp://h h:1", UriError::BadHost("h h".to_owned())),
            ("tcp://[::1:1", UriError::BadHost("[::1:1".to_owned())),
            ("static:(tcp://a:1", UriError::Brackets),
            ("static:(tcp://a:1)x", UriError::Brackets),
            ("static:()", UriError::EmptyComposite),
            ("tcp://h:1?a=%zz", UriError::Encoding("%zz".to_owned())),
            ("tcp://h:1?a=%ff", UriError::Encoding("%ff".to_owned())),
        ] {
            assert_eq!(text.parse::<BrokerUri>(), Err(expected), "{text}");
        }
        let deep = format!("{}tcp://a:1{}", "failover:(".repeat(5000), ")".repeat(5000));
        assert_eq!(deep.parse::<BrokerUri>(), Err(UriError::TooDeep));
    }

    fn any_uri() -> impl Strategy<Value = BrokerUri> {
        let options = || {
            vec(("[a-z.]{1,8}", proptest::option::of(".{0,8}")), 0..3).prop_map(|pairs| {
                let option = |(name, value)| UriOption { name, value };
                pairs.into_iter().map(option).collect::<Vec<_>>()
            })
        };
        let host =
            prop_oneof!["[a-z0-9.-]{0,10}", Just("::1".to_owned()), Just("fe80::2".to_owned())];
        let address = (host, any::<Option<u16>>(), "(/[a-z]{0,5})?");
        let plain = ("(tcp|auto\\+nio|mqtt)", address, options()).prop_map(
            |(scheme, (host, port, path), options)| BrokerUri {
                scheme,
                target: UriTarget::Address { host, port, path },
                options,
            },
        );
        plain.prop_recursive(4, 12, 3, move |inner| {
            ("(static|failover)", vec(inner, 1..3), options()).prop_map(
                |(scheme, parts, options)| BrokerUri {
                    scheme,
                    target: UriTarget::Composite(parts),
                    options,
                },
            )
        })
    }

    proptest! {
        #[test]
        fn printed_uris_read_back(uri in any_uri()) {
            prop_assert_eq!(uri.to_string().parse::<BrokerUri>(), Ok(uri));
        }

        #[test]
        fn no_text_panics(text in "(tcp|static|failover)?[:/()\\[\\]?&=,%a-f0-9.+ \u{e9}]{0,40}") {
            if let Ok(uri) = text.parse::<BrokerUri>() {
                prop_assert_eq!(uri.to_string().parse::<BrokerUri>(), Ok(uri));
            }
        }
    }
}

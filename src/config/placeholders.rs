//! `${name}` and `${name:default}`: where values come from, and how they are put in.
//!
//! The first of these that knows the name decides: the properties files of the placeholder bean,
//! `-Dname=value` (command line, then ACTIVEMQ_OPTS), the environment, and last the folders
//! `activemq.conf`, `activemq.base`, `activemq.home` and `activemq.data`, which always exist (and
//! Java's `user.home`, `user.name`, `java.io.tmpdir`).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::report::Problem;
use super::units::MemorySize;

/// What the surroundings say: `-D` pairs and environment variables.
///
/// Not `Debug`: environments hold passwords.
#[derive(Clone, Default)]
pub struct Variables {
    properties: HashMap<String, String>,
    environment: HashMap<String, String>,
}

impl Variables {
    /// The environment of this process, with the `-Dname=value` words of ACTIVEMQ_OPTS and
    /// ACTIVEMQ_SSL_OPTS as properties. Variables that are not UTF-8 are left out.
    pub fn from_environment() -> Self {
        let pair = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self::from_pairs(std::env::vars_os().filter_map(pair))
    }

    /// As [`Self::from_environment`], from these variables.
    pub fn from_pairs(environment: impl IntoIterator<Item = (String, String)>) -> Self {
        let environment: HashMap<_, _> = environment.into_iter().collect();
        let mut properties = HashMap::new();
        for variable in ["ACTIVEMQ_OPTS", "ACTIVEMQ_SSL_OPTS"] {
            for word in shell_words(environment.get(variable).map_or("", String::as_str)) {
                if let Some((name, value)) = word.strip_prefix("-D").map(name_and_value) {
                    properties.insert(name.to_owned(), value.to_owned());
                }
            }
        }
        Self { properties, environment }
    }

    /// Sets a property as `-Dname=value` on the command line does; it wins over ACTIVEMQ_OPTS.
    pub fn define(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.properties.insert(name.into(), value.into());
    }

    /// The property of that name, not looking at the environment.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.get(name).map(String::as_str)
    }

    /// The Java heap that `-Xmx` in ACTIVEMQ_OPTS_MEMORY or ACTIVEMQ_OPTS asks for, in bytes.
    /// `percentOfJvmHeap` is a share of it.
    pub fn jvm_heap_bytes(&self) -> Option<u64> {
        ["ACTIVEMQ_OPTS_MEMORY", "ACTIVEMQ_OPTS"].iter().find_map(|variable| {
            let words = shell_words(self.environment.get(*variable)?);
            let last = words.iter().rev().find_map(|word| word.strip_prefix("-Xmx"))?;
            MemorySize::parse(last).ok().map(MemorySize::bytes)
        })
    }

    /// The folder for configuration files when no file names one: `activemq.conf`, else `conf`
    /// below `activemq.base` or `activemq.home`, else `conf`.
    pub(crate) fn conf_folder(&self) -> PathBuf {
        let folder = |name, variable| self.folder(name, variable);
        folder("activemq.conf", "ACTIVEMQ_CONF")
            .or_else(|| Some(folder("activemq.base", "ACTIVEMQ_BASE")?.join("conf")))
            .or_else(|| Some(folder("activemq.home", "ACTIVEMQ_HOME")?.join("conf")))
            .unwrap_or_else(|| PathBuf::from("conf"))
    }

    fn folder(&self, property: &str, variable: &str) -> Option<PathBuf> {
        let value = self.properties.get(property).or_else(|| self.environment.get(variable))?;
        Some(PathBuf::from(value)).filter(|path| !path.as_os_str().is_empty())
    }
}

fn name_and_value(word: &str) -> (&str, &str) {
    word.split_once('=').unwrap_or((word, ""))
}

/// Splits as a shell does, with single and double quotes.
fn shell_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in text.chars() {
        match quote {
            Some(q) if c == q => quote = None,
            Some(_) => word.get_or_insert_default().push(c),
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// All names that can be used in one configuration.
pub(crate) struct Names {
    files: HashMap<String, String>,
    variables: Variables,
    predefined: HashMap<&'static str, String>,
}

impl Names {
    /// For the configuration in `file`; the properties files come later.
    pub(crate) fn new(file: &Path, variables: Variables) -> Self {
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let beside = file.parent().unwrap_or(&file).to_owned();
        let conf = variables.folder("activemq.conf", "ACTIVEMQ_CONF").unwrap_or(beside);
        let above = conf.parent().unwrap_or(&conf).to_owned();
        let base = variables.folder("activemq.base", "ACTIVEMQ_BASE").unwrap_or(above);
        let home =
            variables.folder("activemq.home", "ACTIVEMQ_HOME").unwrap_or_else(|| base.clone());
        let data =
            variables.folder("activemq.data", "ACTIVEMQ_DATA").unwrap_or_else(|| base.join("data"));
        let folders = [
            ("activemq.conf", conf),
            ("activemq.base", base),
            ("activemq.home", home),
            ("activemq.data", data),
        ];
        let text = |(name, path): (_, PathBuf)| (name, path.to_string_lossy().into_owned());
        let mut predefined = HashMap::from(folders.map(text));
        // What Java always defines and configurations use.
        for (name, variable) in [("user.home", "HOME"), ("user.name", "USER")] {
            if let Some(value) = variables.environment.get(variable) {
                predefined.insert(name, value.clone());
            }
        }
        predefined.insert("java.io.tmpdir", "/tmp".to_owned());
        Self { files: HashMap::new(), variables, predefined }
    }

    pub(crate) fn variables(&self) -> &Variables {
        &self.variables
    }

    /// The folder `activemq.conf`.
    pub(crate) fn conf(&self) -> &Path {
        Path::new(self.predefined.get("activemq.conf").map_or(".", String::as_str))
    }

    /// Adds the lines of a Java properties file; later files win.
    pub(crate) fn add_properties(&mut self, bytes: &[u8]) {
        self.files.extend(properties(bytes));
    }

    fn lookup(&self, name: &str) -> Option<&str> {
        let Variables { properties, environment } = &self.variables;
        let value = self.files.get(name).or_else(|| properties.get(name));
        let value = value.or_else(|| environment.get(name)).or_else(|| self.predefined.get(name));
        value.map(String::as_str)
    }

    /// `text` with every placeholder replaced.
    pub(crate) fn expand(&self, text: &str) -> Result<String, Problem> {
        let mut expanded = String::new();
        let mut steps = 0;
        self.expand_into(text, text, 0, &mut steps, &mut expanded)?;
        Ok(expanded)
    }

    fn expand_into(
        &self,
        text: &str,
        whole: &str,
        depth: usize,
        steps: &mut usize,
        out: &mut String,
    ) -> Result<(), Problem> {
        *steps += 1;
        if depth > DEPTH_MAX || *steps > STEPS_MAX || out.len() > LENGTH_MAX {
            return Err(Problem::CircularPlaceholder { value: whole.to_owned() });
        }
        let mut rest = text;
        while let Some((before, inner, after)) = next_placeholder(rest) {
            out.push_str(before);
            rest = after;
            let mut name = String::new();
            let (raw_name, default) = match default_at(inner) {
                Some(at) => (inner.get(..at).unwrap_or(inner), inner.get(at + 1..)),
                None => (inner, None),
            };
            self.expand_into(raw_name, whole, depth + 1, steps, &mut name)?;
            let known = self.lookup(inner).or_else(|| self.lookup(&name));
            let Some(value) = known.or(default) else {
                let value = whole.to_owned();
                return Err(Problem::UnresolvedPlaceholder { name, value });
            };
            if value.starts_with("ENC(") && value.ends_with(')') {
                return Err(Problem::Encrypted { name });
            }
            self.expand_into(value, whole, depth + 1, steps, out)?;
        }
        out.push_str(rest);
        Ok(())
    }
}

const DEPTH_MAX: usize = 16;
/// Bounds what a file of a few lines can expand to.
const STEPS_MAX: usize = 1000;
const LENGTH_MAX: usize = 1 << 20;

/// The text before the first `${`, what is between it and its `}`, and the text after.
fn next_placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once("${")?;
    let mut open = 1usize;
    for (at, c) in rest.char_indices() {
        match c {
            '{' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some((before, rest.get(..at)?, rest.get(at + 1..)?));
        }
    }
    None
}

/// Where the colon of `name:default` is; colons inside nested braces do not count.
fn default_at(inner: &str) -> Option<usize> {
    let mut open = 0usize;
    inner.char_indices().find_map(|(at, c)| {
        match c {
            '{' => open += 1,
            '}' => open = open.saturating_sub(1),
            _ => {}
        }
        (c == ':' && open == 0).then_some(at)
    })
}

/// A Java properties file: `name=value`, `name:value` or `name value`, `#` and `!` comments, `\`
/// at the end of a line, `\n \t \r \f \uXXXX`. UTF-8, or Latin-1 where it is not.
fn properties(bytes: &[u8]) -> Vec<(String, String)> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|b| char::from(*b)).collect(),
    };
    let mut pairs = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let mut line = line.trim_start().to_owned();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        while ends_in_odd_backslashes(&line) {
            line.pop();
            line.push_str(lines.next().unwrap_or("").trim_start());
        }
        pairs.push(name_value(&line));
    }
    pairs
}

fn ends_in_odd_backslashes(line: &str) -> bool {
    (line.len() - line.trim_end_matches('\\').len()) % 2 == 1
}

fn name_value(line: &str) -> (String, String) {
    let mut escaped = false;
    let end = line.find(|c: char| {
        let separates = !escaped && (c == '=' || c == ':' || c.is_whitespace());
        escaped = c == '\\' && !escaped;
        separates
    });
    let (name, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start();
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start();
    (unescape(name), unescape(value))
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => plain.push('\n'),
            Some('t') => plain.push('\t'),
            Some('r') => plain.push('\r'),
            Some('f') => plain.push('\u{c}'),
            Some('u') => {
                let code: String = chars.by_ref().take(4).collect();
                let c = u32::from_str_radix(&code, 16).ok().and_then(char::from_u32);
                plain.push(c.unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            Some(other) => plain.push(other),
            None => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(pairs: &[(&str, &str)]) -> Names {
        let pairs = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        Names::new(Path::new("/srv/mq/conf/activemq.xml"), Variables::from_pairs(pairs))
    }

    #[test]
    fn names_defaults_and_nesting() {
        let mut names = names(&[("HOST", "h1"), ("ACTIVEMQ_OPTS", "-Da=1 -Dport='6 1' -Xmx2G")]);
        names.variables.define("a", "2");
        names.add_properties(b"p = ${HOST}:${port}\nHOST2=x\n");
        for (text, expected) in [
            ("plain $ { }", "plain $ { }"),
            ("${a}", "2"),
            ("tcp://${p}/", "tcp://h1:6 1/"),
            ("${nope:d}", "d"),
            ("${nope:}", ""),
            ("${nope:${a}:x}", "2:x"),
            ("${a:${nope}}", "2"),
            ("${HOST${a}}", "x"),
            ("${activemq.conf}/x", "/srv/mq/conf/x"),
            ("${activemq.data}", "/srv/mq/data"),
            ("${activemq.home}=${activemq.base}", "/srv/mq=/srv/mq"),
            ("${unclosed", "${unclosed"),
        ] {
            assert_eq!(names.expand(text).unwrap(), expected, "{text}");
        }
        assert_eq!(names.variables().jvm_heap_bytes(), Some(2 << 30));
    }

    #[test]
    fn files_win_over_properties_and_those_over_the_environment() {
        let mut names = names(&[("x", "environment"), ("ACTIVEMQ_OPTS", "-Dx=options")]);
        assert_eq!(names.expand("${x}").unwrap(), "options");
        names.add_properties(b"x=file");
        assert_eq!(names.expand("${x}").unwrap(), "file");
    }

    #[test]
    fn folders_follow_the_environment() {
        let names = names(&[("ACTIVEMQ_CONF", "/etc/mq"), ("ACTIVEMQ_DATA", "/var/mq")]);
        assert_eq!(names.expand("${activemq.conf} ${activemq.base}").unwrap(), "/etc/mq /etc");
        assert_eq!(names.expand("${activemq.data}").unwrap(), "/var/mq");
    }

    #[test]
    fn what_cannot_be_resolved_is_an_error() {
        let mut names = names(&[]);
        names.add_properties(b"a=${b}\nb=${a}\nsecret=ENC(abc=)\nl0=xxxxxxxxxx\n");
        let error = |text: &str| names.expand(text).unwrap_err().to_string();
        assert_eq!(error("x${y}"), "could not resolve placeholder 'y' in value \"x${y}\"");
        assert!(error("${a}").contains("refer to each other"));
        assert!(error("${secret}").contains("encrypted values are not supported yet"));
    }

    #[test]
    fn expansion_is_bounded() {
        let mut names = names(&[]);
        let mut text = "l0=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n".to_owned();
        for i in 1..15 {
            text.push_str(&format!("l{i}={}\n", format!("${{l{}}}", i - 1).repeat(10)));
        }
        names.add_properties(text.as_bytes());
        assert!(names.expand("${l14}").is_err());
    }

    #[test]
    fn properties_files() {
        let text = b"# c\n! c\n\n\
            a=1\nb : 2\nc 3\n d\\=e = f\\\n   g\\u0041\\n\nlast\npath=C:\\\\x\n\xe9=\xe9";
        let pairs = properties(text);
        let expected = [
            ("a", "1"),
            ("b", "2"),
            ("c", "3"),
            ("d=e", "fgA\n"),
            ("last", ""),
            ("path", "C:\\x"),
            ("\u{e9}", "\u{e9}"),
        ];
        assert_eq!(pairs, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[${}:a\\\\=\n#u0-9 \u{e9}]{0,40}") {
            let mut names = names(&[("a", "${a}")]);
            names.add_properties(text.as_bytes());
            drop(names.expand(&text));
        }
    }
}

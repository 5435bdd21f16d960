//! The layers of `src/`: a module uses only those below it, and no sibling.
//!
//! Paths are found in the text: `crate::x`, `crate::{x, y::z}`, and chains of `super::` that leave
//! their layer. Tests inside `src/` obey the same order.
#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]
#![allow(clippy::string_slice, reason = "indices come from searches in the same text")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Low to high. Modules of one line do not know each other.
const LAYERS: &[&[&str]] = &[
    &["jms"],
    &["config"],
    &["ha", "transport", "security"],
    &["store"],
    &["broker"],
    &["protocol"],
    &["client"],
    &["network", "console"],
    &["server"],
    &["cli"],
];

/// A use of one module by another, with where it is.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Arrow {
    from: String,
    to: String,
    place: String,
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn level(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// All Rust files below `folder`.
fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// The module a file is, from the crate's root: `broker/client/send.rs` is `broker, client, send`.
fn module_path(file: &Path) -> Vec<String> {
    let relative = file.strip_prefix(source()).unwrap().with_extension("");
    let mut path: Vec<String> =
        relative.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if path.last().is_some_and(|last| last == "mod") {
        path.pop();
    }
    path
}

/// The text without comments and string literals, lines kept.
fn code(text: &str) -> String {
    let mut code = String::new();
    for line in text.lines() {
        let (mut quoted, mut last) = (false, ' ');
        let mut rest = line.chars().peekable();
        while let Some(c) = rest.next() {
            if !quoted && c == '/' && rest.peek() == Some(&'/') {
                break;
            }
            if c == '"' && last != '\\' && last != '\'' {
                quoted = !quoted;
            } else if !quoted {
                code.push(c);
            }
            last = if last == '\\' { ' ' } else { c };
        }
        code.push('\n');
    }
    code
}

/// The first names of what follows `crate::`: one, or those of a group in braces, with what comes
/// behind each.
fn heads(rest: &str) -> Vec<Vec<String>> {
    let Some(group) = rest.strip_prefix('{') else { return vec![names(rest)] };
    let (mut depth, mut start, mut found) = (1, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && c == ',') {
            found.push(names(group[start..at].trim()));
            start = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    found.retain(|names| !names.is_empty());
    found
}

/// The names of a path `a::b::c`, up to what is no name.
fn names(path: &str) -> Vec<String> {
    let ident = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut rest = path;
    loop {
        let end = rest.find(|c| !ident(c)).unwrap_or(rest.len());
        if end == 0 {
            return found;
        }
        found.push(rest[..end].to_owned());
        match rest[end..].strip_prefix("::") {
            Some(more) => rest = more,
            None => return found,
        }
    }
}

/// Absolute paths that a module's code names, each with its line.
fn paths(module: &[String], code: &str) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    // How many modules are open inside the file: there `super` is one step less from the root.
    let mut inner: Option<usize> = None;
    let mut offset = 0;
    for (number, line) in code.lines().enumerate() {
        if line.starts_with('}') {
            inner = None;
        }
        if line.ends_with('{') && line.split_whitespace().rev().nth(2) == Some("mod") {
            inner = Some(1);
        }
        for (at, _) in line.match_indices("crate::") {
            let before = line[..at].chars().next_back();
            if before.is_none_or(|c| !c.is_alphanumeric() && c != '_') {
                // From here on in the whole text: a group may go on in the next lines.
                for head in heads(&code[offset + at + "crate::".len()..]) {
                    found.push((number + 1, head));
                }
            }
        }
        for (at, _) in line.match_indices("super::") {
            if line[..at].ends_with("super::") {
                continue;
            }
            let rest = line[at..].trim_start_matches("super::");
            let steps = (line.len() - at - rest.len()) / "super::".len();
            let depth = module.len() + inner.unwrap_or(0);
            let kept = depth.checked_sub(steps).unwrap();
            for head in heads(rest) {
                let above = module.iter().take(kept).cloned();
                found.push((number + 1, above.chain(head).collect()));
            }
        }
        offset += line.len() + 1;
    }
    found
}

/// Every use of one layer by another, and of one protocol by another.
fn arrows() -> (BTreeSet<Arrow>, BTreeSet<Arrow>) {
    let (mut layers, mut protocols) = (BTreeSet::new(), BTreeSet::new());
    let mut all = Vec::new();
    files(&source(), &mut all);
    for file in all {
        let module = module_path(&file);
        let Some(from) = module.first().filter(|first| *first != "lib" && *first != "main") else {
            continue;
        };
        for (line, path) in paths(&module, &code(&fs::read_to_string(&file).unwrap())) {
            let place = format!("{}:{line}", file.strip_prefix(source()).unwrap().display());
            let to = path.first().cloned().unwrap_or_default();
            if to != *from {
                layers.insert(Arrow { from: from.clone(), to, place });
            } else if from == "protocol"
                && let ([_, from, ..], [_, to, ..]) = (&module[..], &path[..])
                && is_protocol(from)
                && is_protocol(to)
                && from != to
            {
                protocols.insert(Arrow { from: from.clone(), to: to.clone(), place });
            }
        }
    }
    (layers, protocols)
}

/// A protocol is a folder; files beside it are shared by all.
fn is_protocol(name: &str) -> bool {
    source().join("protocol").join(name).is_dir()
}

#[test]
fn every_module_has_a_layer() {
    for entry in fs::read_dir(source()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(["lib", "main"].contains(&name) || level(name).is_some(), "{name} has no layer");
    }
}

#[test]
fn modules_use_only_lower_layers() {
    let (layers, _) = arrows();
    assert!(layers.iter().any(|a| a.from == "server" && a.to == "broker"), "arrows are not found");
    let wrong: Vec<_> = layers.iter().filter(|a| level(&a.to) >= level(&a.from)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let unknown: Vec<_> = layers.iter().filter(|a| level(&a.to).is_none()).collect();
    assert!(unknown.is_empty(), "paths to no layer: {unknown:#?}");
}

#[test]
fn protocols_do_not_know_each_other() {
    let (_, protocols) = arrows();
    assert!(protocols.is_empty(), "{protocols:#?}");
}

#[test]
fn paths_are_found_in_all_forms() {
    let module = ["broker".to_owned(), "client".to_owned()];
    let text = "use crate::jms::Text; // crate::cli\n\
                use crate::{store::{A, B},\n    server};\n\
                fn f() { crate::config::load(\"crate::ha\"); $crate::security::x(); }\n\
                use super::super::console::C;\n\
                use super::error;\n\
                mod tests {\n    use super::super::outbox;\n}\n";
    let found: Vec<String> = paths(&module, &code(text))
        .into_iter()
        .map(|(n, p)| format!("{n} {}", p.join("::")))
        .collect();
    assert_eq!(
        found,
        [
            "1 jms::Text",
            "2 store",
            "2 server",
            "4 config::load",
            "4 security::x",
            "5 console::C",
            "6 broker::error",
            "8 broker::outbox",
        ]
    );
}

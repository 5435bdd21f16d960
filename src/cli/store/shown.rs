//! Figures, times and tables for a person.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::fmt;

/// Bytes in the unit that leaves few digits: `312 B`, `1.5 MiB`.
pub(super) fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for next in units {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

/// The share of `part` in `whole`, in percent.
pub(super) fn share(part: u64, whole: u64) -> String {
    let percent = (u128::from(part) * 100).checked_div(u128::from(whole)).unwrap_or(0);
    format!("{percent} %")
}

/// Local time; `ms` since 1970.
pub(super) fn time(ms: Option<i64>) -> String {
    let time = ms.and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.map_or_else(
        || "-".to_owned(),
        |time| time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}

/// `1 message`, `2 messages`.
pub(super) fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// A name that clients chose: nothing in it reaches the terminal as a command.
pub(super) fn name(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Rows under a heading; columns as wide as their widest cell, numbers to the right.
#[derive(Debug)]
pub(super) struct Table {
    /// `>` in front: to the right.
    head: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(head: &'static [&'static str]) -> Self {
        Self { head, rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let titles = self.head.iter().map(|title| title.trim_start_matches('>').to_owned());
        let titles: Vec<String> = titles.collect();
        let lines: Vec<&Vec<String>> = std::iter::once(&titles).chain(&self.rows).collect();
        let width = |column: usize| {
            let cells = lines.iter().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        for (i, line) in lines.iter().enumerate() {
            let mut text = String::new();
            for ((cell, width), title) in line.iter().zip(&widths).zip(self.head) {
                text.push_str("  ");
                text.push_str(&match title.starts_with('>') {
                    true => format!("{cell:>width$}"),
                    false => format!("{cell:<width$}"),
                });
            }
            let end = if i + 1 == lines.len() { "" } else { "\n" };
            write!(f, "{}{end}", text.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(u64::MAX), "16777216.0 TiB");
        assert_eq!(share(1, 3), "33 %");
        assert_eq!(share(0, 0), "0 %");
        assert_eq!(time(None), "-");
        assert_eq!(time(Some(i64::MAX)), "-");
        assert_eq!(name("a\x1b[2Jb\n"), "a?[2Jb?");
        assert_eq!((counted(1, "file"), counted(2, "file")), ("1 file".into(), "2 files".into()));
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["NAME", ">COUNT", "LAST"]);
        table.row(vec!["a".to_owned(), "1000000".to_owned(), String::new()]);
        table.row(vec!["longer".to_owned(), "2".to_owned(), "x".to_owned()]);
        assert_eq!(
            table.to_string(),
            "  NAME      COUNT  LAST\n  a       1000000\n  longer        2  x"
        );
    }
}

//! A log file that starts anew when it has grown too large or a new day has begun.
//!
//! `broker.log` is the one being written, `broker.log.1` the newest closed one; the oldest is
//! deleted. Every line reaches the file in one `write` in append mode, so that tools that follow,
//! truncate or move the file never see half a line. A path that is no regular file, `/dev/stdout`
//! or a link, is only appended to.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Where a log goes and when it rotates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileSettings {
    pub(crate) path: PathBuf,
    /// Bytes: the file is closed before it grows past this. 10 MiB; None = however large.
    pub(crate) bytes_max: Option<u64>,
    /// How many closed files stay. 5; 0 = none: the log is emptied instead.
    pub(crate) closed_max: u32,
    /// Whether the first line of a new day (local time) starts a new file. True.
    pub(crate) daily: bool,
}

impl FileSettings {
    /// The defaults for a log at `path`.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, bytes_max: Some(10 << 20), closed_max: 5, daily: true }
    }
}

/// One log file and its closed predecessors. Nothing is created before the first line.
#[derive(Debug)]
pub(crate) struct RotatingFile {
    settings: FileSettings,
    open: Option<OpenFile>,
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    bytes: u64,
    /// The day of the newest line.
    day: Date,
    /// Whether it may be renamed: a regular file, not a device or a link to one.
    is_regular: bool,
    /// Whether the last write stopped inside a line (a full disk).
    torn: bool,
}

impl RotatingFile {
    pub(crate) fn new(settings: FileSettings) -> Self {
        Self { settings, open: None }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.settings.path
    }

    /// Appends `line`, which ends in a newline, after rotating if it is time. On an error the line
    /// is lost, wholly or from some byte on; the next one is tried again.
    pub(crate) fn write_line(&mut self, line: &[u8], today: Date) -> io::Result<()> {
        if self.open.is_none() {
            self.open()?;
        }
        if self.is_due(line.len() as u64, today) {
            self.rotate(today);
        }
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        open.day = today;
        if open.torn {
            open.write(b"\n")?;
        }
        open.write(line)
    }

    /// Opens the file by its name, also if it is open: that one may have been moved away. On an
    /// error it stays in use.
    pub(crate) fn open(&mut self) -> io::Result<()> {
        self.open = Some(OpenFile::append(&self.settings.path)?);
        Ok(())
    }

    /// Like [`open`](Self::open) if anything has been written; does not create an empty file.
    pub(crate) fn reopen(&mut self) -> io::Result<()> {
        if self.open.is_some() { self.open() } else { Ok(()) }
    }

    fn is_due(&self, more_bytes: u64, today: Date) -> bool {
        let Some(open) = &self.open else { return false };
        let full = self.settings.bytes_max.is_some_and(|max| open.bytes + more_bytes > max);
        open.is_regular && open.bytes > 0 && (full || (self.settings.daily && open.day != today))
    }

    /// Moves each closed file up by one and opens a new one.
    fn rotate(&mut self, today: Date) {
        if self.shift().and_then(|()| self.reopen()).is_err()
            && let Some(open) = &mut self.open
        {
            // A log that grows too large is better than none. The next try comes when as much has
            // been written again.
            (open.bytes, open.day) = (0, today);
        }
    }

    fn shift(&self) -> io::Result<()> {
        let closed_max = self.settings.closed_max;
        for number in (1..closed_max).rev() {
            unless_missing(fs::rename(self.closed(number), self.closed(number + 1)))?;
        }
        unless_missing(if closed_max == 0 {
            fs::remove_file(&self.settings.path)
        } else {
            fs::rename(&self.settings.path, self.closed(1))
        })
    }

    fn closed(&self, number: u32) -> PathBuf {
        let mut name = self.settings.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

impl OpenFile {
    fn append(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = File::options().append(true).create(true).open(path)?;
        let metadata = file.metadata()?;
        let is_regular = fs::symlink_metadata(path)?.is_file();
        let written = jiff::Timestamp::try_from(metadata.modified()?).map_err(io::Error::other)?;
        let day = written.to_zoned(TimeZone::system()).date();
        Ok(Self { file, bytes: metadata.len(), day, is_regular, torn: false })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.torn = true;
        self.file.write_all(bytes)?;
        self.torn = false;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

fn unless_missing(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|e| if e.kind() == ErrorKind::NotFound { Ok(()) } else { Err(e) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::ToSpan;

    struct Log {
        folder: tempfile::TempDir,
        file: RotatingFile,
        today: Date,
    }

    impl Log {
        fn new(bytes_max: Option<u64>, closed_max: u32, daily: bool) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("data").join("broker.log");
            let file = RotatingFile::new(FileSettings { path, bytes_max, closed_max, daily });
            Self { folder, file, today: jiff::Zoned::now().date() }
        }

        fn write(&mut self, line: &str) {
            self.file.write_line(line.as_bytes(), self.today).unwrap();
        }

        fn text(&self, name: &str) -> Option<String> {
            fs::read_to_string(self.folder.path().join("data").join(name)).ok()
        }
    }

    #[test]
    fn a_full_file_becomes_number_one_and_the_oldest_goes() {
        let mut log = Log::new(Some(6), 2, true);
        for line in ["a1\n", "a2\n", "b1\n", "b2\n", "c1\n", "c2\n", "d1\n"] {
            log.write(line);
        }
        assert_eq!(log.text("broker.log").unwrap(), "d1\n");
        assert_eq!(log.text("broker.log.1").unwrap(), "c1\nc2\n");
        assert_eq!(log.text("broker.log.2").unwrap(), "b1\nb2\n");
        assert_eq!(log.text("broker.log.3"), None);
    }

    #[test]
    fn a_line_longer_than_the_limit_is_written_whole() {
        let mut log = Log::new(Some(4), 5, false);
        log.write("much too long\n");
        log.write("x\n");
        assert_eq!(log.text("broker.log.1").unwrap(), "much too long\n");
        assert_eq!(log.text("broker.log").unwrap(), "x\n");
    }

    #[test]
    fn a_new_day_starts_a_new_file_if_wanted() {
        for (daily, first) in [(true, "new\n"), (false, "old\nnew\n")] {
            let mut log = Log::new(None, 5, daily);
            log.write("old\n");
            log.today = log.today.saturating_add(1.day());
            log.write("new\n");
            assert_eq!(log.text("broker.log").unwrap(), first);
        }
    }

    #[test]
    fn the_day_of_a_found_file_is_that_of_its_last_write() {
        let mut log = Log::new(None, 5, true);
        log.write("old\n");
        let settings = log.file.settings.clone();
        let file = File::options().write(true).open(&settings.path).unwrap();
        let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3 * 86_400);
        file.set_modified(long_ago).unwrap();
        log.file = RotatingFile::new(settings);
        log.write("new\n");
        assert_eq!(log.text("broker.log").unwrap(), "new\n");
        assert_eq!(log.text("broker.log.1").unwrap(), "old\n");
    }

    #[test]
    fn what_is_no_regular_file_is_never_renamed() {
        let mut log = Log::new(Some(1), 5, true);
        let (link, file) = (log.folder.path().join("link"), log.folder.path().join("file"));
        fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        log.file.settings.path = link.clone();
        log.write("a\n");
        log.write("b\n");
        assert!(fs::symlink_metadata(link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(file).unwrap(), "a\nb\n");
    }

    #[test]
    fn without_closed_files_the_log_is_emptied() {
        let mut log = Log::new(Some(3), 0, false);
        log.write("a\n");
        log.write("b\n");
        assert_eq!(log.text("broker.log").unwrap(), "b\n");
        assert_eq!(log.text("broker.log.1"), None);
    }

    #[test]
    fn after_reopen_lines_go_to_a_new_file_of_the_same_name() {
        let mut log = Log::new(None, 5, false);
        log.write("a\n");
        let path = log.file.path().to_owned();
        fs::rename(&path, path.with_extension("moved")).unwrap();
        log.write("b\n");
        log.file.reopen().unwrap();
        log.write("c\n");
        assert_eq!(log.text("broker.moved").unwrap(), "a\nb\n");
        assert_eq!(log.text("broker.log").unwrap(), "c\n");
    }

    #[test]
    fn a_rotation_that_fails_keeps_the_log_going() {
        let mut log = Log::new(Some(3), 1, false);
        log.write("a\n");
        let in_the_way = log.folder.path().join("data").join("broker.log.1");
        fs::create_dir(in_the_way).unwrap();
        log.write("b\n");
        assert_eq!(log.text("broker.log").unwrap(), "a\nb\n");
    }
}

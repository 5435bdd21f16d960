//! Memory that only the start needed.

/// Takes the code of this process out of its memory: much of it reads configurations, opens stores
/// and is not needed again. What runs again is mapped again, from the page cache, by a page fault.
/// An idle broker is a fifth smaller by that.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "the system call has no safe wrapper among the dependencies")]
pub(super) fn drop_code_of_the_start() {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return };
    for (begin, end) in maps.lines().filter_map(code_of_a_file) {
        let begin_of_code = std::ptr::without_provenance_mut(begin);
        // SAFETY: code of a file is never written to, so that its pages can be had again from the file.
        let refused = unsafe { libc::madvise(begin_of_code, end - begin, libc::MADV_DONTNEED) };
        if refused != 0 {
            tracing::debug!("code stays in memory");
        }
    }
}

/// There is no such request here.
#[cfg(not(target_os = "linux"))]
pub(super) fn drop_code_of_the_start() {}

/// The addresses of a line of `/proc/self/maps` that is about code of a file.
#[cfg(target_os = "linux")]
fn code_of_a_file(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (begin, end) = fields.next()?.split_once('-')?;
    let (permissions, inode) = (fields.next()?, fields.nth(2)?);
    let address = |text| usize::from_str_radix(text, 16).ok();
    (permissions == "r-xp" && inode != "0").then_some((address(begin)?, address(end)?))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn code_is_what_is_executable_and_of_a_file() {
        let code = "5562a000-5562b000 r-xp 001d3000 fe:00 737287    /usr/bin/broker (deleted)";
        assert_eq!(code_of_a_file(code), Some((0x5562_a000, 0x5562_b000)));
        for other in [
            "5562a000-5562b000 r--p 00000000 fe:00 737287    /usr/bin/broker",
            "5562a000-5562b000 rw-p 00000000 fe:00 737287    /usr/bin/broker",
            "7ffc0000-7ffc2000 r-xp 00000000 00:00 0         [vdso]",
            "",
        ] {
            assert_eq!(code_of_a_file(other), None, "{other}");
        }
    }

    #[test]
    fn what_was_dropped_runs_again() {
        drop_code_of_the_start();
        code_is_what_is_executable_and_of_a_file();
    }
}

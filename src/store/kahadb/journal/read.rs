//! Reading records by their place, as the index remembers it.

use super::error::JournalError;
use super::files::Files;
use super::format::{Lsn, RecordHeader};
use super::record::{Decoded, Record};
use crate::store::kahadb::fs::read_exact_at;
use bytes::Bytes;

/// Reads one record, header and all; its checksum is looked at.
pub fn read_record(files: &Files, lsn: Lsn, length: u32) -> Result<Record, JournalError> {
    let bytes = read_bytes(files, lsn, length)?;
    decode(files, lsn, bytes)
}

/// Reads many, with one call where they lie close together. `places` ascend; each outcome is given
/// to `take` with its index. A record does not keep what was read beside it.
pub fn read_records(
    files: &Files,
    places: &[(Lsn, u32)],
    mut take: impl FnMut(usize, Result<Record, JournalError>),
) {
    let mut start = 0;
    while start < places.len() {
        let (first, mut end, mut bytes) = (places[start].0, start + 1, u64::from(places[start].1));
        while let Some((lsn, length)) = places.get(end) {
            let gap = lsn.0.checked_sub(first.0 + bytes);
            let total = lsn.0 - first.0 + u64::from(*length);
            if lsn.file() != first.file()
                || gap.is_none_or(|gap| gap > GAP_BYTES_MAX)
                || total > READ_BYTES_MAX
            {
                break;
            }
            (end, bytes) = (end + 1, total);
        }
        let group = &places[start..end];
        match read_bytes(files, first, bytes as u32) {
            Ok(read) if group.len() > 1 => {
                for (i, (lsn, length)) in group.iter().enumerate() {
                    let at = (lsn.0 - first.0) as usize;
                    let own = Bytes::copy_from_slice(&read[at..at + *length as usize]);
                    take(start + i, decode(files, *lsn, own));
                }
            }
            Ok(read) => take(start, decode(files, first, read)),
            // One bad place must not spoil those beside it.
            Err(_) => {
                for (i, (lsn, length)) in group.iter().enumerate() {
                    take(start + i, read_record(files, *lsn, *length));
                }
            }
        }
        start = end;
    }
}

fn read_bytes(files: &Files, lsn: Lsn, length: u32) -> Result<Bytes, JournalError> {
    let path = files.path(lsn.file());
    let end = u64::from(lsn.offset()) + u64::from(length);
    if files.length(lsn.file()).is_none_or(|l| end > l) {
        return Err(corrupt(files, lsn, "the file is missing or too short"));
    }
    let mut bytes = vec![0; length as usize];
    read_exact_at(&*files.reader(lsn.file())?, &mut bytes, lsn.offset().into())
        .map_err(JournalError::io("read", &path))?;
    Ok(bytes.into())
}

fn decode(files: &Files, lsn: Lsn, bytes: Bytes) -> Result<Record, JournalError> {
    let header = RecordHeader::decode(&bytes)
        .filter(|h| h.length as usize == bytes.len() && h.is_sound(&bytes))
        .ok_or_else(|| corrupt(files, lsn, "there is no such record"))?;
    match Record::decode(&header, &bytes) {
        Ok(Decoded::Record(record)) => Ok(record),
        Ok(_) => {
            let path = files.path(lsn.file());
            Err(JournalError::Newer { path, offset: lsn.offset().into() })
        }
        Err(_) => Err(corrupt(files, lsn, "a record's fields make no sense")),
    }
}

fn corrupt(files: &Files, lsn: Lsn, reason: &'static str) -> JournalError {
    JournalError::Corrupt { path: files.path(lsn.file()), offset: lsn.offset().into(), reason }
}

/// What lies between two records is read with them if it is not more, bytes.
const GAP_BYTES_MAX: u64 = 64 << 10;
/// One call reads no more, unless one record is longer, bytes.
const READ_BYTES_MAX: u64 = 1 << 20;

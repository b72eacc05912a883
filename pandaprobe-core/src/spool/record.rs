//! How a record stands in a segment.
//!
//! `FF 'P' 'S' 01`, the length of the body, the record's number, a checksum of the body and one of what stands before it (24
//! bytes, little-endian), then the body. The first byte is none of UTF-8, so the start of a record is found again behind bytes
//! that were damaged. A checksum is CRC-32 (IEEE 802.3).

const MAGIC: [u8; 4] = [0xFF, b'P', b'S', 1];
/// Bytes before the body.
pub(super) const HEAD: usize = 24;

/// A record as bytes, to be written at once.
pub(super) fn encode(number: u64, body: &[&[u8]]) -> Option<Vec<u8>> {
    let length: usize = body.iter().map(|part| part.len()).sum();
    let mut bytes = Vec::with_capacity(HEAD + length);
    bytes.extend(MAGIC);
    bytes.extend(u32::try_from(length).ok()?.to_le_bytes());
    bytes.extend(number.to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    body.iter().for_each(|part| hasher.update(part));
    bytes.extend(hasher.finalize().to_le_bytes());
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    body.iter().for_each(|part| bytes.extend(*part));
    Some(bytes)
}

/// A record that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found<'a> {
    pub(super) number: u64,
    pub(super) at: usize,
    pub(super) body: &'a [u8],
}

/// The records of a segment, whatever it holds, and how many places were damaged.
pub(super) fn scan(segment: &[u8]) -> (Vec<Found<'_>>, u64) {
    let (mut found, mut damaged, mut at) = (Vec::new(), 0, 0);
    while at < segment.len() {
        match read(segment, at) {
            Some(record) => {
                at += HEAD + record.body.len();
                found.push(record);
            }
            // Its length says nothing: another record may have been written behind one that was cut short.
            None => {
                damaged += 1;
                at = next_start(segment, at + 1);
            }
        }
    }
    (found, damaged)
}

fn read(segment: &[u8], at: usize) -> Option<Found<'_>> {
    let head = segment[at..].first_chunk::<HEAD>()?;
    let (checked, sum) = head.split_at(HEAD - 4);
    if !head.starts_with(&MAGIC) || word(sum) != crc32fast::hash(checked) {
        return None;
    }
    let body = segment[at + HEAD..].get(..word(&head[4..8]) as usize)?;
    let number = u64::from(word(&head[8..12])) | u64::from(word(&head[12..16])) << 32;
    (word(&head[16..20]) == crc32fast::hash(body)).then_some(Found { number, at, body })
}

fn word(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes)).unwrap_or_default()
}

fn next_start(segment: &[u8], from: usize) -> usize {
    let starts = segment[from..].windows(MAGIC.len()).position(|window| window == MAGIC);
    starts.map_or(segment.len(), |offset| from + offset)
}

/// Bytes of an entry that says that a record is done.
pub(super) const DONE: usize = 12;

pub(super) fn encode_done(number: u64) -> [u8; DONE] {
    let mut bytes = [0; DONE];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    let sum = crc32fast::hash(&bytes[..8]);
    bytes[8..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// The numbers of the records that are done. A damaged entry says nothing, so its record is sent once more.
pub(super) fn scan_done(entries: &[u8]) -> impl Iterator<Item = u64> {
    entries.chunks_exact(DONE).filter_map(|entry| {
        let (number, sum) = entry.split_at(8);
        let whole = crc32fast::hash(number) == word(sum);
        whole.then(|| number.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment() -> Vec<u8> {
        (0..3).flat_map(|n| encode(n, &[b"head\n", &[b'a' + n as u8; 50]]).unwrap()).collect()
    }

    fn numbers(segment: &[u8]) -> (Vec<u64>, u64) {
        let (found, damaged) = scan(segment);
        (found.iter().map(|record| record.number).collect(), damaged)
    }

    #[test]
    fn what_was_written_is_found() {
        let segment = segment();
        let (found, damaged) = scan(&segment);
        assert_eq!((found.len(), damaged), (3, 0));
        assert_eq!((found[1].number, found[1].at), (1, 79));
        assert!(found[1].body.starts_with(b"head\nbbbb"));
        let done: Vec<u8> = [5, 1 << 40].into_iter().flat_map(encode_done).collect();
        assert_eq!(scan_done(&done).collect::<Vec<_>>(), [5, 1 << 40]);
    }

    #[test]
    fn damage_costs_what_is_damaged_and_nothing_else() {
        for at in 0..segment().len() {
            let mut damaged = segment();
            damaged[at] ^= 0x40;
            let (found, count) = numbers(&damaged);
            assert_eq!((found.len(), count), (2, 1), "byte {at}");
            assert!(!found.contains(&(at as u64 / 79)));
            let torn = &segment()[..at];
            let (found, count) = numbers(torn);
            assert_eq!((found.len(), count), (at / 79, u64::from(at % 79 > 0)), "cut at {at}");
            // A new record behind a torn one.
            let more = [torn, &encode(9, &[b"more"]).unwrap()].concat();
            assert_eq!(numbers(&more).0.last(), Some(&9), "cut at {at}");
        }
        let mut done = encode_done(7);
        done[3] ^= 1;
        assert_eq!(scan_done(&done).count(), 0);
    }
}

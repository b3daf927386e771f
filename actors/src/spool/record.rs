//! The format of a record in the database: its key names its table, and its value carries a
//! checksum of both.
//!
//! ```text
//! key      ├ table, 1 to 32 letters ┼ 0 ┼ key, 1 to 256 bytes ┤
//! value    ├ checksum, 16 ┼ value, 0 to 1 MiB ┤
//! ```
//!
//! Invariant: a value that is read under another key than its own, or that is another one than was
//! written, is no value.

use std::io::{self, ErrorKind};
use std::sync::LazyLock;

use super::Spool;

/// The key under which the database keeps a record; `key` of `table`.
pub(super) fn encode_key(table: &str, key: &[u8]) -> io::Result<Vec<u8>> {
    check_table(table)?;
    if key.is_empty() || key.len() > Spool::KEY_LIMIT {
        return Err(invalid(format!(
            "a key has 1 to {} bytes, not {}",
            Spool::KEY_LIMIT,
            key.len()
        )));
    }
    Ok([table.as_bytes(), &[0], key].concat())
}

/// The first key that a record of `table` could have, and the first one after them.
pub(super) fn bounds(table: &str) -> io::Result<[Vec<u8>; 2]> {
    check_table(table)?;
    Ok([[table.as_bytes(), &[0]].concat(), [table.as_bytes(), &[1]].concat()])
}

/// Table and key of a record; none if it is no record's.
pub(super) fn decode_key(full: &[u8]) -> Option<(&str, &[u8])> {
    let (table, key) = full.split_at_checked(full.iter().position(|&byte| byte == 0)?)?;
    let (table, key) = (std::str::from_utf8(table).ok()?, &key[1..]);
    (is_table(table) && !key.is_empty() && key.len() <= Spool::KEY_LIMIT).then_some((table, key))
}

/// The bytes that the database keeps for `value` under `full`.
pub(super) fn encode_value(full: &[u8], value: &[u8]) -> io::Result<Vec<u8>> {
    if value.len() > Spool::VALUE_LIMIT {
        let text = format!(
            "a record has at most {} bytes, not {}; what is larger goes to a file",
            Spool::VALUE_LIMIT,
            value.len()
        );
        return Err(invalid(text));
    }
    Ok([&checksum(full, value)[..], value].concat())
}

/// The value in what the database has under `full`; otherwise what is wrong with it.
pub(super) fn decode_value<'a>(full: &[u8], stored: &'a [u8]) -> Result<&'a [u8], &'static str> {
    if decode_key(full).is_none() {
        return Err("its key is no record's");
    }
    let (sum, value) =
        stored.split_first_chunk::<SUM>().ok_or("it is shorter than its checksum")?;
    if value.len() > Spool::VALUE_LIMIT {
        return Err("it is longer than a record can be");
    }
    if checksum(full, value) == *sum { Ok(value) } else { Err("its checksum does not agree") }
}

fn checksum(full: &[u8], value: &[u8]) -> [u8; SUM] {
    static START: LazyLock<blake3::Hasher> =
        LazyLock::new(|| blake3::Hasher::new_derive_key("estafette 2026 spool record"));
    let mut hasher = START.clone();
    for part in [full, value] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    let mut sum = [0; SUM];
    hasher.finalize_xof().fill(&mut sum);
    sum
}

fn check_table(table: &str) -> io::Result<()> {
    if is_table(table) {
        return Ok(());
    }
    Err(invalid(format!("{table:?} is no table: 1 to {TABLE_LIMIT} lower-case letters are wanted")))
}

fn is_table(table: &str) -> bool {
    (1..=TABLE_LIMIT).contains(&table.len()) && table.bytes().all(|byte| byte.is_ascii_lowercase())
}

fn invalid(text: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, text)
}

const SUM: usize = 16;
const TABLE_LIMIT: usize = 32;

/// A record's name for people: its table and its key, printable.
pub(super) fn name_of(full: &[u8]) -> String {
    match decode_key(full) {
        Some((table, key)) => format!("{table}/{}", key.escape_ascii()),
        None => full.escape_ascii().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &[u8; 21] =
        b"\x92\xa6\x4b\x66\x31\xe5\x32\x30\x0a\x0e\xa3\xf0\x84\x37\xdf\x4bhello";

    #[test]
    fn a_record_is_what_the_format_says() {
        let key = encode_key("peers", b"anna").unwrap();
        assert_eq!(key, b"peers\0anna");
        assert_eq!(decode_key(&key), Some(("peers", &b"anna"[..])));
        let stored = encode_value(&key, b"hello").unwrap();
        assert_eq!(stored.len(), 21);
        assert_eq!(&stored, GOLDEN, "{stored:02x?}");
        assert_eq!(decode_value(&key, &stored), Ok(&b"hello"[..]));
    }

    #[test]
    fn a_value_is_none_under_another_key_or_with_another_bit() {
        let key = encode_key("peers", b"anna").unwrap();
        let stored = encode_value(&key, b"hello").unwrap();
        for bit in 0..stored.len() * 8 {
            let mut flipped = stored.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_value(&key, &flipped).is_err(), "bit {bit}");
        }
        assert!(decode_value(b"peers\0bert", &stored).is_err());
        // The border between table and key counts, too.
        assert!(decode_value(b"peer\0sanna", &stored).is_err());
        assert!(decode_value(&key, &stored[..15]).is_err());
    }

    #[test]
    fn strange_tables_keys_and_values_are_refused() {
        for (table, key) in [
            ("", &b"a"[..]),
            ("A", b"a"),
            ("a b", b"a"),
            ("../a", b"a"),
            ("a", b""),
            ("a", &[0; 257]),
        ] {
            assert_eq!(encode_key(table, key).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        assert!(encode_key("a", &[0; 256]).is_ok());
        assert!(encode_value(b"a\0a", &vec![0; Spool::VALUE_LIMIT]).is_ok());
        assert_eq!(
            encode_value(b"a\0a", &vec![0; Spool::VALUE_LIMIT + 1]).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
    }
}

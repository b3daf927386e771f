//! Messages of a proto: on the wire between nodes they are the bytes that protocol buffers make of
//! them, so that what may be changed in a proto may be changed between nodes, too.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use serde::ser::{Error as _, Serializer};

/// The most bytes of a message that `estafette-build` made of a proto: gRPC's own limit.
///
/// It bounds the bytes, not what they become: an empty message in a repeated field has two bytes,
/// and takes as many as its type of Rust has (`size_of`) once it is read, which may be twice that,
/// since a list grows by doubling. A type of 40 texts has 960: 4 MiB of empty ones take 2 GB.
pub const PROTO_LIMIT: usize = 4 << 20;

/// Writes a message, packed already.
///
/// # Errors
/// If it is longer than [`PROTO_LIMIT`].
pub fn pack<S: Serializer>(packed: &[u8], to: S) -> Result<S::Ok, S::Error> {
    fits(packed.len()).map_err(S::Error::custom)?;
    to.serialize_bytes(packed)
}

/// Reads a message with `unpack`.
///
/// # Errors
/// If it is longer than [`PROTO_LIMIT`], or `unpack` can't read it.
pub fn unpack<'de, D, T, E>(from: D, unpack: fn(&[u8]) -> Result<T, E>) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    E: fmt::Display,
{
    from.deserialize_bytes(Unpacking { unpack, of: PhantomData })
}

fn fits(length: usize) -> Result<(), String> {
    match length {
        0..=PROTO_LIMIT => Ok(()),
        more => Err(format!("it has {more} bytes, {PROTO_LIMIT} are allowed for one of a proto")),
    }
}

struct Unpacking<T, E> {
    unpack: fn(&[u8]) -> Result<T, E>,
    of: PhantomData<T>,
}

impl<'de, T, E: fmt::Display> Visitor<'de> for Unpacking<T, E> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes of a message of a proto")
    }

    fn visit_bytes<F: serde::de::Error>(self, packed: &[u8]) -> Result<T, F> {
        fits(packed.len()).map_err(F::custom)?;
        (self.unpack)(packed).map_err(F::custom)
    }

    // Formats without bytes, such as JSON, have lists of numbers.
    fn visit_seq<A: SeqAccess<'de>>(self, mut bytes: A) -> Result<T, A::Error> {
        let mut packed = Vec::new();
        while let Some(byte) = bytes.next_element()? {
            fits(packed.len() + 1).map_err(A::Error::custom)?;
            packed.push(byte);
        }
        self.visit_bytes(&packed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::wire::codec::{decode_message, encode_message};

    #[derive(Debug, PartialEq)]
    struct Text(String);

    impl Serialize for Text {
        fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            pack(self.0.as_bytes(), to)
        }
    }

    impl<'de> Deserialize<'de> for Text {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            unpack(from, |packed| std::str::from_utf8(packed).map(|text| Text(text.to_owned())))
        }
    }

    fn written(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_message(&Text(text.into()), &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_is_packed_is_bytes_on_the_wire_and_read_again() {
        assert_eq!(written("Ada"), b"\x03Ada", "its length, and its bytes");
        assert_eq!(decode_message::<Text>(&written("Ada")).unwrap(), Text("Ada".into()));
        let json = serde_json::to_string(&Text("Ada".into())).unwrap();
        assert_eq!(serde_json::from_str::<Text>(&json).unwrap(), Text("Ada".into()));
        let wrong = decode_message::<Text>(b"\x01\xff").unwrap_err().to_string();
        assert!(wrong.contains("invalid utf-8"), "{wrong}");
    }

    #[test]
    fn what_is_longer_than_one_may_be_is_neither_written_nor_read() {
        let most = "a".repeat(PROTO_LIMIT);
        assert_eq!(decode_message::<Text>(&written(&most)).unwrap().0, most);
        let mut bytes = Vec::new();
        let more = Text("a".repeat(PROTO_LIMIT + 1));
        let refused = encode_message(&more, &mut bytes).unwrap_err().to_string();
        assert!(refused.contains("4194304 are allowed"), "{refused}");
        let mut bytes = Vec::new();
        encode_message(&serde_bytes::Bytes::new(more.0.as_bytes()).to_vec(), &mut bytes).unwrap();
        let refused = decode_message::<Text>(&bytes).unwrap_err().to_string();
        assert!(refused.contains("4194304 are allowed"), "{refused}");
    }
}

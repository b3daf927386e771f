//! Reading a struct that was written with more fields, or with fewer, than it has here.

use std::cell::Cell;

use bincode::de::read::Reader;
use bincode::de::{Decoder, DecoderImpl};
use bincode::error::DecodeError;
use bincode::serde::OwnedSerdeDecoder;
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};

/// Reads from bytes, and lets others see how many are left.
pub(super) struct Rest<'a>(pub(super) &'a Cell<&'a [u8]>);

impl Reader for Rest<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> Result<(), DecodeError> {
        let rest = self.0.get();
        let Some((head, tail)) = rest.split_at_checked(bytes.len()) else {
            return Err(DecodeError::UnexpectedEnd { additional: bytes.len() - rest.len() });
        };
        bytes.copy_from_slice(head);
        self.0.set(tail);
        Ok(())
    }

    fn peek_read(&mut self, length: usize) -> Option<&[u8]> {
        self.0.get().get(..length)
    }

    fn consume(&mut self, length: usize) {
        self.0.set(self.0.get().get(length..).unwrap_or_default());
    }
}

/// The value itself: what lies inside is read by bincode alone.
pub(super) struct TopLevel<'d, 'a, D: Decoder> {
    pub(super) decoder: &'d mut OwnedSerdeDecoder<D>,
    pub(super) rest: &'a Cell<&'a [u8]>,
}

struct Fields<'d, 'a, D: Decoder> {
    of: TopLevel<'d, 'a, D>,
    left: usize,
}

impl<'de, D: Decoder> SeqAccess<'de> for Fields<'_, '_, D> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, DecodeError> {
        // At the end of the bytes, the fields left get their defaults, or say that they have none.
        if self.left == 0 || self.of.rest.get().is_empty() {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(self.of.decoder.as_deserializer()).map(Some)
    }
}

macro_rules! forward {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            self.decoder.as_deserializer().$method(visitor)
        })*
    };
}

impl<'de, C: bincode::config::Config> Deserializer<'de> for TopLevel<'_, '_, DecoderImpl<Rest<'_>, C, ()>> {
    type Error = DecodeError;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_seq(Fields { left: fields.len(), of: self })
    }

    forward! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64
        deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf deserialize_option
        deserialize_unit deserialize_seq deserialize_map deserialize_identifier deserialize_ignored_any
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, DecodeError> {
        self.decoder.as_deserializer().deserialize_unit_struct(name, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, DecodeError> {
        self.decoder.as_deserializer().deserialize_newtype_struct(name, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, DecodeError> {
        self.decoder.as_deserializer().deserialize_tuple(length, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(self, name: &'static str, length: usize, visitor: V) -> Result<V::Value, DecodeError> {
        self.decoder.as_deserializer().deserialize_tuple_struct(name, length, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.decoder.as_deserializer().deserialize_enum(name, variants, visitor)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use crate::wire::codec::{CodecError, decode_message, encode_message};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Old {
        text: String,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct New {
        text: String,
        #[serde(default)]
        times: u32,
        #[serde(default)]
        tags: Vec<String>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Strict {
        text: String,
        times: u32,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Unit;

    fn bytes(value: &impl Serialize) -> Vec<u8> {
        let mut out = Vec::new();
        encode_message(value, &mut out).unwrap();
        out
    }

    #[test]
    fn a_newer_and_an_older_writer_are_understood() {
        let old = bytes(&Old { text: "hi".into() });
        assert_eq!(decode_message::<New>(&old), Ok(New { text: "hi".into(), times: 0, tags: vec![] }));
        let new = bytes(&New { text: "hi".into(), times: 7, tags: vec!["a".into()] });
        assert_eq!(decode_message::<Old>(&new), Ok(Old { text: "hi".into() }));
        assert!(matches!(decode_message::<Strict>(&old), Err(CodecError::Malformed { .. })));
    }

    #[test]
    fn what_ends_within_a_field_is_an_error_and_claims_cost_nothing() {
        let new = bytes(&New { text: "hi".into(), times: 70_000, tags: vec![] });
        assert!(matches!(decode_message::<New>(&new[..4]), Err(CodecError::Truncated { .. })));
        assert!(matches!(decode_message::<String>(&[253, 0, 0, 0, 0, 0, 1, 0, 0]), Err(CodecError::TooLarge { .. })));
    }

    #[test]
    fn all_kinds_of_types_pass() {
        assert_eq!(decode_message::<(u8, Option<i64>)>(&bytes(&(1_u8, Some(-5_i64)))), Ok((1, Some(-5))));
        assert_eq!(decode_message::<Result<u32, String>>(&bytes(&Err::<u32, _>("no"))), Ok(Err("no".into())));
        assert_eq!(decode_message::<()>(&bytes(&())), Ok(()));
        assert_eq!(decode_message::<Unit>(&bytes(&Unit)), Ok(Unit));
        for length in [2, 4000, 60_000, 1_000_000] {
            let numbers = vec![1_u128; length];
            assert_eq!(decode_message::<Vec<u128>>(&bytes(&numbers)), Ok(numbers));
        }
    }
}

//! Reads within bounds: a [`Deserializer`] around another one that counts levels and memory.
//!
//! Invariant: whatever calls itself for a part of a value goes through here, and is one level
//! deeper: filled options and newtypes, too, which take no byte of a text.

use std::cell::Cell;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::too_deep;
use crate::wire::codec::DEPTH_LIMIT;
use crate::wire::message::MESSAGE_LIMIT;

/// The most bytes of memory that the parts of a value may take for each byte of its text, beyond
/// [`MESSAGE_LIMIT`]: fields that are left out have no bytes.
const MEMORY_PER_BYTE: usize = 16;

/// The bytes of memory that the parts of a value may still take.
pub(super) struct Budget(Cell<usize>);

impl Budget {
    pub(super) fn of(text: &[u8]) -> Self {
        Self(Cell::new(MESSAGE_LIMIT + MEMORY_PER_BYTE * text.len()))
    }

    /// Takes what a value of this type takes by itself.
    fn take<T, E: Error>(&self) -> Result<(), E> {
        let left = self.0.get().checked_sub(size_of::<T>()).ok_or_else(|| {
            E::custom(format_args!(
                "it takes more memory than {MESSAGE_LIMIT} bytes and {MEMORY_PER_BYTE} times its \
                 own"
            ))
        })?;
        self.0.set(left);
        Ok(())
    }
}

/// One part of a value, or what makes a value of that.
pub(super) struct Bounded<'b, X> {
    of: X,
    depth: usize,
    budget: &'b Budget,
}

impl<'b, X> Bounded<'b, X> {
    pub(super) fn new(of: X, budget: &'b Budget) -> Self {
        Self { of, depth: 0, budget }
    }

    /// Another one at the same depth.
    fn around<Y>(&self, of: Y) -> Bounded<'b, Y> {
        Bounded { of, depth: self.depth, budget: self.budget }
    }

    /// Another one within this.
    fn within<Y, E: Error>(&self, of: Y) -> Result<Bounded<'b, Y>, E> {
        if self.depth == DEPTH_LIMIT {
            return Err(E::custom(too_deep()));
        }
        Ok(Bounded { of, depth: self.depth + 1, budget: self.budget })
    }
}

macro_rules! deserialize {
    ($($method:ident($($argument:ident: $kind:ty),*);)*) => {
        $(fn $method<V: Visitor<'de>>(
            self,
            $($argument: $kind,)*
            visitor: V,
        ) -> Result<V::Value, D::Error> {
            self.budget.take::<V::Value, D::Error>()?;
            let visitor = self.around(visitor);
            self.of.$method($($argument,)* visitor)
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Bounded<'_, D> {
    type Error = D::Error;

    deserialize! {
        deserialize_any();
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_i128();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_u128();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_option();
        deserialize_unit();
        deserialize_unit_struct(name: &'static str);
        deserialize_newtype_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple(length: usize);
        deserialize_tuple_struct(name: &'static str, length: usize);
        deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
        deserialize_ignored_any();
    }

    fn is_human_readable(&self) -> bool {
        self.of.is_human_readable()
    }
}

macro_rules! visit {
    ($($method:ident($kind:ty);)*) => {
        $(fn $method<E: Error>(self, value: $kind) -> Result<V::Value, E> {
            self.of.$method(value)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Bounded<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.of.expecting(f)
    }

    visit! {
        visit_bool(bool);
        visit_i8(i8);
        visit_i16(i16);
        visit_i32(i32);
        visit_i64(i64);
        visit_i128(i128);
        visit_u8(u8);
        visit_u16(u16);
        visit_u32(u32);
        visit_u64(u64);
        visit_u128(u128);
        visit_f32(f32);
        visit_f64(f64);
        visit_char(char);
        visit_str(&str);
        visit_borrowed_str(&'de str);
        visit_string(String);
        visit_bytes(&[u8]);
        visit_borrowed_bytes(&'de [u8]);
        visit_byte_buf(Vec<u8>);
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.of.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.of.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, part: D) -> Result<V::Value, D::Error> {
        let part = self.within(part)?;
        self.of.visit_some(part)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, part: D) -> Result<V::Value, D::Error> {
        let part = self.within(part)?;
        self.of.visit_newtype_struct(part)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, parts: A) -> Result<V::Value, A::Error> {
        let parts = self.within(parts)?;
        self.of.visit_seq(parts)
    }

    fn visit_map<A: MapAccess<'de>>(self, parts: A) -> Result<V::Value, A::Error> {
        let parts = self.within(parts)?;
        self.of.visit_map(parts)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, one: A) -> Result<V::Value, A::Error> {
        let one = self.around(one);
        self.of.visit_enum(one)
    }
}

impl<'de, T: DeserializeSeed<'de>> DeserializeSeed<'de> for Bounded<'_, T> {
    type Value = T::Value;

    fn deserialize<D: Deserializer<'de>>(self, part: D) -> Result<T::Value, D::Error> {
        let part = self.around(part);
        self.of.deserialize(part)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, A::Error> {
        let seed = self.around(seed);
        self.of.next_element_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.of.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        let seed = self.around(seed);
        self.of.next_key_seed(seed)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        let seed = self.around(seed);
        self.of.next_value_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.of.size_hint()
    }
}

impl<'b, 'de, A: EnumAccess<'de>> EnumAccess<'de> for Bounded<'b, A> {
    type Error = A::Error;
    type Variant = Bounded<'b, A::Variant>;

    fn variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<(T::Value, Self::Variant), A::Error> {
        let Self { of, depth, budget } = self;
        let (value, of) = of.variant_seed(Bounded { of: seed, depth, budget })?;
        Ok((value, Bounded { of, depth, budget }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.of.unit_variant()
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, A::Error> {
        let seed = self.within(seed)?;
        self.of.newtype_variant_seed(seed)
    }

    // What is in these is counted as a list or an object.
    fn tuple_variant<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = self.around(visitor);
        self.of.tuple_variant(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = self.around(visitor);
        self.of.struct_variant(fields, visitor)
    }
}

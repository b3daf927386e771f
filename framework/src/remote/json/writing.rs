//! Writes no deeper than is read: a [`Serializer`] around another one that counts levels.
//!
//! Invariant: it counts what [`reading`](super::reading) counts.

use std::fmt::Display;

use serde::Serialize;
use serde::ser::{
    Error, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::too_deep;
use crate::wire::codec::DEPTH_LIMIT;

/// A part of a value, or what writes it.
pub(super) struct Shallow<X> {
    of: X,
    depth: usize,
}

impl<X> Shallow<X> {
    pub(super) fn new(of: X) -> Self {
        Self { of, depth: 0 }
    }

    fn around<Y>(&self, of: Y) -> Shallow<Y> {
        Shallow { of, depth: self.depth }
    }

    fn deeper<E: Error>(&self) -> Result<usize, E> {
        if self.depth == DEPTH_LIMIT {
            return Err(E::custom(too_deep()));
        }
        Ok(self.depth + 1)
    }
}

impl<T: Serialize> Serialize for Shallow<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.of.serialize(self.around(serializer))
    }
}

macro_rules! plain {
    ($($method:ident($($argument:ident: $kind:ty),*);)*) => {
        $(fn $method(self, $($argument: $kind),*) -> Result<S::Ok, S::Error> {
            self.of.$method($($argument),*)
        })*
    };
}

macro_rules! compound {
    ($($method:ident($($argument:ident: $kind:ty),*) -> $made:ident;)*) => {
        $(fn $method(self, $($argument: $kind),*) -> Result<Self::$made, S::Error> {
            let depth = self.deeper()?;
            Ok(Shallow { of: self.of.$method($($argument),*)?, depth })
        })*
    };
}

impl<S: Serializer> Serializer for Shallow<S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Shallow<S::SerializeSeq>;
    type SerializeTuple = Shallow<S::SerializeTuple>;
    type SerializeTupleStruct = Shallow<S::SerializeTupleStruct>;
    type SerializeTupleVariant = Shallow<S::SerializeTupleVariant>;
    type SerializeMap = Shallow<S::SerializeMap>;
    type SerializeStruct = Shallow<S::SerializeStruct>;
    type SerializeStructVariant = Shallow<S::SerializeStructVariant>;

    plain! {
        serialize_bool(value: bool);
        serialize_i8(value: i8);
        serialize_i16(value: i16);
        serialize_i32(value: i32);
        serialize_i64(value: i64);
        serialize_i128(value: i128);
        serialize_u8(value: u8);
        serialize_u16(value: u16);
        serialize_u32(value: u32);
        serialize_u64(value: u64);
        serialize_u128(value: u128);
        serialize_f32(value: f32);
        serialize_f64(value: f64);
        serialize_char(value: char);
        serialize_str(value: &str);
        serialize_bytes(value: &[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(name: &'static str);
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str);
    }

    compound! {
        serialize_seq(length: Option<usize>) -> SerializeSeq;
        serialize_tuple(length: usize) -> SerializeTuple;
        serialize_tuple_struct(name: &'static str, length: usize) -> SerializeTupleStruct;
        serialize_tuple_variant(
            name: &'static str, index: u32, variant: &'static str, length: usize
        ) -> SerializeTupleVariant;
        serialize_map(length: Option<usize>) -> SerializeMap;
        serialize_struct(name: &'static str, length: usize) -> SerializeStruct;
        serialize_struct_variant(
            name: &'static str, index: u32, variant: &'static str, length: usize
        ) -> SerializeStructVariant;
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<S::Ok, S::Error> {
        let depth = self.deeper()?;
        self.of.serialize_some(&Shallow { of: value, depth })
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let depth = self.deeper()?;
        self.of.serialize_newtype_struct(name, &Shallow { of: value, depth })
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let depth = self.deeper()?;
        self.of.serialize_newtype_variant(name, index, variant, &Shallow { of: value, depth })
    }

    fn collect_str<T: ?Sized + Display>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.of.collect_str(value)
    }

    fn is_human_readable(&self) -> bool {
        self.of.is_human_readable()
    }
}

macro_rules! elements {
    ($($made:ident: $($method:ident),*;)*) => {
        $(impl<S: $made> $made for Shallow<S> {
            type Ok = S::Ok;
            type Error = S::Error;

            $(fn $method<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), S::Error> {
                let value = self.around(value);
                self.of.$method(&value)
            })*

            fn end(self) -> Result<S::Ok, S::Error> {
                self.of.end()
            }
        })*
    };
}

elements! {
    SerializeSeq: serialize_element;
    SerializeTuple: serialize_element;
    SerializeTupleStruct: serialize_field;
    SerializeTupleVariant: serialize_field;
    SerializeMap: serialize_key, serialize_value;
}

macro_rules! fields {
    ($($made:ident)*) => {
        $(impl<S: $made> $made for Shallow<S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn serialize_field<T: ?Sized + Serialize>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), S::Error> {
                let value = self.around(value);
                self.of.serialize_field(name, &value)
            }

            fn skip_field(&mut self, name: &'static str) -> Result<(), S::Error> {
                self.of.skip_field(name)
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.of.end()
            }
        })*
    };
}

fields! { SerializeStruct SerializeStructVariant }

//! Bytes to values.
//!
//! Invariant: what the bytes claim costs no more than the bytes: the stack is bounded by
//! [`DEPTH_LIMIT`], time by the elements there may be, and nothing is allocated for what is not
//! there.

mod watch;

pub(super) use self::watch::{Shorter, Watch};
use bincode::config::Config;
use bincode::de::read::{BorrowReader, Reader};
use bincode::de::{BorrowDecode, Decode, Decoder, DecoderImpl};
use bincode::error::DecodeError;
use serde::de::value::U32Deserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::fault::{Fault, What};
use super::write::place;
use super::{DEPTH_LIMIT, FREE_ELEMENTS, LONG_TUPLE};

/// The rest of the bytes.
struct Input<'de>(&'de [u8]);

impl Reader for Input<'_> {
    #[inline(always)]
    fn read(&mut self, bytes: &mut [u8]) -> Result<(), DecodeError> {
        bytes.copy_from_slice(self.take_bytes(bytes.len())?);
        Ok(())
    }

    #[inline(always)]
    fn peek_read(&mut self, length: usize) -> Option<&[u8]> {
        self.0.get(..length)
    }

    #[inline(always)]
    fn consume(&mut self, length: usize) {
        self.0 = self.0.get(length..).unwrap_or_default();
    }
}

impl<'de> BorrowReader<'de> for Input<'de> {
    #[inline(always)]
    fn take_bytes(&mut self, length: usize) -> Result<&'de [u8], DecodeError> {
        let Some((head, tail)) = self.0.split_at_checked(length) else {
            return Err(DecodeError::UnexpectedEnd { additional: length - self.0.len() });
        };
        self.0 = tail;
        Ok(head)
    }
}

/// The common state of all parts of a value that is read.
pub(super) struct Page<'de, C: Config, W> {
    decoder: DecoderImpl<Input<'de>, C, ()>,
    /// The number of elements that lists may still have.
    elements: usize,
    /// Set if the value is a struct: there may be something behind it, which a newer program has
    /// added.
    is_struct: bool,
    pub(super) watch: W,
}

impl<'de, C: Config, W: Watch> Page<'de, C, W> {
    #[inline(always)]
    pub(super) fn new(bytes: &'de [u8], configuration: C, watch: W) -> Self {
        let decoder = DecoderImpl::new(Input(bytes), configuration, ());
        Self { decoder, elements: FREE_ELEMENTS + 2 * bytes.len(), is_struct: false, watch }
    }

    /// To read the value with.
    #[inline(always)]
    pub(super) fn reading(&mut self) -> Reading<'_, 'de, C, W> {
        Reading { page: self, depth: 0 }
    }

    /// Returns how many bytes are left.
    #[inline(always)]
    pub(super) fn left(&mut self) -> usize {
        self.decoder.reader().0.len()
    }

    /// Returns how many are left that can't be what a newer program has added.
    #[inline(always)]
    pub(super) fn too_many(&mut self) -> usize {
        if self.is_struct { 0 } else { self.left() }
    }
}

/// One part of a value.
pub(super) struct Reading<'p, 'de, C: Config, W> {
    page: &'p mut Page<'de, C, W>,
    depth: usize,
}

/// A part that has parts of its own.
struct Parts<'p, 'de, C: Config, W> {
    page: &'p mut Page<'de, C, W>,
    depth: usize,
    left: usize,
    /// The number to make room for: not more than there are bytes, whatever they say.
    room: usize,
}

/// The fields of a struct, a tuple, or a variant of those.
struct Fields<'p, 'de, C: Config, W> {
    of: Parts<'p, 'de, C, W>,
    shorter: bool,
}

impl<'p, 'de, C: Config, W: Watch> Reading<'p, 'de, C, W> {
    #[inline(always)]
    fn take<T: Decode<()>>(&mut self, part: &'static str) -> Result<T, Fault> {
        self.page.watch.part(part)?;
        Ok(T::decode(&mut self.page.decoder)?)
    }

    #[inline(always)]
    fn borrow<T: BorrowDecode<'de, ()>>(&mut self, part: &'static str) -> Result<T, Fault> {
        self.page.watch.part(part)?;
        Ok(T::borrow_decode(&mut self.page.decoder)?)
    }

    #[inline(always)]
    fn deeper(self) -> Result<Self, Fault> {
        if self.depth == DEPTH_LIMIT {
            return Err(What::TooDeep.into());
        }
        Ok(Self { depth: self.depth + 1, page: self.page })
    }

    #[inline(always)]
    fn count(&mut self, elements: usize) -> Result<(), Fault> {
        let Some(left) = self.page.elements.checked_sub(elements) else {
            return Err(What::TooMany.into());
        };
        self.page.elements = left;
        Ok(())
    }

    #[inline(always)]
    fn list(mut self) -> Result<Parts<'p, 'de, C, W>, Fault> {
        let length: u64 = self.take("a length")?;
        let length = usize::try_from(length).map_err(|_| What::TooMany)?;
        self.count(length)?;
        let Self { page, depth } = self.deeper()?;
        let room = length.min(page.left());
        Ok(Parts { page, depth, left: length, room })
    }

    #[inline(always)]
    fn fields<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        names: &'static [&'static str],
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if length > LONG_TUPLE {
            self.count(length)?;
        }
        self.page.watch.open(name, names)?;
        let shorter = W::SHORTER && self.depth == 0 && self.page.is_struct;
        let Self { page, depth } = self.deeper()?;
        let mut fields = Fields { of: Parts { page, depth, left: length, room: length }, shorter };
        let value = match visitor.visit_seq(&mut fields) {
            Ok(value) => value,
            Err(fault) => return Err(fault.within(|| place(name, fields.latest(names, length)))),
        };
        fields.of.page.watch.close()?;
        Ok(value)
    }

    /// Notes that the value itself is a struct.
    #[inline(always)]
    fn begin_struct(&mut self) {
        self.page.is_struct |= self.depth == 0;
    }
}

impl<C: Config, W> Fields<'_, '_, C, W> {
    /// The name of the field that was read last, as far as that can be told.
    fn latest(&self, names: &'static [&'static str], length: usize) -> &'static str {
        (length - self.of.left)
            .checked_sub(1)
            .and_then(|index| names.get(index))
            .copied()
            .unwrap_or_default()
    }
}

macro_rules! plain {
    ($($method:ident $visit:ident $type:ty, $part:literal;)*) => {
        $(#[inline(always)]
        fn $method<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Fault> {
            visitor.$visit(self.take::<$type>($part)?)
        })*
    };
}

impl<'de, C: Config, W: Watch> Deserializer<'de> for Reading<'_, 'de, C, W> {
    type Error = Fault;

    plain! {
        deserialize_bool visit_bool bool, "a bool";
        deserialize_i8 visit_i8 i8, "an i8";
        deserialize_i16 visit_i16 i16, "an i16";
        deserialize_i32 visit_i32 i32, "an i32";
        deserialize_i64 visit_i64 i64, "an i64";
        deserialize_i128 visit_i128 i128, "an i128";
        deserialize_u8 visit_u8 u8, "a u8";
        deserialize_u16 visit_u16 u16, "a u16";
        deserialize_u32 visit_u32 u32, "a u32";
        deserialize_u64 visit_u64 u64, "a u64";
        deserialize_u128 visit_u128 u128, "a u128";
        deserialize_f32 visit_f32 f32, "an f32";
        deserialize_f64 visit_f64 f64, "an f64";
        deserialize_char visit_char char, "a char";
    }

    #[inline(always)]
    fn deserialize_str<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_str(self.borrow("a text")?)
    }

    #[inline(always)]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    #[inline(always)]
    fn deserialize_bytes<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_bytes(self.borrow("bytes")?)
    }

    #[inline(always)]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_bytes(visitor)
    }

    #[inline(always)]
    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Fault> {
        match self.take::<u8>("an option")? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(self.deeper()?),
            found => Err(Fault::other(format!(
                "{found} stands where 0 or 1 says whether there is something"
            ))),
        }
    }

    #[inline(always)]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    #[inline(always)]
    fn deserialize_unit_struct<V: Visitor<'de>>(
        mut self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.begin_struct();
        visitor.visit_unit()
    }

    #[inline(always)]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        mut self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.begin_struct();
        visitor.visit_newtype_struct(self.deeper()?)
    }

    #[inline(always)]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_seq(self.list()?)
    }

    #[inline(always)]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_map(self.list()?)
    }

    #[inline(always)]
    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.fields("", &[], length, visitor)
    }

    #[inline(always)]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.begin_struct();
        self.fields(name, &[], length, visitor)
    }

    #[inline(always)]
    fn deserialize_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.begin_struct();
        self.fields(name, fields, fields.len(), visitor)
    }

    #[inline(always)]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor
            .visit_enum(Choosing { of: self, variants })
            .map_err(|fault| fault.within(|| place(name, "")))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault> {
        Err(What::Undescribed.into())
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault> {
        Err(What::Undescribed.into())
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault> {
        Err(What::Undescribed.into())
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

impl<'de, C: Config, W: Watch> Parts<'_, 'de, C, W> {
    #[inline(always)]
    fn part<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Fault> {
        seed.deserialize(Reading { page: self.page, depth: self.depth })
    }
}

impl<'de, C: Config, W: Watch> SeqAccess<'de> for Parts<'_, 'de, C, W> {
    type Error = Fault;

    #[inline(always)]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.part(seed).map(Some)
    }

    #[inline(always)]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left.min(self.room))
    }
}

impl<'de, C: Config, W: Watch> MapAccess<'de> for Parts<'_, 'de, C, W> {
    type Error = Fault;

    #[inline(always)]
    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        // An entry is what a pair is.
        self.page.watch.open("", &[])?;
        self.page.watch.field()?;
        self.part(seed).map(Some)
    }

    #[inline(always)]
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        self.page.watch.field()?;
        let value = self.part(seed)?;
        self.page.watch.close()?;
        Ok(value)
    }

    #[inline(always)]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left.min(self.room))
    }
}

impl<'de, C: Config, W: Watch> SeqAccess<'de> for &mut Fields<'_, 'de, C, W> {
    type Error = Fault;

    #[inline(always)]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        // At the end of the bytes, the fields left get their defaults, or say that they have none.
        if self.of.left == 0 || W::SHORTER && self.shorter && self.of.page.left() == 0 {
            return Ok(None);
        }
        self.of.left -= 1;
        self.of.page.watch.field()?;
        self.of.part(seed).map(Some)
    }

    #[inline(always)]
    fn size_hint(&self) -> Option<usize> {
        Some(self.of.left)
    }
}

/// One of several.
struct Choosing<'p, 'de, C: Config, W> {
    of: Reading<'p, 'de, C, W>,
    variants: &'static [&'static str],
}

impl<'p, 'de, C: Config, W: Watch> EnumAccess<'de> for Choosing<'p, 'de, C, W> {
    type Error = Fault;
    type Variant = Reading<'p, 'de, C, W>;

    #[inline(always)]
    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self::Variant), Fault> {
        let Self { of, variants } = self;
        let index = u32::decode(&mut of.page.decoder)?;
        of.page.watch.variant(index, variants)?;
        let number: U32Deserializer<Fault> = index.into_deserializer();
        Ok((seed.deserialize(number)?, of))
    }
}

impl<'de, C: Config, W: Watch> VariantAccess<'de> for Reading<'_, 'de, C, W> {
    type Error = Fault;

    #[inline(always)]
    fn unit_variant(self) -> Result<(), Fault> {
        Ok(())
    }

    #[inline(always)]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        seed.deserialize(self.deeper()?)
    }

    #[inline(always)]
    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Fault> {
        self.fields("", &[], length, visitor)
    }

    #[inline(always)]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.fields("", fields, fields.len(), visitor)
    }
}

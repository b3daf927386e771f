//! Values to bytes, and nothing that could be read as another value.
//!
//! The bytes do not say what they are, so a reader takes field for field what its type has. Hence
//! whoever writes has to write all of them: what is left out, or is more or less than was
//! announced, is an error here and no other message there.

use bincode::config::Config;
use bincode::enc::write::Writer;
use bincode::enc::{Encode, EncoderImpl};
use bincode::error::EncodeError;
use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::fault::{Fault, What};
use super::{DEPTH_LIMIT, FREE_ELEMENTS, LONG_TUPLE};

/// Sees what is written, beside the bytes.
pub(super) trait Watch {
    /// A part of the value, before its bytes.
    #[inline(always)]
    fn part(&mut self, _: &'static str) -> Result<(), Fault> {
        Ok(())
    }
    /// One of several, before its bytes.
    #[inline(always)]
    fn variant(&mut self, _: &'static str) -> Result<(), Fault> {
        Ok(())
    }
    /// Fields begin, of what has this name.
    #[inline(always)]
    fn open(&mut self, _: &'static str) -> Result<(), Fault> {
        Ok(())
    }
    /// The next field, before what is in it.
    #[inline(always)]
    fn field(&mut self, _: &'static str) -> Result<(), Fault> {
        Ok(())
    }
    /// The fields end.
    #[inline(always)]
    fn close(&mut self) -> Result<(), Fault> {
        Ok(())
    }
    /// Here the way of writing or reading may differ from other values of the type.
    #[inline(always)]
    fn site(&mut self, _: &'static str, _: usize) {}
}

/// Nobody looks.
pub(super) struct Unwatched;

impl Watch for Unwatched {}

/// Bytes up to a limit.
struct Sheet<'v> {
    bytes: &'v mut Vec<u8>,
    /// The length that they may have, with what was there before.
    end: usize,
}

impl Writer for Sheet<'_> {
    #[inline(always)]
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        // What has no end is not written to the end.
        if bytes.len() > self.end - self.bytes.len() {
            return Err(EncodeError::UnexpectedEnd);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

/// The common state of all parts of a value that is written.
struct Pen<'v, C: Config, W> {
    encoder: EncoderImpl<Sheet<'v>, C>,
    /// The number of elements that lists may still have, each of which costs the reader time
    /// whether or not it has bytes.
    elements: usize,
    watch: &'v mut W,
}

/// Writes a value behind what is in `bytes`, up to `limit` bytes.
#[inline(always)]
pub(super) fn write<T: Serialize + ?Sized, W: Watch>(
    value: &T,
    bytes: &mut Vec<u8>,
    limit: usize,
    configuration: impl Config,
    watch: &mut W,
) -> Result<(), Fault> {
    let (start, elements) = (bytes.len(), FREE_ELEMENTS + 2 * limit);
    let sheet = Sheet { bytes, end: start + limit };
    let mut pen = Pen { encoder: EncoderImpl::new(sheet, configuration), elements, watch };
    value.serialize(Writing { pen: &mut pen, depth: 0 })?;
    let (counted, written) =
        (elements - pen.elements, pen.encoder.into_writer().bytes.len() - start);
    // As many as the reader takes of so many bytes.
    if counted > FREE_ELEMENTS + 2 * written { Err(What::TooMany.into()) } else { Ok(()) }
}

/// One part of a value.
struct Writing<'p, 'v, C: Config, W> {
    pen: &'p mut Pen<'v, C, W>,
    depth: usize,
}

/// A part that has parts of its own.
struct Parts<'p, 'v, C: Config, W> {
    pen: &'p mut Pen<'v, C, W>,
    depth: usize,
    /// The number of announced ones that are not written yet.
    left: usize,
    name: &'static str,
}

impl<'p, 'v, C: Config, W: Watch> Writing<'p, 'v, C, W> {
    #[inline(always)]
    fn put(self, value: impl Encode, part: &'static str) -> Result<(), Fault> {
        self.pen.watch.part(part)?;
        value.encode(&mut self.pen.encoder)?;
        Ok(())
    }

    #[inline(always)]
    fn deeper(self) -> Result<Self, Fault> {
        if self.depth == DEPTH_LIMIT {
            return Err(What::TooDeep.into());
        }
        Ok(Self { depth: self.depth + 1, pen: self.pen })
    }

    #[inline(always)]
    fn count(&mut self, elements: usize) -> Result<(), Fault> {
        let Some(left) = self.pen.elements.checked_sub(elements) else {
            return Err(What::TooMany.into());
        };
        self.pen.elements = left;
        Ok(())
    }

    #[inline(always)]
    fn variant(&mut self, of: &'static str, index: u32, name: &'static str) -> Result<(), Fault> {
        self.pen.watch.site(of, index as usize);
        self.pen.watch.variant(name)?;
        index.encode(&mut self.pen.encoder)?;
        Ok(())
    }

    #[inline(always)]
    fn list(
        mut self,
        length: Option<usize>,
        what: &'static str,
    ) -> Result<Parts<'p, 'v, C, W>, Fault> {
        let Some(length) = length else {
            let why = "does not say beforehand how many elements it has, which its reader has to \
                       know; collect it first (`#[serde(flatten)]` makes such maps, too)";
            return Err(Fault::other(format!("a {what} {why}")));
        };
        self.count(length)?;
        self.pen.watch.part("a length")?;
        if length > 0 {
            self.pen.watch.site(what, 1);
        }
        length.encode(&mut self.pen.encoder)?;
        let Self { pen, depth } = self.deeper()?;
        Ok(Parts { pen, depth, left: length, name: what })
    }

    #[inline(always)]
    fn fields(mut self, name: &'static str, length: usize) -> Result<Parts<'p, 'v, C, W>, Fault> {
        if length > LONG_TUPLE {
            self.count(length)?;
        }
        self.pen.watch.open(name)?;
        let Self { pen, depth } = self.deeper()?;
        Ok(Parts { pen, depth, left: length, name })
    }
}

impl<C: Config, W: Watch> Parts<'_, '_, C, W> {
    #[inline(always)]
    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        value.serialize(Writing { pen: self.pen, depth: self.depth })
    }

    #[inline(always)]
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        if self.left == 0 {
            return Err(self.miscounted());
        }
        self.left -= 1;
        self.part(value)
    }

    #[inline(always)]
    fn field<T: Serialize + ?Sized>(
        &mut self,
        field: &'static str,
        value: &T,
    ) -> Result<(), Fault> {
        if self.left == 0 {
            return Err(self.miscounted());
        }
        self.left -= 1;
        self.pen.watch.field(field)?;
        let name = self.name;
        self.part(value).map_err(|fault| fault.within(|| place(name, field)))
    }

    #[inline(always)]
    fn end_list(self) -> Result<(), Fault> {
        if self.left != 0 {
            return Err(self.miscounted());
        }
        Ok(())
    }

    #[inline(always)]
    fn end_fields(self) -> Result<(), Fault> {
        if self.left != 0 {
            return Err(self.miscounted());
        }
        self.pen.watch.close()
    }

    #[cold]
    fn skipped(&self, field: &'static str) -> Fault {
        Fault::other(format!(
            "{} leaves out its field `{field}` (`skip_serializing_if`?), and whoever reads it \
             would take the next field for it: write it always, as an `Option` or an empty value",
            self.name
        ))
    }

    #[cold]
    fn miscounted(&self) -> Fault {
        Fault::other(format!(
            "{} has more or fewer parts than its `Serialize` has announced",
            self.name
        ))
    }
}

/// Returns where something is, in words.
pub(super) fn place(name: &'static str, field: &str) -> Option<String> {
    match (name.is_empty(), field.is_empty()) {
        (true, _) => None,
        (false, true) => Some(name.to_owned()),
        (false, false) => Some(format!("{name}.{field}")),
    }
}

macro_rules! plain {
    ($($method:ident $type:ty, $part:literal;)*) => {
        $(#[inline(always)]
        fn $method(self, value: $type) -> Result<(), Fault> {
            self.put(value, $part)
        })*
    };
}

impl<'p, 'v, C: Config, W: Watch> Serializer for Writing<'p, 'v, C, W> {
    type Ok = ();
    type Error = Fault;
    type SerializeSeq = Parts<'p, 'v, C, W>;
    type SerializeTuple = Parts<'p, 'v, C, W>;
    type SerializeTupleStruct = Parts<'p, 'v, C, W>;
    type SerializeTupleVariant = Parts<'p, 'v, C, W>;
    type SerializeMap = Parts<'p, 'v, C, W>;
    type SerializeStruct = Parts<'p, 'v, C, W>;
    type SerializeStructVariant = Parts<'p, 'v, C, W>;

    plain! {
        serialize_bool bool, "a bool";
        serialize_i8 i8, "an i8";
        serialize_i16 i16, "an i16";
        serialize_i32 i32, "an i32";
        serialize_i64 i64, "an i64";
        serialize_i128 i128, "an i128";
        serialize_u8 u8, "a u8";
        serialize_u16 u16, "a u16";
        serialize_u32 u32, "a u32";
        serialize_u64 u64, "a u64";
        serialize_u128 u128, "a u128";
        serialize_f32 f32, "an f32";
        serialize_f64 f64, "an f64";
        serialize_char char, "a char";
        serialize_str &str, "a text";
        serialize_bytes &[u8], "bytes";
    }

    #[inline(always)]
    fn serialize_none(self) -> Result<(), Fault> {
        self.put(0_u8, "an option")
    }

    #[inline(always)]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Fault> {
        self.pen.watch.site("an option", 1);
        self.pen.watch.part("an option")?;
        1_u8.encode(&mut self.pen.encoder)?;
        value.serialize(self.deeper()?)
    }

    #[inline(always)]
    fn serialize_unit(self) -> Result<(), Fault> {
        Ok(())
    }

    #[inline(always)]
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Fault> {
        Ok(())
    }

    #[inline(always)]
    fn serialize_unit_variant(
        mut self,
        of: &'static str,
        index: u32,
        name: &'static str,
    ) -> Result<(), Fault> {
        self.variant(of, index, name)
    }

    #[inline(always)]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Fault> {
        value.serialize(self.deeper()?)
    }

    #[inline(always)]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        mut self,
        of: &'static str,
        index: u32,
        name: &'static str,
        value: &T,
    ) -> Result<(), Fault> {
        self.variant(of, index, name)?;
        value.serialize(self.deeper()?)
    }

    #[inline(always)]
    fn serialize_seq(self, length: Option<usize>) -> Result<Self::SerializeSeq, Fault> {
        self.list(length, "list")
    }

    #[inline(always)]
    fn serialize_tuple(self, length: usize) -> Result<Self::SerializeTuple, Fault> {
        self.fields("", length)
    }

    #[inline(always)]
    fn serialize_tuple_struct(
        self,
        name: &'static str,
        length: usize,
    ) -> Result<Self::SerializeTupleStruct, Fault> {
        self.pen.watch.site(name, length);
        self.fields(name, length)
    }

    #[inline(always)]
    fn serialize_tuple_variant(
        mut self,
        of: &'static str,
        index: u32,
        name: &'static str,
        length: usize,
    ) -> Result<Self::SerializeTupleVariant, Fault> {
        self.variant(of, index, name)?;
        self.fields(name, length)
    }

    #[inline(always)]
    fn serialize_map(self, length: Option<usize>) -> Result<Self::SerializeMap, Fault> {
        self.list(length, "map")
    }

    #[inline(always)]
    fn serialize_struct(
        self,
        name: &'static str,
        length: usize,
    ) -> Result<Self::SerializeStruct, Fault> {
        self.pen.watch.site(name, length);
        self.fields(name, length)
    }

    #[inline(always)]
    fn serialize_struct_variant(
        mut self,
        of: &'static str,
        index: u32,
        name: &'static str,
        length: usize,
    ) -> Result<Self::SerializeStructVariant, Fault> {
        self.variant(of, index, name)?;
        self.fields(name, length)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

impl<C: Config, W: Watch> SerializeSeq for Parts<'_, '_, C, W> {
    type Ok = ();
    type Error = Fault;

    #[inline(always)]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        self.element(value)
    }

    #[inline(always)]
    fn end(self) -> Result<(), Fault> {
        self.end_list()
    }
}

impl<C: Config, W: Watch> SerializeMap for Parts<'_, '_, C, W> {
    type Ok = ();
    type Error = Fault;

    // An entry is what a pair is.
    #[inline(always)]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Fault> {
        self.pen.watch.open("")?;
        self.pen.watch.field("")?;
        self.element(key)
    }

    #[inline(always)]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        self.pen.watch.field("")?;
        self.part(value)?;
        self.pen.watch.close()
    }

    #[inline(always)]
    fn end(self) -> Result<(), Fault> {
        self.end_list()
    }
}

impl<C: Config, W: Watch> SerializeTuple for Parts<'_, '_, C, W> {
    type Ok = ();
    type Error = Fault;

    #[inline(always)]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        self.field("", value)
    }

    #[inline(always)]
    fn end(self) -> Result<(), Fault> {
        self.end_fields()
    }
}

macro_rules! fields {
    ($($of:ident $name:expr $(, $key:ident)?;)*) => {
        $(impl<C: Config, W: Watch> $of for Parts<'_, '_, C, W> {
            type Ok = ();
            type Error = Fault;

            #[inline(always)]
            fn serialize_field<T: Serialize + ?Sized>(&mut self, $($key: &'static str,)? value: &T) -> Result<(), Fault> {
                self.field($name, value)
            }

            $(fn skip_field(&mut self, $key: &'static str) -> Result<(), Fault> {
                Err(self.skipped($key))
            })?

            #[inline(always)]
            fn end(self) -> Result<(), Fault> {
                self.end_fields()
            }
        })*
    };
}

fields! {
    SerializeTupleStruct "";
    SerializeTupleVariant "";
    SerializeStruct key, key;
    SerializeStructVariant key, key;
}

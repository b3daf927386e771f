//! Tests of the kinds of serde types that travel, and of the errors for those that do not.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, SystemTime};

use serde::de::{DeserializeOwned, Deserializer, Error as _};
use serde::ser::{SerializeSeq, SerializeStruct, Serializer};
use serde::{Deserialize, Serialize};

use super::{CodecError, decode_message, encode_message};

fn written<T: Serialize + DeserializeOwned>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::new();
    encode_message(value, &mut bytes).map(|()| bytes)
}

/// Travels, and is the same there.
#[track_caller]
fn travels<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: T) {
    // The second time it is known.
    for _ in 0..2 {
        let bytes = written(&value).unwrap();
        assert_eq!(decode_message::<T>(&bytes).as_ref(), Ok(&value));
    }
}

/// Is not written, however often it is tried, and this is said of it.
#[track_caller]
fn stays<T: Serialize + DeserializeOwned>(value: &T, said: &[&str]) {
    for _ in 0..2 {
        let Err(CodecError::Unwritable { reason }) = written(value) else {
            panic!("{}: was written", std::any::type_name::<T>())
        };
        said.iter()
            .for_each(|said| assert!(reason.contains(said), "{reason:?} does not say {said:?}"));
    }
}

macro_rules! types {
    ($($(#[$meta:meta])* $kind:ident $name:ident { $($body:tt)* })*) => {
        $(#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)] $(#[$meta])* $kind $name { $($body)* })*
    };
}

types! {
    struct Inner { a: u8, b: String }
    struct Skipping { #[serde(default, skip_serializing_if = "Option::is_none")] limit: Option<u32>, #[serde(default)] amount: u32 }
    struct Deep { before: u8, list: Vec<(u8, Skipping)> }
    enum Variants { Unit, Struct { #[serde(default, skip_serializing_if = "String::is_empty")] note: String, to: String }, New(Skipping) }
    struct OneSided { a: u8, #[serde(skip_serializing, default)] b: u8, c: u8 }
    struct OtherSided { a: u8, #[serde(skip_deserializing)] b: u8, c: u8 }
    struct BothSides { #[serde(skip_serializing, default)] a: u8, #[serde(skip_deserializing)] b: u8 }
    struct Holder { one: Option<OneSided>, all: Vec<OneSided>, map: BTreeMap<u8, OneSided> }
    struct Renamed { #[serde(rename(serialize = "x", deserialize = "y"))] a: u8 }
    struct Named { #[serde(rename = "x", alias = "y", alias = "a")] a: u8, #[serde(alias = "0")] b: u8 }
    enum Middle { A, #[serde(skip)] #[allow(dead_code)] B, C, D }
    enum Last { A, C(u8), #[serde(skip)] #[allow(dead_code)] B }
    enum Aliased { #[serde(alias = "Z", alias = "X")] A, #[serde(alias = "0")] B(u8), #[serde(other)] C }
    struct Cache { a: u8, #[serde(skip)] cache: u64, b: u8 }
    struct Zero {}
    struct Flat { id: u8, #[serde(flatten)] inner: Inner }
    #[serde(untagged)] enum Untagged { Number(u64), Text(String) }
    #[serde(tag = "t")] enum Tagged { A { x: u8 }, B }
    #[serde(tag = "t", content = "c")] enum Adjacent { A { x: u8 }, B, C(String) }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Within<T> {
    before: u8,
    it: T,
    behind: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Nothing;

fn within<T>(it: T) -> Within<T> {
    Within { before: 1, it, behind: 2 }
}

#[test]
fn what_a_type_has_travels() {
    travels(within(Inner { a: 1, b: "x".into() }));
    travels((
        i128::MIN,
        u128::MAX,
        -0.0_f64,
        f32::MAX,
        '💥',
        true,
        (1_i8, -2_i16, 3_i32, i64::MIN),
    ));
    travels(HashMap::from([("k".to_owned(), vec![None, Some(None), Some(Some(1_u8))])]));
    travels(BTreeMap::from([((1_u8, -1_i64), Box::<str>::from("x"))]));
    travels((
        Duration::MAX,
        SystemTime::UNIX_EPOCH,
        "::1".parse::<std::net::IpAddr>().unwrap(),
        std::path::PathBuf::from("/x"),
    ));
    travels(vec![Ok::<_, String>(Nothing), Err("no".into())]);
    travels((
        Nothing,
        (),
        vec![Nothing; 3],
        std::marker::PhantomData::<u8>,
        Zero {},
        HashSet::from([()]),
    ));
    travels(within(vec![(); 5]));
    travels(within(Cache { a: 1, cache: 0, b: 2 }));
    travels(within(Named { a: 1, b: 2 }));
    travels(vec![Last::A, Last::C(7)]);
    travels(vec![Aliased::A, Aliased::B(1), Aliased::C]);
    travels(std::borrow::Cow::<'static, [u8]>::Owned(vec![1, 2, 3]));
    travels([[7_u8; 32]; 3]);
}

#[test]
fn a_field_that_is_left_out_is_no_other_message() {
    let skipping = |limit| Skipping { limit, amount: 7 };
    travels(skipping(Some(1)));
    stays(&skipping(None), &["Skipping", "`limit`", "skip_serializing_if"]);
    stays(
        &Deep { before: 1, list: vec![(1, skipping(Some(1))), (2, skipping(None))] },
        &["Skipping", "`limit`"],
    );
    travels(Variants::Struct { note: "x".into(), to: "y".into() });
    travels(Variants::Unit);
    stays(&Variants::Struct { note: String::new(), to: "y".into() }, &["`note`"]);
    stays(&Ok::<_, String>(Variants::New(skipping(None))), &["`limit`"]);
    stays(&vec![Some(skipping(None))], &["`limit`"]);
}

#[test]
fn what_is_read_otherwise_than_written_is_not_written() {
    stays(
        &OneSided { a: 1, b: 0, c: 2 },
        &["OneSided.c", "writes no more fields", "reads a u8", "skip_serializing"],
    );
    stays(&OtherSided { a: 1, b: 0, c: 2 }, &["OtherSided", "writes the field `b`", "reads `c`"]);
    stays(&BothSides { a: 1, b: 2 }, &["BothSides", "writes the field `b`", "reads `a`"]);
    stays(&Renamed { a: 1 }, &["Renamed", "writes the field `x`", "reads `y`"]);
    let one = || OneSided { a: 1, b: 0, c: 2 };
    let holder = || Holder { one: None, all: vec![], map: BTreeMap::new() };
    // What was not there in the first message is compared when it comes.
    travels(holder());
    stays(&Holder { one: Some(one()), ..holder() }, &["Holder", "OneSided"]);
    stays(&Holder { all: vec![one()], ..holder() }, &["OneSided"]);
    stays(&Holder { map: [(1, one())].into(), ..holder() }, &["OneSided"]);
    travels(holder());
    travels(Middle::A);
    stays(&Middle::C, &["Middle", "writes the variant `C`", "skip"]);
    stays(&vec![Middle::D], &["Middle", "writes the variant `D`"]);
}

#[test]
fn what_asks_the_bytes_what_they_are_is_not_written() {
    stays(&Flat { id: 1, inner: Inner { a: 1, b: String::new() } }, &["beforehand", "flatten"]);
    stays(&within(Untagged::Text("x".into())), &["Within", "untagged", "do not say"]);
    stays(&Untagged::Number(1), &["Untagged", "untagged"]);
    stays(&within(Tagged::A { x: 1 }), &["Within", "tag"]);
    stays(&within(Tagged::B), &["Within"]);
    travels(within(None::<Untagged>));
    stays(&within(Some(Untagged::Number(1))), &["untagged"]);
    stays(&within(Adjacent::A { x: 1 }), &["Adjacent", "tag"]);
    stays(&within(Adjacent::B), &["Adjacent", "tag"]);
    stays(&within(Adjacent::C("x".into())), &["Adjacent", "tag"]);
}

/// As `serde_json::Value` does it: it writes what it is, and reads what there is.
#[derive(Debug)]
struct AnyValue;

impl Serialize for AnyValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for AnyValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(serde::de::IgnoredAny).map(|_| Self)
    }
}

/// A time that is a text for people and a number for programs, as those of many libraries are.
#[derive(Clone, Debug, PartialEq)]
struct Time(u64);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(&self.0)
        } else {
            serializer.serialize_u64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map(Self).map_err(D::Error::custom)
        } else {
            u64::deserialize(deserializer).map(Self)
        }
    }
}

/// Written as a text always, and read as a number.
#[derive(Debug, Deserialize)]
struct Crossed(#[allow(dead_code)] u64);

impl Serialize for Crossed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&7)
    }
}

/// A list that has another length than it says, or says none.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct Liar(#[allow(dead_code)] Vec<u8>);

impl Serialize for Liar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let said = self.0.first().map(|first| usize::from(*first));
        let mut list = serializer.serialize_seq(said)?;
        self.0.iter().try_for_each(|element| list.serialize_element(element))?;
        list.end()
    }
}

/// A struct that says that it has more fields than it writes.
#[derive(Debug, Deserialize)]
#[allow(dead_code)]
struct Promised {
    a: u8,
    #[serde(default)]
    b: u8,
}

impl Serialize for Promised {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Promised", 2)?;
        fields.serialize_field("a", &self.a)?;
        fields.end()
    }
}

/// Only others read it.
#[derive(Debug, Serialize)]
struct SentOnly(u8);

impl<'de> Deserialize<'de> for SentOnly {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::custom("it is only sent"))
    }
}

#[test]
fn what_is_written_by_hand_is_looked_at_too() {
    stays(&AnyValue, &["AnyValue", "serde_json::Value"]);
    travels(within(Time(7)));
    stays(&within(Crossed(7)), &["Crossed", "writes a text", "reads a u64"]);
    stays(&within(Liar(vec![])), &["list", "beforehand"]);
    stays(&within(Liar(vec![1, 2])), &["more or fewer"]);
    stays(&within(Liar(vec![3, 2])), &["more or fewer"]);
    assert!(written(&within(Liar(vec![2, 2]))).is_ok());
    stays(&Promised { a: 1, b: 2 }, &["Promised", "more or fewer"]);
    for _ in 0..2 {
        assert_eq!(written(&SentOnly(7)), Ok(vec![7]));
    }
}

#[test]
fn long_values_are_compared_in_their_first_parts() {
    travels(vec![7_u8; 1 << 18]);
    travels(vec![Inner { a: 1, b: "x".repeat(3) }; 1 << 15]);
    stays(&(vec![OneSided { a: 1, b: 0, c: 2 }; 1 << 15], vec![1_u8; 1 << 15]), &["OneSided"]);
}

//! Tests that nesting, and elements without bytes, are bounded, whoever made the value.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{
    CONTROL_LIMIT, CodecError, DEPTH_LIMIT, FREE_ELEMENTS, decode, decode_message, encode,
    encode_message,
};

fn written<T: Serialize + DeserializeOwned>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::new();
    encode_message(value, &mut bytes).map(|()| bytes)
}

/// The load of a type that nests in itself: as much beside that as a message may well have.
type Fat = ([u64; 16], [Option<String>; 8]);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct ByOption {
    fat: Fat,
    next: Option<Box<ByOption>>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct ByList(Fat, Vec<ByList>);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct ByMap {
    fat: Fat,
    within: BTreeMap<u8, ByMap>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf(Fat),
    Node { fat: Fat, left: Box<Tree>, right: (u8, Box<Tree>) },
    Wrapped(Wrapped),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Wrapped(Box<Tree>);

fn fat() -> Fat {
    ([1; 16], Default::default())
}

fn by_option(levels: usize) -> ByOption {
    (0..levels).fold(ByOption { fat: fat(), next: None }, |next, _| ByOption {
        fat: fat(),
        next: Some(Box::new(next)),
    })
}

fn by_list(levels: usize) -> ByList {
    (0..levels).fold(ByList(fat(), vec![]), |next, _| ByList(fat(), vec![next]))
}

fn by_map(levels: usize) -> ByMap {
    (0..levels).fold(ByMap { fat: fat(), within: [].into() }, |next, _| ByMap {
        fat: fat(),
        within: [(7, next)].into(),
    })
}

fn by_struct_variant(levels: usize) -> Tree {
    let node = |left| Tree::Node {
        fat: fat(),
        left: Box::new(left),
        right: (7, Box::new(Tree::Leaf(fat()))),
    };
    (0..levels).fold(Tree::Leaf(fat()), |left, _| node(left))
}

fn by_tuple(levels: usize) -> Tree {
    let node = |right| Tree::Node {
        fat: fat(),
        left: Box::new(Tree::Leaf(fat())),
        right: (7, Box::new(right)),
    };
    (0..levels).fold(Tree::Leaf(fat()), |right, _| node(right))
}

fn by_newtype(levels: usize) -> Tree {
    (0..levels).fold(Tree::Leaf(fat()), |inner, _| Tree::Wrapped(Wrapped(Box::new(inner))))
}

/// As deep as may be travels, one level more is an error of both ends, on a stack as threads have
/// it.
fn is_bounded<T: Serialize + DeserializeOwned + PartialEq + Debug>(make: fn(usize) -> T) {
    let deepest =
        (1..=DEPTH_LIMIT).take_while(|levels| written(&make(*levels)).is_ok()).last().unwrap();
    assert!(deepest >= DEPTH_LIMIT / 3, "only {deepest} levels");
    let value = make(deepest);
    assert_eq!(decode_message::<T>(&written(&value).unwrap()), Ok(value));
    for levels in [deepest + 1, DEPTH_LIMIT, 5 * DEPTH_LIMIT] {
        assert_eq!(written(&make(levels)), Err(CodecError::TooDeep { limit: DEPTH_LIMIT }));
    }
    // Control messages, records and tickets are nested by the same rule.
    if encode(&make(deepest + 1)).is_ok() || encode(&make(5 * DEPTH_LIMIT)).is_ok() {
        panic!("it was written");
    }
}

#[test]
fn nesting_is_bounded_when_written() {
    std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(|| {
            is_bounded(by_option);
            is_bounded(by_list);
            is_bounded(by_map);
            is_bounded(by_struct_variant);
            is_bounded(by_tuple);
            is_bounded(by_newtype);
        })
        .unwrap()
        .join()
        .unwrap();
}

#[derive(Debug, Serialize, Deserialize)]
struct Chain(Option<Box<Chain>>);
#[derive(Debug, Serialize, Deserialize)]
struct Lists(Vec<Lists>);
#[derive(Debug, Serialize, Deserialize)]
struct Maps {
    within: HashMap<u8, Maps>,
}
#[derive(Debug, Serialize, Deserialize)]
enum Peano {
    Next(Box<Peano>),
    Pair((), Box<Peano>),
    Field { next: Box<Peano> },
}

#[test]
fn nesting_is_bounded_when_read_whatever_there_is() {
    fn is_refused<T: DeserializeOwned + Debug>(once: &[u8]) {
        for times in [2 * DEPTH_LIMIT, 20_000, 1 << 20] {
            let bytes = once.repeat(times);
            assert_eq!(
                decode_message::<T>(&bytes).unwrap_err(),
                CodecError::TooDeep { limit: DEPTH_LIMIT }
            );
        }
    }
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(|| {
        is_refused::<Chain>(&[1]);
        is_refused::<Lists>(&[1]);
        is_refused::<Maps>(&[1, 7]);
        is_refused::<Peano>(&[0]);
        is_refused::<Peano>(&[1]);
        is_refused::<Peano>(&[2]);
        // As the wire itself says it.
        assert_eq!(
            decode::<Chain>(&[1; CONTROL_LIMIT]).unwrap_err(),
            CodecError::TooDeep { limit: DEPTH_LIMIT }
        );
        let lists = 1_u64.to_le_bytes().repeat(CONTROL_LIMIT / 8);
        assert_eq!(
            decode::<Lists>(&lists).unwrap_err(),
            CodecError::TooDeep { limit: DEPTH_LIMIT }
        );
    });
    thread.unwrap().join().unwrap();
}

#[derive(Debug, PartialEq, Eq, Hash, Clone, Serialize, Deserialize)]
struct Empty {}
#[derive(Debug, PartialEq, Eq, Hash, Clone, Serialize, Deserialize)]
struct Unit;
#[derive(Debug, PartialEq, Eq, Hash, Clone, Serialize, Deserialize)]
struct Hollow {
    unit: Unit,
    pair: ((), Empty),
    array: [(); 32],
}

/// A varint, as a message begins with it.
fn varint(number: u64) -> Vec<u8> {
    written(&number).unwrap()
}

#[test]
fn elements_without_bytes_are_bounded() {
    fn is_bounded<T: Serialize + DeserializeOwned + Debug + PartialEq>(few: T, claim: &[u8]) {
        assert_eq!(decode_message::<T>(&written(&few).unwrap()), Ok(few));
        assert_eq!(
            decode_message::<T>(claim).unwrap_err(),
            CodecError::TooMany { limit: FREE_ELEMENTS }
        );
    }
    for many in [200_000, 1 << 40, u64::MAX] {
        let claim = varint(many);
        is_bounded(vec![(); 5], &claim);
        is_bounded(vec![Unit; 5], &claim);
        is_bounded(vec![Empty {}; 5], &claim);
        is_bounded(vec![Hollow { unit: Unit, pair: ((), Empty {}), array: [(); 32] }; 5], &claim);
        is_bounded(HashSet::from([()]), &claim);
        is_bounded(HashMap::from([((), Unit)]), &claim);
        is_bounded(BTreeMap::from([((), ())]), &claim);
        // As the wire itself says it.
        assert_eq!(
            decode::<Vec<()>>(&many.to_le_bytes()),
            Err(CodecError::TooMany { limit: FREE_ELEMENTS })
        );
    }
    // Many lists of a few are no way around.
    let lists = [varint(1000), varint(60_000).repeat(1000)].concat();
    assert_eq!(
        decode_message::<Vec<Vec<()>>>(&lists),
        Err(CodecError::TooMany { limit: FREE_ELEMENTS })
    );
}

#[test]
fn whoever_writes_has_the_bounds_of_who_reads() {
    let units = |count| vec![(); count];
    let most = written(&units(FREE_ELEMENTS)).unwrap();
    assert_eq!(decode_message::<Vec<()>>(&most), Ok(units(FREE_ELEMENTS)));
    for count in [FREE_ELEMENTS + 100, 1 << 30, usize::MAX] {
        assert_eq!(written(&units(count)), Err(CodecError::TooMany { limit: FREE_ELEMENTS }));
        assert_eq!(encode(&units(count)), Err(CodecError::TooMany { limit: FREE_ELEMENTS }));
    }
    assert_eq!(
        written(&vec![units(60_000), units(60_000)]),
        Err(CodecError::TooMany { limit: FREE_ELEMENTS })
    );
    // Elements that have bytes are bounded by those.
    let bytes = vec![vec![[1_u8; 20]; 10]; 50_000];
    assert_eq!(decode_message::<Vec<Vec<[u8; 20]>>>(&written(&bytes).unwrap()), Ok(bytes));
}

/// Says that it is an array of any length, as helpers for long arrays do.
#[derive(Debug)]
struct Long<const N: usize>;

impl<const N: usize> Serialize for Long<N> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeTuple;
        let mut tuple = serializer.serialize_tuple(N)?;
        (0..N).try_for_each(|_| tuple.serialize_element(&()))?;
        tuple.end()
    }
}

impl<'de, const N: usize> Deserialize<'de> for Long<N> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> serde::de::Visitor<'de> for All {
            type Value = ();
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an array")
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut elements: A,
            ) -> Result<(), A::Error> {
                while elements.next_element::<()>()?.is_some() {}
                Ok(())
            }
        }
        deserializer.deserialize_tuple(N, All).map(|()| Self)
    }
}

#[test]
fn arrays_are_bounded_too() {
    assert!(decode_message::<Long<1000>>(&written(&Long::<1000>).unwrap()).is_ok());
    const MANY: usize = 1 << 40;
    assert_eq!(written(&Long::<MANY>), Err(CodecError::TooMany { limit: FREE_ELEMENTS }));
    assert_eq!(
        decode_message::<Long<MANY>>(&[]).unwrap_err(),
        CodecError::TooMany { limit: FREE_ELEMENTS }
    );
    let lists = varint(1000);
    assert_eq!(
        decode_message::<Vec<Long<1000>>>(&lists).unwrap_err(),
        CodecError::TooMany { limit: FREE_ELEMENTS }
    );
}

#[test]
fn a_claim_makes_no_room() {
    // Each level claims as many as there may be, of elements that are not small.
    let claims = varint(100_000).repeat(100);
    assert!(decode_message::<Lists>(&claims).is_err());
    assert!(matches!(
        decode_message::<String>(&varint(1 << 40)),
        Err(CodecError::Truncated { .. })
    ));
    assert!(matches!(
        decode_message::<serde_bytes::ByteBuf>(&varint(u64::MAX)),
        Err(CodecError::Truncated { .. } | CodecError::Malformed { .. })
    ));
}

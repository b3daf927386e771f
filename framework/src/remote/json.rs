//! Messages as JSON, for programs that don't have their types.
//!
//! A mailbox for JSON is one more mailbox under the same name, for the type name
//! `shop.Order+json`: nothing on the wire is new, and a node without it answers
//! [`NoSuchMessage`](RemoteErrorKind::NoSuchMessage).
//!
//! Invariant: what is read is one value and nothing behind it; reading and writing take no more
//! stack than for native messages, and reading no more memory than [`reading`] allows. What serde
//! has to set aside before it knows what it is (`untagged`) is bounded while it is set aside; what
//! is read from there is serde's alone, and a type that recurses without taking anything recurses
//! for ever: `docs/messages.md` warns of it.

mod reading;
mod writing;

use std::io;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use self::reading::{Bounded, Budget};
use self::writing::Shallow;
use super::error::{RemoteError, RemoteErrorKind};
use super::form::{Form, Reader, Writer};
use super::message::RemoteMessage;
use crate::wire::codec::DEPTH_LIMIT;
use crate::wire::message::{MESSAGE_LIMIT, NAME_LIMIT};

/// The ending of the name of a type whose messages are JSON.
pub(super) const SUFFIX: &str = "+json";

/// The most bytes that are said of the place in a text that is not read, and of what is wrong
/// there: both quote what they found. Together they fit into an error on the wire.
const PLACE_MOST: usize = 100;
const WHY_MOST: usize = 220;

/// The form of those who don't have the type.
pub(crate) struct Json;

/// The name of a type in this form.
struct Name<M>(PhantomData<M>);

impl<M: RemoteMessage> Name<M> {
    const BYTES: [u8; NAME_LIMIT + SUFFIX.len()] = {
        let mut bytes = [0; NAME_LIMIT + SUFFIX.len()];
        let (name, suffix) = (M::NAME.as_bytes(), SUFFIX.as_bytes());
        let mut at = 0;
        while at < bytes.len() && at < name.len() + suffix.len() {
            bytes[at] = if at < name.len() { name[at] } else { suffix[at - name.len()] };
            at += 1;
        }
        bytes
    };

    /// A name that is too long for the wire stays so, and is refused where it is registered.
    const NAME: &'static str = {
        let length = M::NAME.len() + SUFFIX.len();
        let bytes: &'static [u8] = &Self::BYTES;
        if length > bytes.len() {
            M::NAME
        } else {
            match std::str::from_utf8(bytes.split_at(length).0) {
                Ok(name) => name,
                Err(_) => M::NAME,
            }
        }
    };
}

impl Form for Json {
    type Fault = String;

    fn name<M: RemoteMessage>() -> &'static str {
        Name::<M>::NAME
    }

    fn decode<M: RemoteMessage>(body: &[u8]) -> Result<M, String> {
        read(body)
    }

    fn undecodable<M: RemoteMessage>(fault: &String) -> RemoteError {
        let text = format!("a {} can't be read from its JSON: {fault}", M::NAME);
        RemoteError::new(RemoteErrorKind::Undecodable, text)
    }

    fn writer<R: Serialize + DeserializeOwned>() -> Option<Writer<R>> {
        Some(write)
    }

    fn reader<M: RemoteMessage>() -> Option<Reader<M>> {
        Some(|body| Self::decode(body).map_err(|fault| Self::undecodable::<M>(&fault)))
    }
}

/// The value of a text, all of it. The error names the field, and what was expected there.
pub(super) fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    if text.len() > MESSAGE_LIMIT {
        return Err(format!("it has more than the {MESSAGE_LIMIT} bytes a message may have"));
    }
    let mut reading = serde_json::Deserializer::from_slice(text);
    // It counts lists and objects only; all levels are counted around it.
    reading.disable_recursion_limit();
    let budget = Budget::of(text);
    let bounded = Bounded::new(&mut reading, &budget);
    let value = serde_path_to_error::deserialize(bounded).map_err(|error| {
        let place = error.path().to_string();
        let why = error.into_inner().to_string();
        let why = cut(why, WHY_MOST);
        if place == "." { why } else { format!("{}: {why}", cut(place, PLACE_MOST)) }
    })?;
    reading.end().map_err(|error| format!("something follows its value: {error}"))?;
    Ok(value)
}

/// Returns a text of what is wrong without most of what it quotes.
fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        let is_whole = |at: &usize| text.is_char_boundary(*at);
        let end = (0..=most / 2).rev().find(is_whole).unwrap_or(0);
        let tail = (text.len() - most / 2..text.len()).find(is_whole).unwrap_or(text.len());
        // What was expected, and where, stands at its end.
        text = format!("{}…{}", &text[..end], &text[tail..]);
    }
    text
}

/// Writes a value behind what is in `out`.
pub(super) fn write<R: Serialize>(value: &R, out: &mut Vec<u8>) -> Result<(), String> {
    let limited = Limited { left: MESSAGE_LIMIT, out };
    let mut writing = serde_json::Serializer::new(limited);
    value.serialize(Shallow::new(&mut writing)).map_err(|error| error.to_string())
}

fn too_deep() -> String {
    format!("it is nested more than {DEPTH_LIMIT} deep")
}

/// Takes no more bytes than a message may have.
struct Limited<'a> {
    left: usize,
    out: &'a mut Vec<u8>,
}

impl io::Write for Limited<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left = self.left.checked_sub(bytes.len()).ok_or_else(|| {
            let text = format!("it has more than the {MESSAGE_LIMIT} bytes a message may have");
            io::Error::other(text)
        })?;
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use std::collections::HashMap;

    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Tree(Vec<Tree>);

    #[derive(Debug, Serialize, Deserialize)]
    struct Noted<T>(T);

    impl<T: Serialize + DeserializeOwned + Send + 'static> actix::Message for Noted<T> {
        type Result = ();
    }

    impl RemoteMessage for Noted<u8> {
        const NAME: &'static str = "test.Größe";
        const VERSION: u32 = 1;
    }

    /// Its name is as long as one may be on the wire.
    impl RemoteMessage for Noted<u16> {
        const NAME: &'static str = long_name::<NAME_LIMIT>();
        const VERSION: u32 = 1;
    }

    /// And in this form, too.
    impl RemoteMessage for Noted<u32> {
        const NAME: &'static str = long_name::<{ NAME_LIMIT - SUFFIX.len() }>();
        const VERSION: u32 = 1;
    }

    impl RemoteMessage for Noted<u64> {
        const NAME: &'static str = long_name::<1000>();
        const VERSION: u32 = 1;
    }

    const fn long_name<const LENGTH: usize>() -> &'static str {
        const MANY: [u8; 1000] = [b'n'; 1000];
        match std::str::from_utf8(MANY.split_at(LENGTH).0) {
            Ok(name) => name,
            Err(_) => panic!("it is a text"),
        }
    }

    #[test]
    fn a_name_says_that_it_is_json_and_one_that_gets_too_long_stays_too_long() {
        assert_eq!(Json::name::<Noted<u8>>(), "test.Größe+json");
        assert_eq!(Json::name::<Noted<u32>>().len(), NAME_LIMIT);
        assert!(Json::name::<Noted<u32>>().ends_with("n+json"));
        assert_eq!(Json::name::<Noted<u16>>().len(), NAME_LIMIT + SUFFIX.len());
        assert!(Json::name::<Noted<u64>>().len() > NAME_LIMIT);
    }

    #[test]
    fn numbers_are_what_they_were_or_are_refused() {
        for exact in ["0", "9007199254740993", "18446744073709551615"] {
            assert_eq!(read::<u64>(exact.as_bytes()).unwrap().to_string(), exact);
        }
        for exact in ["-9007199254740993", "-9223372036854775808"] {
            assert_eq!(read::<i64>(exact.as_bytes()).unwrap().to_string(), exact);
        }
        for inexact in ["18446744073709551616", "-1", "1.0", "1e3", "1e400", "01", "0x1", "\"1\""] {
            assert!(read::<u64>(inexact.as_bytes()).is_err(), "{inexact}");
        }
        for none in ["NaN", "Infinity", "-Infinity", "nan", "1e400", "null"] {
            assert!(read::<f64>(none.as_bytes()).is_err(), "{none}");
        }
        let long = "1".repeat(1 << 20);
        assert!(read::<u64>(long.as_bytes()).is_err() && read::<u128>(long.as_bytes()).is_err());
        assert!(read::<f64>(long.as_bytes()).unwrap_err().contains("out of range"));
    }

    #[test]
    fn what_is_hostile_is_an_error_and_takes_no_stack() {
        let deep = "[".repeat(1 << 20);
        assert!(read::<Tree>(deep.as_bytes()).unwrap_err().contains("more than 128 deep"));
        // Where it is passed over, too: a field that nobody knows.
        #[derive(Debug, Deserialize)]
        struct Empty {}
        let unknown = format!("{{\"x\":{deep}");
        assert!(read::<Empty>(unknown.as_bytes()).is_err());
        assert!(read::<Noted<String>>(b"\"\xff\"").is_err());
        assert!(read::<Noted<String>>(b"\"\\ud800\"").is_err());
        assert!(read::<Noted<String>>(b"\"a\nb\"").is_err(), "a control character");
        assert!(read::<u64>(b"1 2").unwrap_err().contains("something follows"));
        assert!(read::<u64>(b"1\0").is_err() && read::<u64>(b"").is_err());
        let whole = vec![b' '; MESSAGE_LIMIT + 1];
        assert!(read::<u64>(&whole).unwrap_err().contains("16777216 bytes"));
        // What is quoted is cut in the middle: what was expected stands at its end.
        let quoted = format!("{{\"ü{}\":\"{}\"}}", "x".repeat(1 << 20), "é".repeat(1 << 20));
        let error = read::<HashMap<String, u64>>(quoted.as_bytes()).unwrap_err();
        assert!(error.len() < PLACE_MOST + WHY_MOST + 20, "{} bytes", error.len());
        assert!(error.contains("expected u64"), "{error}");
    }

    #[test]
    fn what_is_written_stays_within_the_limits_of_messages() {
        // A level of a tree is two: the newtype, and the list in it.
        let tree = |depth| (1..depth).fold(Tree(vec![]), |within, _| Tree(vec![within]));
        let levels = DEPTH_LIMIT / 2;
        let mut out = Vec::new();
        write(&tree(levels), &mut out).unwrap();
        assert_eq!(out, ["[".repeat(levels), "]".repeat(levels)].concat().as_bytes());
        assert_eq!(read::<Tree>(&out).unwrap(), tree(levels));
        let error = write(&tree(levels + 1), &mut Vec::new()).unwrap_err();
        assert!(error.contains("nested more than 128 deep"), "{error}");
        let error = write(&"x".repeat(MESSAGE_LIMIT), &mut Vec::new()).unwrap_err();
        assert!(error.contains("more than the 16777216 bytes"), "{error}");
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Chain(Option<Box<Chain>>);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Peano {
        Zero,
        Next(Box<Peano>),
        Pair((), Box<Peano>),
        Field { next: Box<Peano> },
    }

    /// Checks that what may be written may be read, and that one level more is neither.
    fn is_bounded<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
        (inner, most): (T, usize),
        deeper: impl Fn(T) -> T,
        (before, behind): (&str, &str),
    ) {
        let value = (0..most).fold(inner, |inner, _| deeper(inner));
        let mut out = Vec::new();
        write(&value, &mut out).unwrap();
        assert_eq!(read::<T>(&out).unwrap(), value);
        let error = write(&deeper(value), &mut Vec::new()).unwrap_err();
        assert!(error.contains("nested more than 128 deep"), "{error}");
        let text = [before.as_bytes(), &out, behind.as_bytes()].concat();
        let error = read::<T>(&text).unwrap_err();
        assert!(error.contains("nested more than 128 deep"), "{error}");
    }

    #[test]
    fn levels_that_take_no_bytes_are_levels_both_ways() {
        // Nothing of the text is read while it goes deeper.
        let error = read::<Chain>(b"1").unwrap_err();
        assert!(error.contains("nested more than 128 deep"), "{error}");
        assert_eq!(read::<Chain>(b"null").unwrap(), Chain(None));
        let chain = |most: usize| (0..most).fold(Chain(None), |of, _| Chain(Some(Box::new(of))));
        assert!(write(&chain(63), &mut Vec::new()).is_ok());
        assert!(write(&chain(64), &mut Vec::new()).unwrap_err().contains("128 deep"));
        let value = serde_json::Value::Array(Vec::new());
        is_bounded((value, 127), |of| serde_json::Value::Array(vec![of]), ("[", "]"));
        let next = |of| Peano::Next(Box::new(of));
        is_bounded((Peano::Zero, 128), next, ("{\"Next\":", "}"));
        let pair = |of| Peano::Pair((), Box::new(of));
        is_bounded((Peano::Zero, 128), pair, ("{\"Pair\":[null,", "]}"));
        let field = |of| Peano::Field { next: Box::new(of) };
        is_bounded((Peano::Zero, 128), field, ("{\"Field\":{\"next\":", "}}"));
    }

    #[test]
    fn a_place_is_named_through_all_that_is_counted() {
        let text = b"{\"a\":[{\"Next\":{\"Field\":{\"next\":7}}}]}";
        let error = read::<HashMap<String, Option<Vec<Peano>>>>(text).unwrap_err();
        assert!(error.starts_with("a[0].Next.Field.next: "), "{error}");
    }

    /// Takes 24 bytes for each field, none of which a text must have.
    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(default)]
    struct Sparse {
        a: [Option<String>; 10],
        b: [Option<String>; 10],
    }

    #[test]
    fn what_is_left_out_takes_no_more_memory_than_allowed() {
        let sparse = |times| format!("[{}{{}}]", "{},".repeat(times));
        let few = read::<Vec<Sparse>>(sparse(30_000).as_bytes()).unwrap();
        assert_eq!(few.len(), 30_001);
        let many = sparse(1 << 20);
        let error = read::<Vec<Sparse>>(many.as_bytes()).unwrap_err();
        assert!(error.contains("more memory than 16777216 bytes"), "{error}");
        // In a box, too, and where they are the values of a map.
        assert!(read::<Vec<Box<Sparse>>>(many.as_bytes()).is_err());
        let entries = (0..100_000).map(|key| format!("\"{key}\":{{}},")).collect::<String>();
        let map = format!("{{{entries}\"x\":{{}}}}");
        assert!(read::<HashMap<String, Sparse>>(map.as_bytes()).is_err());
        // Short elements, of which there may well be many.
        let numbers = format!("[{}1]", "1,".repeat(MESSAGE_LIMIT / 2 - 2));
        assert_eq!(read::<Vec<u64>>(numbers.as_bytes()).unwrap().len(), MESSAGE_LIMIT / 2 - 1);
    }
}

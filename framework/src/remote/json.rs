//! Messages as JSON, for programs that don't have their types.
//!
//! A mailbox for JSON is one more mailbox under the same name, for the type name
//! `shop.Order+json`: nothing on the wire is new, and a node without it answers
//! [`NoSuchMessage`](RemoteErrorKind::NoSuchMessage).
//!
//! Invariant: what is read is one value and nothing behind it, and neither reading nor writing
//! takes more stack or memory than the limits of native messages allow.

use std::io;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::ser::{CompactFormatter, Formatter};

use super::error::{RemoteError, RemoteErrorKind};
use super::form::{Form, Reader, Writer};
use super::message::RemoteMessage;
use crate::wire::codec::DEPTH_LIMIT;
use crate::wire::message::{MESSAGE_LIMIT, NAME_LIMIT};

/// What stands behind the name of a type whose messages are JSON.
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
    // Nested deeper than 128, it is not read: that is serde_json's own limit.
    let mut reading = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut reading).map_err(|error| {
        let place = error.path().to_string();
        let why = error.into_inner().to_string();
        let why = cut(why, WHY_MOST);
        if place == "." { why } else { format!("{}: {why}", cut(place, PLACE_MOST)) }
    })?;
    reading.end().map_err(|error| format!("something follows its value: {error}"))?;
    Ok(value)
}

/// What is wrong, without most of what it quotes.
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
    let mut writing = serde_json::Serializer::with_formatter(limited, Shallow::default());
    value.serialize(&mut writing).map_err(|error| error.to_string())
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

/// Writes nothing that is nested deeper than a message may be: writing takes stack for each level.
#[derive(Default)]
struct Shallow {
    depth: usize,
}

impl Shallow {
    fn begin(&mut self) -> io::Result<()> {
        self.depth += 1;
        if self.depth > DEPTH_LIMIT {
            let text = format!("it is nested more than {DEPTH_LIMIT} deep");
            return Err(io::Error::other(text));
        }
        Ok(())
    }
}

impl Formatter for Shallow {
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.begin()?;
        CompactFormatter.begin_array(writer)
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        CompactFormatter.end_array(writer)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.begin()?;
        CompactFormatter.begin_object(writer)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        CompactFormatter.end_object(writer)
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
        assert!(read::<Tree>(deep.as_bytes()).unwrap_err().contains("recursion limit"));
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
        let tree = |depth| (1..depth).fold(Tree(vec![]), |within, _| Tree(vec![within]));
        let mut out = Vec::new();
        write(&tree(DEPTH_LIMIT), &mut out).unwrap();
        assert_eq!(out, ["[".repeat(DEPTH_LIMIT), "]".repeat(DEPTH_LIMIT)].concat().as_bytes());
        let error = write(&tree(DEPTH_LIMIT + 1), &mut Vec::new()).unwrap_err();
        assert!(error.contains("nested more than 128 deep"), "{error}");
        let error = write(&"x".repeat(MESSAGE_LIMIT), &mut Vec::new()).unwrap_err();
        assert!(error.contains("more than the 16777216 bytes"), "{error}");
    }
}

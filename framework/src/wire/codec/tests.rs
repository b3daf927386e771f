//! Tests that what is written is read, and nothing else.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::*;

#[test]
fn integers_are_fixed_and_little_endian_and_lengths_take_eight_bytes() {
    assert_eq!(
        encode(&(0x0102_u16, Some(3_u32), "ab")).unwrap(),
        [2, 1, 1, 3, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, b'a', b'b']
    );
}

#[test]
fn a_short_message_that_claims_much_is_refused() {
    let mut claim = (1_u64 << 40).to_le_bytes().to_vec();
    claim.push(0);
    assert!(matches!(decode::<ByteBuf>(&claim), Err(CodecError::TooLarge { .. })));
    assert!(matches!(decode::<String>(&claim), Err(CodecError::TooLarge { .. })));
    assert!(decode::<Vec<u64>>(&claim).is_err());
    assert!(decode::<Vec<u64>>(&u64::MAX.to_le_bytes()).is_err());
}

#[test]
fn a_byte_too_few_and_a_byte_too_many_are_errors() {
    let mut bytes = encode(&7_u64).unwrap();
    assert_eq!(decode::<u64>(&bytes), Ok(7));
    bytes.push(0);
    assert_eq!(decode::<u64>(&bytes), Err(CodecError::Trailing { given: 9, left: 1 }));
    assert_eq!(decode::<u64>(&bytes[..7]), Err(CodecError::Truncated { given: 7 }));
}

#[test]
fn the_limit_holds_in_both_directions() {
    assert!(encode(&ByteBuf::from(vec![0; CONTROL_LIMIT - 8])).is_ok());
    assert_eq!(
        encode(&ByteBuf::from(vec![0; CONTROL_LIMIT - 7])),
        Err(CodecError::TooLarge { limit: CONTROL_LIMIT })
    );
    assert_eq!(
        decode::<u8>(&vec![0; CONTROL_LIMIT + 1]),
        Err(CodecError::TooLarge { limit: CONTROL_LIMIT })
    );
}

#[test]
fn bytes_that_stand_for_nothing_are_malformed() {
    assert!(matches!(decode::<bool>(&[2]), Err(CodecError::Malformed { given: 1, .. })));
    assert!(matches!(
        decode::<String>(&[1, 0, 0, 0, 0, 0, 0, 0, 0xff]),
        Err(CodecError::Malformed { given: 9, .. })
    ));
}

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

fn bytes(value: &(impl Serialize + DeserializeOwned)) -> Vec<u8> {
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
    assert!(matches!(
        decode_message::<String>(&[253, 0, 0, 0, 0, 0, 1, 0, 0]),
        Err(CodecError::Truncated { .. })
    ));
}

#[test]
fn all_kinds_of_types_pass() {
    assert_eq!(
        decode_message::<(u8, Option<i64>)>(&bytes(&(1_u8, Some(-5_i64)))),
        Ok((1, Some(-5)))
    );
    assert_eq!(
        decode_message::<Result<u32, String>>(&bytes(&Err::<u32, _>("no".to_owned()))),
        Ok(Err("no".into()))
    );
    assert_eq!(decode_message::<()>(&bytes(&())), Ok(()));
    assert_eq!(decode_message::<Unit>(&bytes(&Unit)), Ok(Unit));
    for length in [2, 4000, 60_000, 1_000_000] {
        let numbers = vec![1_u128; length];
        assert_eq!(decode_message::<Vec<u128>>(&bytes(&numbers)), Ok(numbers));
    }
}

#[test]
fn only_a_struct_may_be_longer_or_shorter() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct One(u8);
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Two(u8, #[serde(default)] u8);
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Three(u8, #[serde(default)] u8, #[serde(default)] Vec<u8>);
    let three = bytes(&Three(1, 2, vec![3]));
    assert_eq!(decode_message::<Unit>(&three), Ok(Unit));
    assert_eq!(decode_message::<One>(&three), Ok(One(1)));
    assert_eq!(decode_message::<Two>(&three), Ok(Two(1, 2)));
    assert_eq!(decode_message::<Three>(&bytes(&Two(1, 2))), Ok(Three(1, 2, vec![])));
    assert_eq!(decode_message::<Three>(&bytes(&One(1))), Ok(Three(1, 0, vec![])));
    // What is no struct has nothing at its end that could be new.
    assert!(matches!(decode_message::<u8>(&three), Err(CodecError::Trailing { left: 3, .. })));
    assert!(matches!(
        decode_message::<(u8, u8)>(&three),
        Err(CodecError::Trailing { left: 2, .. })
    ));
    assert!(matches!(
        decode_message::<Option<u8>>(&three),
        Err(CodecError::Trailing { left: 2, .. })
    ));
    assert!(matches!(decode_message::<()>(&three), Err(CodecError::Trailing { .. })));
    assert!(decode_message::<(u8, u8)>(&bytes(&One(1))).is_err());
}

//! Messages as they are meant, and what the derive makes of them.

use estafette::RemoteMessage;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, RemoteMessage)]
struct Plain;

#[derive(Serialize, Deserialize, RemoteMessage)]
#[remote(name = "chat.Say", version = 3, reply = Result<Vec<u64>, String>)]
enum Say {
    Words { text: String },
    Nothing,
}

/// Attributes that both ends have alike.
#[derive(Default, Serialize, Deserialize, RemoteMessage)]
#[serde(rename_all = "camelCase", default, bound(serialize = "", deserialize = ""), deny_unknown_fields)]
struct Tuned {
    #[serde(skip)]
    cache: u64,
    #[serde(skip_serializing, skip_deserializing)]
    other: u64,
    #[serde(rename(serialize = "x", deserialize = "x"), alias = "y", default = "seven")]
    x: u64,
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
}

fn seven() -> u64 {
    7
}

#[derive(Serialize, Deserialize, RemoteMessage)]
enum Kept {
    Sent(#[serde(skip)] u8, u8),
    #[serde(skip)]
    Here,
}

fn main() {
    let _ = (Tuned::default(), Kept::Sent(1, 2), Kept::Here);
    assert_eq!((Plain::NAME, Plain::VERSION), ("Plain", 1));
    assert_eq!((Say::NAME, Say::VERSION), ("chat.Say", 3));
    let _: <Say as estafette::__private::actix::Message>::Result = Ok(vec![1]);
    let _: () = <<Plain as estafette::__private::actix::Message>::Result as Default>::default();
    let _ = (Say::Words { text: String::new() }, Say::Nothing);
}

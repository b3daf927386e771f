//! Attributes of serde with which a message would be read as another one, or not at all.

use estafette::RemoteMessage;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Inner {
    a: u8,
}

#[derive(Serialize, Deserialize, RemoteMessage)]
struct Fields {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
    #[serde(flatten)]
    inner: Inner,
    #[serde(default)]
    #[serde(skip_serializing)]
    secret: u8,
    #[serde(skip_deserializing)]
    made: u8,
}

#[derive(Serialize, Deserialize, RemoteMessage)]
#[serde(untagged)]
enum Untagged {
    Number(u64),
    Text(String),
}

#[derive(Serialize, Deserialize, RemoteMessage)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Tagged {
    A { x: u8 },
}

#[derive(Serialize, Deserialize, RemoteMessage)]
#[serde(tag = "kind", content = "content")]
enum Adjacent {
    A { x: u8 },
}

#[derive(Serialize, Deserialize, RemoteMessage)]
enum Variants {
    A,
    #[serde(skip)]
    B,
    C {
        #[serde(skip_serializing_if = "String::is_empty", default)]
        text: String,
    },
    #[serde(skip_deserializing)]
    D(#[serde(skip_serializing, default)] u8, u8),
}

fn main() {}

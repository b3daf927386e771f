//! A message that borrows.

use estafette::RemoteMessage;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, RemoteMessage)]
struct Borrowed<'a> {
    text: &'a str,
}

fn main() {}

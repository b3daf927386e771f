//! A generic message: its name would stand for many types.

use estafette::RemoteMessage;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, RemoteMessage)]
struct Wrapped<T> {
    value: T,
}

fn main() {}

//! Names that no wire has.

use estafette::RemoteMessage;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, RemoteMessage)]
#[remote(name = "")]
struct Nameless;

#[derive(Serialize, Deserialize, RemoteMessage)]
#[remote(version = -1)]
struct Negative;

fn main() {}

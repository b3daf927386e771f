//! A setting that does not exist, and a comma that is missing.

use estafette::RemoteMessage;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, RemoteMessage)]
#[remote(name = "chat.Say", answer = u64)]
struct Say;

#[derive(Serialize, Deserialize, RemoteMessage)]
#[remote(name = "chat.Hear" reply = u64)]
struct Hear;

fn main() {}

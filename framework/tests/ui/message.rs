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

fn main() {
    assert_eq!((Plain::NAME, Plain::VERSION), ("Plain", 1));
    assert_eq!((Say::NAME, Say::VERSION), ("chat.Say", 3));
    let _: <Say as estafette::__private::actix::Message>::Result = Ok(vec![1]);
    let _: () = <<Plain as estafette::__private::actix::Message>::Result as Default>::default();
    let _ = (Say::Words { text: String::new() }, Say::Nothing);
}

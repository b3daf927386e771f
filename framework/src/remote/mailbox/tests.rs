//! The mailbox of an actor that nobody starts anew.

use super::*;
use actix::{Actor, Handler};
use std::pin::pin;

struct Note(Vec<u32>);
#[derive(actix::Message)]
#[rtype(result = "Vec<u32>")]
struct Number(u32);
impl Actor for Note {
    type Context = actix::Context<Self>;
}
impl Handler<Number> for Note {
    type Result = Vec<u32>;
    fn handle(&mut self, Number(number): Number, _: &mut Self::Context) -> Vec<u32> {
        self.0.push(number);
        self.0.clone()
    }
}

/// The trap of `actix` this stands on: beyond a mailbox's capacity, a request waits outside
/// until it is polled.
#[actix::test]
async fn requests_beyond_the_capacity_of_a_mailbox_keep_their_place() {
    let door = Door::to(Note(vec![]).start().recipient::<Number>());
    // All are kept: actix passes by a request that nobody waits for.
    let mut asked = Vec::new();
    for number in (0..200).step_by(2) {
        asked.push(door.ask(Number(number)).unwrap());
        assert!(door.put(Number(number + 1)));
    }
    let seen = pin!(asked.pop().unwrap()).await.unwrap();
    assert_eq!(seen, (0..199).collect::<Vec<_>>());
}

//! Tests of what is known of uploads in memory.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use std::sync::Arc;

use estafette::Node;
use estafette::node::MemoryStore;
use estafette_actors::spool::Spool;

use super::uploads::{Found, Note, Uploads};
use crate::sent;
use crate::tokens::{Pass, Tokens};

async fn made() -> (Node, Pass) {
    let (spool, stages) = (Arc::new(MemoryStore::default()), estafette_actors::standard());
    let node = Node::builder().spool(spool).stages(stages).start().await.unwrap();
    let tokens = Tokens::load(Arc::new(MemoryStore::default())).unwrap();
    let token = tokens.add("till", &["*".parse().unwrap()], None, None).unwrap();
    (node, tokens.admit(token.text()).unwrap())
}

#[tokio::test]
async fn who_asks_for_what_is_not_there_leaves_nothing() {
    let (node, pass) = made().await;
    let uploads = Uploads::of(&node);
    for _ in 0..3 {
        let id = sent::fresh(&pass);
        let turn = uploads.turn_of_another(&pass, id).await.unwrap();
        assert_eq!(uploads.count_known(), 1, "whoever has a turn is known");
        // A request that is given up while it waits.
        assert!(uploads.turn(&pass, id).await.is_err());
        assert!(uploads.find(&pass, id).await.is_err());
        drop(turn);
        assert_eq!(uploads.count_known(), 0);
    }
    let id = sent::fresh(&pass);
    drop(uploads.turn(&pass, id).await.unwrap());
    let turn = uploads.turn(&pass, id).await.unwrap();
    uploads.reserve(id, 10, 0).unwrap();
    drop(turn);
    assert_eq!(uploads.count_known(), 1, "what has room keeps it");
}

#[tokio::test]
async fn a_turn_outlives_the_last_door_of_its_node() {
    let (node, pass) = made().await;
    let (uploads, id) = (Uploads::of(&node), sent::fresh(&pass));
    let turn = uploads.turn(&pass, id).await.unwrap();
    drop(uploads);
    let reloaded = Uploads::of(&node);
    assert!(reloaded.turn(&pass, id).await.is_err(), "somebody writes to it");
    drop(turn);
    assert!(reloaded.turn(&pass, id).await.is_ok());
}

#[tokio::test]
async fn a_clock_that_was_put_forward_ends_no_upload() {
    let (folder, stages) = (tempfile::tempdir().unwrap(), estafette_actors::standard());
    let spool = Arc::new(Spool::open(folder.path()).unwrap());
    let node = Node::builder().spool(spool).stages(stages).start().await.unwrap();
    let (_, pass) = made().await;
    let uploads = Uploads::of(&node);
    let peer = node.peer().to_string();
    let (inbox, name) = ("files".to_owned(), "a".to_owned());
    // By the wall clock, as it is now, the time of all of them is long over.
    let note = Note {
        peer,
        inbox,
        name,
        length: Some(9),
        metadata: String::new(),
        expires: 7,
        ends: None,
    };
    let lived = node.time_lived();
    for (ends, is_kept) in [(Some(lived + 1000), true), (Some(lived), false), (None, false)] {
        let note = Note { ends, ..note.clone() };
        let (id, _turn) = uploads.create(&pass, &note).await.unwrap();
        let found = uploads.find(&pass, id).await;
        assert_eq!(matches!(found, Ok(Found::Open(..))), is_kept, "{ends:?}");
    }
}

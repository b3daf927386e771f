//! Letters to peers that were revoked while their node heard of nothing.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use estafette::{Identity, RemoteErrorKind, TrustedPeer};

use crate::actors::Note;
use crate::harness::{config, soon};
use crate::post::Post;

/// Holds the thread of its node up until it is let go.
struct Holds(Option<(Sender<()>, Receiver<()>)>);

impl actix::Actor for Holds {
    type Context = actix::Context<Self>;

    fn started(&mut self, _: &mut actix::Context<Self>) {
        if let Some((said, let_go)) = self.0.take() {
            said.send(()).unwrap();
            let_go.recv().unwrap();
        }
    }
}

#[tokio::test]
async fn of_more_peers_revoked_at_once_than_a_node_hears_of_the_letters_are_over_and_no_others() {
    let mut post = Post::open(93, config()).await;
    let lyon = &post.pair.lyon;
    post.pair.network.refuse("paris", true);
    let nice = Identity::generate().peer();
    lyon.trust().add(nice, TrustedPeer::new("nice")).unwrap();
    let to = |place: &str| lyon.remote::<Note>(place).unwrap();
    let revoked = soon(to("nice/desk").deliver(Note(1, vec![]))).await.unwrap();
    let trusted = soon(to("paris/desk").deliver(Note(2, vec![]))).await.unwrap();
    let others: Vec<_> = (0..100).map(|_| Identity::generate().peer()).collect();
    for (nth, peer) in others.iter().enumerate() {
        lyon.trust().add(*peer, TrustedPeer::new(format!("other{nth}"))).unwrap();
    }
    let ((said, is_said), (go, let_go)) = (channel(), channel());
    let held = Mutex::new(Some((said, let_go)));
    let hosting =
        tokio::spawn(lyon.host("holds", move || Holds(held.lock().unwrap().take())).start());
    tokio::task::spawn_blocking(move || is_said.recv().unwrap()).await.unwrap();
    // The first of which it hears nothing, since so many come behind it.
    assert!(lyon.trust().revoke(nice).unwrap());
    others.iter().for_each(|peer| assert!(lyon.trust().revoke(*peer).unwrap()));
    go.send(()).unwrap();
    hosting.await.unwrap().unwrap();
    let why = soon(revoked.processed()).await.unwrap_err();
    assert_eq!(why.kind, RemoteErrorKind::Forbidden, "{why}");
    post.pair.network.refuse("paris", false);
    soon(trusted.processed()).await.unwrap();
    assert_eq!(soon(post.noted.recv()).await, Some(2));
}

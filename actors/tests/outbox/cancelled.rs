//! Deliveries that their sender takes out when somebody else may have them: it waits for their word,
//! and says no more than it knows.

use estafette::node::{EventStream, NodeEvent, OutboxError, OutboxState, RelayQuota, TakenOut};
use estafette::{FailureKind, TransferNews};

use super::endings::{At, Still, incoming, is_over, letter, names, pair, patient, stored_letter};
use super::harness::{entry, within};
use super::three::{World, content, relayed};

async fn link_down(events: &mut EventStream) {
    while !matches!(events.next().await.unwrap(), NodeEvent::LinkDown { .. }) {}
}

#[tokio::test]
async fn what_a_relay_has_stays_and_is_told_when_it_is_delivered() {
    within(async {
        let world = World::new();
        let (lyon, dijon) = (world.node(0).await, world.relay(RelayQuota::default()).await);
        let transfer = world.send_by_relay(&lyon, "in", &content(10_000)).await;
        relayed(&lyon, &transfer).await;
        let refused = lyon.outbox().withdraw(transfer.id()).await.unwrap_err().to_string();
        assert!(refused.contains("may still deliver it"), "{refused}");
        let refused = lyon.outbox().forget(transfer.id()).await.unwrap_err().to_string();
        assert!(refused.contains("may still deliver it"), "{refused}");
        let state = entry(&lyon, transfer.id()).await.unwrap().state;
        assert!(matches!(state, OutboxState::Relayed { .. }), "{state:?}");
        let (paris, mut arrived) = world.paris().await;
        assert_eq!(arrived.recv().await.unwrap().bytes.len(), 10_000);
        assert_eq!(transfer.delivered().await.unwrap().length, 10_000);
        for node in [lyon, dijon, paris] {
            node.shutdown().await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_its_sender_takes_out_while_it_is_committed_is_delivered_at_both_ends() {
    within(async {
        let ((pair, folder), from) = (pair(patient()).await, tempfile::tempdir().unwrap());
        for (stored, count) in [(true, 1), (false, 2)] {
            let still = Still::new(folder.path(), At::Commit);
            let inbox = format!("in{count}");
            pair.paris.receive(&inbox, still.clone()).unwrap();
            let mut there = pair.paris.events();
            let to = format!("paris/{inbox}");
            let transfer = match stored {
                true => pair.lyon.send(to.as_str(), stored_letter(&from, 10_000)).await.unwrap(),
                false => pair.lyon.send(to.as_str(), letter(10_000)).await.unwrap(),
            };
            still.reached().await;
            let lyon = pair.lyon.clone();
            let asked = transfer.clone();
            let withdrawn = tokio::spawn(async move {
                match stored {
                    true => lyon.outbox().withdraw(asked.id()).await.map(drop),
                    false => {
                        asked.cancel();
                        Ok(())
                    }
                }
            });
            // The order lies in front of this question.
            pair.lyon.held().await;
            still.go_on();
            assert_eq!(transfer.delivered().await.unwrap().length, 10_000, "stored: {stored}");
            let answer = withdrawn.await.unwrap();
            match answer {
                Err(OutboxError::Unfit { .. }) if stored => {}
                Ok(()) if !stored => {}
                other => panic!("stored: {stored}: {other:?}"),
            }
            let news = incoming(&mut there, transfer.id(), is_over).await;
            assert!(matches!(news, TransferNews::Delivered { .. }), "{news:?}");
            assert_eq!((names(folder.path()).len(), pair.paris.arrivals().len()), (count, count));
        }
    })
    .await;
}

#[tokio::test]
async fn what_was_sent_and_of_which_nobody_can_say_more_may_have_been_delivered() {
    within(async {
        for stored in [true, false] {
            let ((pair, folder), from) = (pair(patient()).await, tempfile::tempdir().unwrap());
            let still = Still::new(folder.path(), At::Commit);
            pair.paris.receive("in", still.clone()).unwrap();
            let transfer = match stored {
                true => pair.lyon.send("paris/in", stored_letter(&from, 10_000)).await.unwrap(),
                false => pair.lyon.send("paris/in", letter(10_000)).await.unwrap(),
            };
            still.reached().await;
            let mut here = pair.lyon.events();
            pair.network.refuse("paris", true);
            pair.network.refuse("lyon", true);
            pair.network.cut();
            link_down(&mut here).await;
            if stored {
                let out = pair.lyon.outbox().withdraw(transfer.id()).await.unwrap();
                assert_eq!(out, TakenOut::Unsure);
            } else {
                transfer.cancel();
            }
            let failure = transfer.delivered().await.unwrap_err();
            assert_eq!(failure.kind, FailureKind::Unknown, "stored: {stored}: {failure}");
            still.go_on();
        }
    })
    .await;
}

#[tokio::test]
async fn what_was_not_sent_to_its_end_is_surely_taken_out() {
    within(async {
        let ((pair, folder), from) = (pair(patient()).await, tempfile::tempdir().unwrap());
        let still = Still::new(folder.path(), At::Open);
        pair.paris.receive("in", still.clone()).unwrap();
        let transfer = pair.lyon.send("paris/in", stored_letter(&from, 10_000)).await.unwrap();
        still.reached().await;
        let out = pair.lyon.outbox().withdraw(transfer.id()).await.unwrap();
        assert_eq!(out, TakenOut::Undelivered);
        assert_eq!(transfer.delivered().await.unwrap_err().kind, FailureKind::Cancelled);
        still.go_on();
    })
    .await;
}

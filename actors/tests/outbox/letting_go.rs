//! Nothing is kept of what is over: no part at a receiver, no source at a sender.

use std::sync::Arc;

use estafette::delivery::Content;
use estafette::pipeline::{Source, SourceError, SourceReport};
use estafette::{FailureKind, SendOptions, TransferNews};
use estafette_actors::source::BytesSource;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use super::endings::*;
use super::harness::{World, within};

#[tokio::test]
async fn a_receiver_keeps_nothing_of_what_its_sender_will_not_go_on_with() {
    within(async {
        let world = World::new();
        let (lyon, paris) = (world.lyon().await, world.paris().await);
        let mut there = paris.events();
        let (source, file) = (Stuck::default(), world.file("stored", 300_000));
        let transient = SendOptions { transient: true, ..SendOptions::default() };
        let transfer = lyon.send_with("paris/files", source.clone(), transient).await.unwrap();
        source.waits.notified().await;
        incoming(&mut there, transfer.id(), |news| matches!(news, TransferNews::Progress { .. })).await;
        lyon.stop().await;
        assert_eq!(transfer.delivered().await.unwrap_err().kind, FailureKind::Shutdown);
        let news = incoming(&mut there, transfer.id(), |news| matches!(news, TransferNews::Failed { .. })).await;
        assert!(matches!(&news, TransferNews::Failed { failure } if failure.kind == FailureKind::Cancelled), "{news:?}");
        assert_eq!(world.arrived(), 0);
        drop(file);
    })
    .await;
}

#[tokio::test]
async fn a_source_that_waits_is_let_go_when_its_delivery_is_over() {
    within(async {
        let world = World::new();
        let (lyon, _paris) = (world.lyon().await, world.paris().await);
        let source = Stuck::default();
        let transient = SendOptions { transient: true, ..SendOptions::default() };
        let transfer = lyon.send_with("paris/files", source.clone(), transient).await.unwrap();
        source.waits.notified().await;
        transfer.cancel();
        assert_eq!(transfer.delivered().await.unwrap_err().kind, FailureKind::Cancelled);
        source.left.notified().await;
    })
    .await;
}

/// Gives some content that can be sent again, and then waits for ever.
#[derive(Clone, Debug, Default)]
struct Stuck {
    given: usize,
    waits: Arc<Notify>,
    left: Arc<Notify>,
}

impl Stuck {
    const GIVES: usize = 64 << 10;
}

impl Source for Stuck {
    fn content(&self) -> Content {
        BytesSource::new("stuck", vec![]).map(|bytes| bytes.content().with_length(None)).unwrap()
    }

    fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> BoxFuture<'a, Result<usize, SourceError>> {
        Box::pin(async move {
            let some = buffer.len().min(Self::GIVES - self.given);
            if some == 0 {
                let _left = Leaving(Arc::clone(&self.left));
                self.waits.notify_one();
                std::future::pending::<()>().await;
            }
            self.given += some;
            Ok(some)
        })
    }

    fn finish(&mut self) -> Result<SourceReport, SourceError> {
        Ok(SourceReport::default())
    }

    fn version(&self) -> Option<[u8; 32]> {
        Some([7; 32])
    }
}

/// Says when it is dropped.
struct Leaving(Arc<Notify>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

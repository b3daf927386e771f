//! A sink that takes nothing until it is let: a transfer to it is under way for as long as a test
//! wants.

use std::sync::Arc;

use bytes::Bytes;
use estafette::pipeline::{Committed, Inbox, Offer, Placement, Refusal, Sink, SinkError, Summary};
use futures_util::future::BoxFuture;
use tokio::sync::{Notify, Semaphore};

#[derive(Clone, Debug)]
pub(crate) struct Gate {
    open: Arc<Semaphore>,
    reached: Arc<Notify>,
}

impl Gate {
    pub(crate) fn closed() -> Self {
        Self { open: Arc::new(Semaphore::new(0)), reached: Arc::default() }
    }

    /// Waits until a chunk stands before it.
    pub(crate) async fn reached(&self) {
        self.reached.notified().await;
    }

    /// Lets everything through from now on.
    pub(crate) fn open(&self) {
        self.open.close();
    }
}

impl Inbox for Gate {
    fn open(&self, _: &Offer) -> Result<Box<dyn Sink>, Refusal> {
        Ok(Box::new(self.clone()))
    }
}

impl Sink for Gate {
    fn placement(&self) -> Placement {
        Placement::InOrder
    }

    fn write<'a>(&'a mut self, _: u64, _: &'a Bytes) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async {
            self.reached.notify_one();
            // Nothing is ever put in: it ends when the gate opens.
            let _ = self.open.acquire().await;
            Ok(())
        })
    }

    fn commit<'a>(&'a mut self, _: &'a Summary) -> BoxFuture<'a, Result<Committed, SinkError>> {
        Box::pin(async { Ok(Committed::default()) })
    }

    fn abort(&mut self, _: &str) {}
}

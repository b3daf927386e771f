//! The office, which has the jobs. A job is in the queue, in the hands of one worker, or reported.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::{Actor, Context, Handler};
use estafette::remote::{Called, Replies, Requests};
use futures_util::StreamExt;
use tokio::sync::{Mutex, mpsc};

use crate::Pull;

#[derive(Clone)]
pub(crate) struct Office {
    /// `None`: there are no more.
    put: mpsc::UnboundedSender<Option<u64>>,
    take: Arc<Mutex<mpsc::UnboundedReceiver<Option<u64>>>>,
    report: mpsc::UnboundedSender<(u64, u32)>,
    came_back: Arc<AtomicUsize>,
}

impl Actor for Office {
    type Context = Context<Self>;
}

impl Handler<Called<Pull>> for Office {
    type Result = ();
    fn handle(&mut self, Called { requests, replies }: Called<Pull>, _: &mut Context<Self>) {
        actix::spawn(self.clone().serve(requests, replies));
    }
}

impl Office {
    pub(crate) fn open(
        jobs: impl Iterator<Item = u64>,
    ) -> (Self, mpsc::UnboundedReceiver<(u64, u32)>) {
        let ((put, take), (report, reports)) =
            (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let office =
            Self { put, take: Arc::new(Mutex::new(take)), report, came_back: Arc::default() };
        jobs.for_each(|job| office.put(Some(job)));
        (office, reports)
    }

    fn put(&self, job: Option<u64>) {
        self.put.send(job).expect("the office has both ends of its queue");
    }

    pub(crate) fn close(&self) {
        self.put(None);
    }

    /// Jobs of workers that died.
    pub(crate) fn came_back(&self) -> usize {
        self.came_back.load(Ordering::SeqCst)
    }

    /// One worker, from its first word to its last.
    async fn serve(self, mut requests: Requests<Pull>, mut replies: Replies<u64>) {
        let (mut in_hand, mut room) = (HashSet::new(), 0);
        loop {
            tokio::select! {
                job = async { self.take.lock().await.recv().await.flatten() }, if room > 0 => {
                    let Some(job) = job else {
                        self.close();
                        return replies.finish();
                    };
                    (room, _) = (room - 1, in_hand.insert(job));
                    // An error shows with the next pull: the worker is gone.
                    let _ = replies.send(&job).await;
                }
                pull = requests.next() => {
                    let Some(Ok(Pull { done })) = pull else { break };
                    room += 1;
                    // A report counts if the job is in its hands: once.
                    if let Some((job, result)) = done.filter(|(job, _)| in_hand.remove(job)) {
                        let _ = self.report.send((job, result));
                    }
                }
            }
        }
        self.came_back.fetch_add(in_hand.len(), Ordering::SeqCst);
        in_hand.into_iter().for_each(|job| self.put(Some(job)));
    }
}

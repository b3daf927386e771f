//! The last actor of a package's way, and its owner.

use std::pin::pin;
use std::sync::Arc;

use actix::{Actor, Addr, Context, Handler, Message, Recipient};
use estafette::delivery::{Failure, FailureKind};
use estafette::metrics::Metrics;
use estafette::node::Stages;
use estafette::pipeline::{
    Assembled, AssemblerSeat, Assembly, Chunk, Committed, Progress, Signal, Sink, Stop, Summary,
    Transfer,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::pack::fault;
use crate::thread::Thread;

/// Bytes between two checkpoints: they only save work, since the package itself is at hand.
const CHECKPOINT: u64 = 64 << 20;

/// The assembler at work, as its owner sees it.
pub(super) struct Assembling {
    owner: Addr<Owner>,
    news: UnboundedReceiver<Assembly>,
    signals: UnboundedReceiver<Signal>,
    abort: oneshot::Sender<Stop>,
    /// Resolves when the assembler has let go of its sink.
    ended: oneshot::Receiver<()>,
}

impl Assembling {
    /// Starts it on the current thread, which lives until the sink was let go of.
    pub(super) fn begin(
        stages: &Stages,
        transfer: &Arc<Transfer>,
        sink: Box<dyn Sink>,
        resumed: Option<Progress>,
        signals: UnboundedReceiver<Signal>,
        thread: Arc<Thread>,
    ) -> Result<(Self, Recipient<Chunk>), Failure> {
        let (said, news) = unbounded_channel();
        let owner = Owner(said).start();
        let (abort, aborted) = oneshot::channel();
        let (alive, ended) = oneshot::channel::<()>();
        let seat = AssemblerSeat {
            checkpoint: CHECKPOINT,
            transfer: Arc::clone(transfer),
            sink,
            resumed,
            owner: owner.clone().recipient(),
            aborted,
            metrics: Metrics::default().stage("sink"),
            thread: Box::new((thread, alive)),
        };
        let assembler = stages.start_assembler(seat);
        let assembler = assembler
            .ok_or_else(|| Failure::new(FailureKind::Stage, "no assembler is registered here"))?;
        Ok((Self { owner, news, signals, abort, ended }, assembler))
    }

    /// Returns how it comes out, while frames are fed.
    pub(super) async fn watch(
        &mut self,
        feeding: impl Future<Output = Result<(), Failure>>,
    ) -> Result<(Summary, Committed), Failure> {
        let (mut feeding, mut fed) = (pin!(feeding), false);
        loop {
            tokio::select! {
                biased;
                Some(news) = self.news.recv() => if let Some(verdict) = verdict(news) {
                    return verdict;
                },
                Some(signal) = self.signals.recv() => return Err(fault(signal)),
                outcome = &mut feeding, if !fed => {
                    outcome?;
                    fed = true;
                }
            }
        }
    }

    /// Lets the sink clean up, or keep what a later attempt goes on from. What it said itself goes
    /// before `failure`: it may have failed first, or have committed.
    pub(super) async fn stop(
        mut self,
        failure: Failure,
        keep: bool,
    ) -> Result<(Summary, Committed), Failure> {
        let reason = failure.message.clone();
        // An assembler that is done can't be stopped, and need not.
        let _ = self.abort.send(if keep { Stop::Suspend(reason) } else { Stop::Discard(reason) });
        let _ = self.ended.await;
        // Behind all it has said.
        let _ = self.owner.send(Heard).await;
        let said = std::iter::from_fn(|| self.news.try_recv().ok()).find_map(verdict);
        said.unwrap_or(Err(failure))
    }
}

fn verdict(news: Assembly) -> Option<Result<(Summary, Committed), Failure>> {
    match news {
        // Stopped: of what it was told to stop for, whoever did so knows.
        Assembly::Grant(_) | Assembly::Stopped => None,
        Assembly::Committed { summary, committed } => Some(Ok((summary, committed))),
        Assembly::Failed(failure) => Some(Err(failure)),
    }
}

/// Hears the assembler.
struct Owner(UnboundedSender<Assembly>);

/// All that was said before has been heard.
#[derive(Message)]
#[rtype(result = "()")]
struct Heard;

impl Actor for Owner {
    type Context = Context<Self>;
}

impl Handler<Assembled> for Owner {
    type Result = ();

    fn handle(&mut self, assembled: Assembled, _: &mut Context<Self>) {
        // Closed when unpacking has ended.
        let _ = self.0.send(assembled.news);
    }
}

impl Handler<Heard> for Owner {
    type Result = ();

    fn handle(&mut self, _: Heard, _: &mut Context<Self>) {}
}

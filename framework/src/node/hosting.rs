//! The lives of an actor that a node runs, one after the other.
//!
//! One task has all lives of an actor: it starts them, sees how each ends, and decides what comes
//! next. So a death is seen once and counts once, however many find the actor dead. Invariant: an
//! actor is alive, or a wait of a known length away from its next life, or given up, and then its
//! host has been told.

use std::any::Any;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use actix::dev::ContextFut;
use actix::{Actor, Addr, AsyncContext, Context};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::events::NodeEvent;
use super::hosted::{ActorSeen, Wired, Word};
use super::shared::NodeShared;
use crate::remote::{DirectoryError, Fate, Intake};
use crate::supervise::{Decision, Lives, RestartPolicy, Strategy};

/// An error of hosting an actor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// It can't have its name.
    #[error(transparent)]
    Name(#[from] DirectoryError),
    /// Its first start has failed; nothing is left of it.
    #[error("the actor {name:?} could not be started: {why}")]
    Start {
        /// Its name.
        name: String,
        /// The message of its panic, or the news that it stopped.
        why: String,
    },
    /// It is wired to an actor that is not there.
    #[error(
        "the actor {name:?} is wired to {to:?}, which this node does not host: host that one first"
    )]
    NotHosted {
        /// Its name.
        name: String,
        /// Whom it needs.
        to: String,
    },
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

/// Opens a door to an actor that was started.
pub(super) type Reopen<A> = Box<dyn Fn(&Addr<A>) + Send + Sync>;

/// The common parts of all lives of an actor.
pub(super) struct Place<A: Actor<Context = Context<A>>> {
    pub(super) doors: Mutex<Vec<Reopen<A>>>,
    /// The messages that come from other nodes.
    pub(super) intake: Arc<Intake<A>>,
    /// The word on its next life, or that there is none.
    pub(super) fate: Arc<Fate>,
}

/// A life that runs.
type Running<A> = Pin<Box<ContextFut<A, Context<A>>>>;

/// The end of a life.
enum End {
    Panicked(String),
    /// By itself.
    Stopped,
    /// Since one that it is wired to has died.
    Wired,
}

/// The reason that there is no next life.
enum Over {
    /// Its host is to hear of it.
    GivenUp(String),
    /// As its host wanted it.
    Stays(String),
    /// It never had its name, or its node has stopped.
    Ended,
}

/// Has all lives of one actor.
pub(super) struct Keeper<A: Actor<Context = Context<A>>> {
    pub(super) shared: Arc<NodeShared>,
    pub(super) name: Arc<str>,
    pub(super) make: Arc<dyn Fn() -> A + Send + Sync>,
    pub(super) place: Arc<Place<A>>,
    pub(super) strategy: Strategy,
    pub(super) policy: RestartPolicy,
    pub(super) after: Vec<Arc<str>>,
}

/// The state of an actor that is kept alive.
struct Kept<A: Actor<Context = Context<A>>> {
    keeper: Keeper<A>,
    words: mpsc::UnboundedReceiver<Word>,
    seen: Arc<ActorSeen>,
    /// Those it is wired to that are dead.
    down: HashSet<Arc<str>>,
    /// One of them that was given up.
    gone: Option<Arc<str>>,
    /// It has got its name.
    has_name: bool,
    lives: Lives,
    deaths: u64,
}

impl<A: Actor<Context = Context<A>>> Keeper<A> {
    /// Runs it until it is given up or its node ends. `first` is told how the first start went;
    /// dropped by whoever waits for it, before the actor has its name, it ends the actor.
    pub(super) async fn run(
        self,
        first: oneshot::Sender<Result<(), String>>,
        named: oneshot::Receiver<()>,
    ) {
        let (tell, words) = mpsc::unbounded_channel();
        let intake = Arc::clone(&self.place.intake);
        let seen = ActorSeen::new(move || intake.seen());
        self.shared.hosted.each(|all| {
            all.push(Wired {
                name: Arc::clone(&self.name),
                seen: Arc::clone(&seen),
                after: self.after.clone(),
                tell: tell.clone(),
            })
        });
        let (down, lives, gone, has_name) = Default::default();
        let mut kept = Kept { keeper: self, words, seen, down, gone, has_name, lives, deaths: 0 };
        let over = kept.live(first, named).await;
        let Kept { keeper, deaths, has_name, .. } = kept;
        let (name, shared) = (&keeper.name, &keeper.shared);
        match &over {
            Over::GivenUp(why) => tracing::error!(
                actor = %name, deaths, why,
                "an actor of this node is given up: nobody is there any more under its name"
            ),
            Over::Stays(why) => {
                tracing::warn!(actor = %name, why, "an actor of this node is not started anew")
            }
            Over::Ended => {}
        }
        shared.hosted.end(name, &tell, has_name, || {
            // Its host may host another one under its name when it hears of it.
            keeper.place.fate.give_up();
            if let Over::GivenUp(why) = over {
                shared.emit(NodeEvent::ActorGivenUp { name: name.to_string(), deaths, why });
            }
        });
    }

    /// Begins a life; `Err`: making it panicked.
    fn begin(&self) -> Result<Running<A>, String> {
        let actor =
            catch_unwind(AssertUnwindSafe(|| (self.make)())).map_err(|panic| panicked(&*panic))?;
        let mut ctx = Context::new();
        // What waits is bounded by the credit of those who send; a capacity would let what is asked
        // overtake what is told.
        ctx.set_mailbox_capacity(0);
        ctx.spawn(self.place.intake.begin());
        let address = ctx.address();
        self.place
            .doors
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .for_each(|open| open(&address));
        Ok(Box::pin(ctx.into_future(actor)))
    }
}

impl<A: Actor<Context = Context<A>>> Kept<A> {
    async fn live(
        &mut self,
        first: oneshot::Sender<Result<(), String>>,
        named: oneshot::Receiver<()>,
    ) -> Over {
        let mut first = Some(first);
        let mut named = Some(named);
        loop {
            let begun = Instant::now();
            let end = match self.keeper.begin() {
                Ok(life) => self.one_life(life, &mut first, &mut named).await,
                Err(why) => Ok(End::Panicked(why)),
            };
            let Ok(end) = end else { return Over::Ended };
            if let Some(first) = first.take() {
                let why = match end {
                    End::Panicked(why) => why,
                    End::Stopped | End::Wired => "it has stopped at once".into(),
                };
                // Whoever started it may be gone.
                let _ = first.send(Err(why));
                return Over::Ended;
            }
            let (name, hosted) = (Arc::clone(&self.keeper.name), Arc::clone(&self.keeper.shared));
            if self.has_name {
                hosted.hosted.tell(&name, Word::Down);
            }
            self.seen.lives(false);
            let wait = match self.judge(end, begun.elapsed()) {
                Ok(wait) => wait,
                Err(over) => return over,
            };
            if let Err(over) = self.rest(wait).await {
                return over;
            }
            self.keeper.shared.metrics.stage(&name).restarted();
        }
    }

    /// Returns the wait before its next life, if there is one.
    fn judge(&mut self, end: End, lived: Duration) -> Result<Duration, Over> {
        let Keeper { name, strategy, policy, .. } = &self.keeper;
        let (why, panicked) = match end {
            End::Wired => return Ok(Duration::ZERO),
            End::Panicked(why) => (why, true),
            End::Stopped => ("it has stopped".to_owned(), false),
        };
        self.deaths += 1;
        self.seen.died();
        match strategy {
            Strategy::Escalate if panicked => Err(Over::GivenUp(why)),
            Strategy::Stop | Strategy::Escalate => Err(Over::Stays(why)),
            Strategy::Restart | Strategy::Resume => match self.lives.died(policy, lived) {
                Decision::Restart(wait) => {
                    tracing::warn!(
                        actor = %name, why, ?wait,
                        "an actor of this node has died: starting it anew"
                    );
                    self.keeper.shared.happenings.actor_died(name, &why);
                    Ok(wait)
                }
                Decision::GiveUp => Err(Over::GivenUp(format!(
                    "it has died {} times, in spite of longer and longer waits; the last time: \
                     {why}",
                    self.deaths
                ))),
            },
        }
    }

    /// Runs a life to its end. `Err`: it is to be the last one.
    async fn one_life(
        &mut self,
        life: Running<A>,
        first: &mut Option<oneshot::Sender<Result<(), String>>>,
        named: &mut Option<oneshot::Receiver<()>>,
    ) -> Result<End, ()> {
        let mut life = Life(Some(life));
        let mut is_up = false;
        loop {
            let word = tokio::select! {
                biased;
                end = life.poll_once(is_up) => match end {
                    Some(end) => return Ok(end),
                    None => {
                        // It has been started, and goes on.
                        is_up = true;
                        self.seen.lives(true);
                        if let Some(first) = first.take() {
                            // Whoever started it may be gone: it is to end then.
                            let _ = first.send(Ok(()));
                        }
                        if self.has_name {
                            self.keeper.shared.hosted.tell(&self.keeper.name, Word::Up);
                        }
                        continue;
                    }
                },
                has_name = wait_for(named.as_mut()) => {
                    *named = None;
                    self.has_name = has_name;
                    if !has_name {
                        return Err(());
                    }
                    self.keeper.shared.hosted.tell(&self.keeper.name, Word::Up);
                    continue;
                }
                word = self.words.recv() => word,
            };
            match word {
                Some(Word::Down(of)) => {
                    self.down.insert(of);
                    return Ok(End::Wired);
                }
                Some(Word::GivenUp(of)) => {
                    self.gone = Some(of);
                    return Ok(End::Wired);
                }
                Some(Word::Up(of)) => drop(self.down.remove(&of)),
                None => return Err(()),
            }
        }
    }

    /// Waits for so long, and until those that it is wired to are back.
    async fn rest(&mut self, wait: Duration) -> Result<(), Over> {
        let due = Instant::now() + wait;
        loop {
            let is_missing = |of: &&Arc<str>| {
                self.keeper.shared.hosted.missing(std::slice::from_ref(of)).is_some()
            };
            if let Some(of) = self.gone.as_ref().or_else(|| self.down.iter().find(is_missing)) {
                return Err(Over::GivenUp(format!(
                    "{of:?}, which it is wired to, is not there any more"
                )));
            }
            tokio::select! {
                word = self.words.recv() => match word {
                    Some(Word::Down(of)) => drop(self.down.insert(of)),
                    Some(Word::GivenUp(of)) => self.gone = Some(of),
                    Some(Word::Up(of)) => drop(self.down.remove(&of)),
                    None => return Err(Over::Ended),
                },
                () = tokio::time::sleep_until(due), if self.down.is_empty() => return Ok(()),
            }
        }
    }
}

/// Resolves when it is known whether the actor has got its name; never, where that is known.
async fn wait_for(named: Option<&mut oneshot::Receiver<()>>) -> bool {
    match named {
        Some(named) => named.await.is_ok(),
        None => std::future::pending().await,
    }
}

/// A life that stops when it is dropped.
struct Life<A: Actor<Context = Context<A>>>(Option<Running<A>>);

impl<A: Actor<Context = Context<A>>> Life<A> {
    /// Returns its end; `None`, once, when it has been started and goes on.
    async fn poll_once(&mut self, is_up: bool) -> Option<End> {
        std::future::poll_fn(|task| {
            let Some(life) = &mut self.0 else { return Poll::Pending };
            match catch_unwind(AssertUnwindSafe(|| life.as_mut().poll(task))) {
                Ok(Poll::Pending) if is_up => Poll::Pending,
                Ok(Poll::Pending) => Poll::Ready(None),
                Ok(Poll::Ready(())) => Poll::Ready(Some(End::Stopped)),
                Err(panic) => Poll::Ready(Some(End::Panicked(panicked(&*panic)))),
            }
        })
        .await
    }
}

impl<A: Actor<Context = Context<A>>> Drop for Life<A> {
    fn drop(&mut self) {
        // Its context lets it stop in order (actix 0.13.5, context_impl.rs, `Drop`), and after a
        // panic it may panic in that, too.
        let life = self.0.take();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(life))) {
            tracing::debug!(why = panicked(&*panic), "an actor panicked while it was stopped");
        }
    }
}

/// Returns the text of a panic.
fn panicked(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    format!("it panicked: {}", text.unwrap_or("no reason given"))
}

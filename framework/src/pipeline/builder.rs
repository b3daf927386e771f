//! Pipelines: which stages follow each other, checked by their types, and started as often as there
//! are workers.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::{Actor, Arbiter, Recipient};
use tokio::sync::oneshot;

use super::outlet::Outlet;
use super::parcel::Parcel;
use super::stage::{Stage, Step, panic_text};
use super::transform::Transform;
use super::wiring::{Child, Wiring};
use crate::metrics::Metrics;
use crate::store::start_thread;

/// All stages in one call, on the thread of whoever calls.
pub(crate) type Through<In, Out> = Box<dyn FnMut(In) -> Option<Out>>;
type MakeThrough<In, Out> = Arc<dyn Fn(&Metrics) -> Through<In, Out> + Send + Sync>;
type Layers<In, Out> = Arc<dyn Fn(&mut Wiring, Outlet<Out>) -> Outlet<In> + Send + Sync>;

/// A chain of stages that takes `In` at its head and gives `Out` at its tail.
///
/// Stages are added in data-path order, and each takes what the one before it gives: a wrong order
/// does not compile.
///
/// ```
/// use estafette::pipeline::{Chunk, Compressed, Pipeline, Sealed, Transform};
/// # fn chain<C, S>(compressor: fn() -> C, sealer: fn() -> S) -> Pipeline<Chunk, Sealed>
/// # where C: Transform<In = Chunk, Out = Compressed>, S: Transform<In = Compressed, Out = Sealed> {
/// Pipeline::new().then("compress", compressor).then("seal", sealer)
/// # }
/// ```
pub struct Pipeline<In: Parcel, Out: Parcel> {
    layers: Layers<In, Out>,
    /// `None` where a stage is an actor of its own.
    through: Option<MakeThrough<In, Out>>,
    names: Vec<Arc<str>>,
    hosting: Hosting,
    growth: u32,
}

/// The arbiters on which the actors of a pipeline run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hosting {
    /// On the arbiter that starts them.
    Inline,
    /// As so many replicas, each on an arbiter (a thread) of its own.
    Parallel(usize),
}

impl<In: Parcel> Pipeline<In, In> {
    /// No stages yet.
    pub fn new() -> Self {
        let through: MakeThrough<In, In> = Arc::new(|_| Box::new(Some));
        Self {
            layers: Arc::new(|_, tail| tail),
            through: Some(through),
            names: Vec::new(),
            hosting: Hosting::Inline,
            growth: 0,
        }
    }
}

impl<In: Parcel> Default for Pipeline<In, In> {
    fn default() -> Self {
        Self::new()
    }
}

impl<In: Parcel, Out: Parcel> Pipeline<In, Out> {
    /// Adds a stage that runs what `make` makes.
    #[must_use]
    pub fn then<T>(
        self,
        name: impl Into<Arc<str>>,
        make: impl Fn() -> T + Send + Sync + 'static,
    ) -> Pipeline<In, T::Out>
    where
        T: Transform<In = Out>,
    {
        let (name, make) = (name.into(), Arc::new(make) as Arc<dyn Fn() -> T + Send + Sync>);
        let stage = Arc::clone(&name);
        let step = move |metrics: &Metrics| {
            Step::new(Arc::clone(&stage), Arc::clone(&make), metrics.stage(&stage))
        };
        let (before, fused) = (self.through.clone(), step.clone());
        let pipeline = self.layer(name, move |metrics, outlet| {
            Stage::around(step(metrics), outlet).start().recipient()
        });
        let through = before.map(|before| -> MakeThrough<In, T::Out> {
            Arc::new(move |metrics| {
                let (mut before, mut step) = (before(metrics), fused(metrics));
                Box::new(move |input| step.take(before(input)?))
            })
        });
        Pipeline { through, ..pipeline }
    }

    /// Adds any actix actor that handles `Out`. `start` starts it, on the thread it will run on,
    /// and gets the outlet it is to send its own messages through. Called again when the actor
    /// died; where it panics itself, that counts as a death.
    #[must_use]
    pub fn then_actor<M: Parcel>(
        self,
        name: impl Into<Arc<str>>,
        start: impl Fn(Outlet<M>) -> Recipient<Out> + Send + Sync + 'static,
    ) -> Pipeline<In, M> {
        self.layer(name.into(), move |_, outlet| start(outlet))
    }

    /// Puts another pipeline behind this one.
    #[must_use]
    pub fn join<M: Parcel>(self, next: &Pipeline<Out, M>) -> Pipeline<In, M> {
        let (before, after) = (self.layers, Arc::clone(&next.layers));
        let through =
            self.through.zip(next.through.clone()).map(|(before, after)| -> MakeThrough<In, M> {
                Arc::new(move |metrics| {
                    let (mut before, mut after) = (before(metrics), after(metrics));
                    Box::new(move |input| after(before(input)?))
                })
            });
        let names = self.names.into_iter().chain(next.names.iter().cloned()).collect();
        Pipeline {
            layers: Arc::new(move |wiring, tail| {
                let middle = after(wiring, tail);
                before(wiring, middle)
            }),
            through,
            names,
            hosting: self.hosting,
            growth: self.growth.saturating_add(next.growth),
        }
    }

    /// All stages in one call, without mailboxes: for what is so little that a mailbox costs more
    /// than the work. `None` where a stage is an actor of its own.
    pub(crate) fn through(&self, metrics: &Metrics) -> Option<Through<In, Out>> {
        self.through.as_ref().map(|make| make(metrics))
    }

    /// Declares that its stages may make a chunk longer by as many bytes: a checksum, a key's
    /// number. Both ends of a transfer have to declare it of the coder they name; all coders of
    /// a transfer together may add [`growth_limit`](crate::wire::growth_limit).
    #[must_use]
    pub fn growing(self, bytes: u32) -> Self {
        Self { growth: self.growth.saturating_add(bytes), ..self }
    }

    /// By how many bytes its stages may make a chunk longer.
    pub fn growth(&self) -> u32 {
        self.growth
    }

    /// Hosts it as `replicas` whole chains, each on a thread of its own: for bulk work that needs
    /// every core.
    #[must_use]
    pub fn parallel(self, replicas: usize) -> Self {
        Self { hosting: Hosting::Parallel(replicas.max(1)), ..self }
    }

    /// Hosts it on the arbiter that starts it: for small messages, where a thread hop costs more
    /// than the work.
    #[must_use]
    pub fn inline(self) -> Self {
        Self { hosting: Hosting::Inline, ..self }
    }

    /// The names of its stages in data-path order.
    pub fn stage_names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(AsRef::as_ref)
    }

    /// Starts one chain on the current arbiter; its actors are entered into `wiring`.
    pub fn wire(&self, wiring: &mut Wiring, tail: Outlet<Out>) -> Outlet<In> {
        (self.layers)(wiring, tail)
    }

    /// Starts it as it is hosted. Every replica sends into `tail`. Needs a running actix system.
    ///
    /// # Errors
    /// When the system gives no thread for a replica: that passes.
    pub async fn start(
        &self,
        metrics: &Metrics,
        tail: Outlet<Out>,
    ) -> std::io::Result<RunningPipeline<In>> {
        let mut replicas = Vec::new();
        match self.hosting {
            Hosting::Inline => {
                let mut wiring = Wiring::new(metrics.clone());
                let inlet = self.wire(&mut wiring, tail);
                replicas.push(Replica { inlet, _children: wiring.into_children(), arbiter: None });
            }
            Hosting::Parallel(count) => {
                for _ in 0..count {
                    replicas.push(self.start_replica(metrics.clone(), tail.clone()).await?);
                }
            }
        }
        Ok(RunningPipeline { replicas, next: AtomicUsize::new(0) })
    }

    async fn start_replica(
        &self,
        metrics: Metrics,
        tail: Outlet<Out>,
    ) -> std::io::Result<Replica<In>> {
        let arbiter = start_thread()?;
        let (wired, is_wired) = oneshot::channel();
        let layers = Arc::clone(&self.layers);
        arbiter.spawn_fn(move || {
            let mut wiring = Wiring::new(metrics);
            let inlet = layers(&mut wiring, tail);
            // Whoever asked may be gone: then the chain goes, too.
            let _ = wired.send((inlet, wiring.into_children()));
        });
        let wired = is_wired
            .await
            .map_err(|_| std::io::Error::other("the thread of a replica has ended; see the log"));
        let (inlet, _children) = wired.inspect_err(|_| _ = arbiter.stop())?;
        Ok(Replica { inlet, _children, arbiter: Some(arbiter) })
    }

    fn layer<M: Parcel>(
        self,
        name: Arc<str>,
        start: impl Fn(&Metrics, Outlet<M>) -> Recipient<Out> + Send + Sync + 'static,
    ) -> Pipeline<In, M> {
        let (before, start, mut names) = (self.layers, Arc::new(start), self.names);
        names.push(Arc::clone(&name));
        let layers: Layers<In, M> = Arc::new(move |wiring, outlet| {
            let metrics = wiring.metrics().clone();
            let inlet = Outlet::<Out>::into_stage(Arc::clone(&name), metrics.stage(&name));
            let (start, socket, stage) = (Arc::clone(&start), inlet.clone(), Arc::clone(&name));
            // A factory may panic: what is sent to the stage is lost then, as if its actor had died
            // at once.
            let restart =
                move || match catch_unwind(AssertUnwindSafe(|| start(&metrics, outlet.clone()))) {
                    Ok(recipient) => socket.rewire(recipient),
                    Err(panic) => {
                        tracing::error!(
                            %stage, panic = panic_text(panic.as_ref()),
                            "the factory of a stage panicked"
                        )
                    }
                };
            restart();
            let socket = inlet.clone();
            wiring.adopt(Child::new(Arc::clone(&name), move || socket.is_connected(), restart));
            before(wiring, inlet)
        });
        Pipeline { layers, through: None, names, hosting: self.hosting, growth: self.growth }
    }
}

impl<In: Parcel, Out: Parcel> Clone for Pipeline<In, Out> {
    fn clone(&self) -> Self {
        Self {
            layers: Arc::clone(&self.layers),
            through: self.through.clone(),
            names: self.names.clone(),
            hosting: self.hosting,
            growth: self.growth,
        }
    }
}

impl<In: Parcel, Out: Parcel> fmt::Debug for Pipeline<In, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("stages", &self.names)
            .field("hosting", &self.hosting)
            .finish_non_exhaustive()
    }
}

/// A pipeline whose actors run. Dropping it lets those that run inline handle what they have, then
/// stop, head first; threads of its own end at once, and what lies in their mailboxes is reported
/// as lost.
#[derive(Debug)]
pub struct RunningPipeline<In: Parcel> {
    replicas: Vec<Replica<In>>,
    next: AtomicUsize,
}

#[derive(Debug)]
struct Replica<In: Parcel> {
    inlet: Outlet<In>,
    /// Their factories hold the actors.
    _children: Vec<Child>,
    arbiter: Option<Arbiter>,
}

impl<In: Parcel> RunningPipeline<In> {
    /// Hands a message to the next replica in turn.
    pub fn send(&self, message: In) {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.replicas.len();
        self.replicas[turn].inlet.send(message);
    }

    /// The head of its first replica, and of its only one where it runs inline.
    pub fn inlet(&self) -> &Outlet<In> {
        &self.replicas[0].inlet
    }

    /// The inlets of all replicas, for a sender that balances by itself.
    pub fn inlets(&self) -> impl Iterator<Item = &Outlet<In>> {
        self.replicas.iter().map(|replica| &replica.inlet)
    }
}

impl<In: Parcel> Drop for RunningPipeline<In> {
    fn drop(&mut self) {
        for replica in &mut self.replicas {
            if let Some(arbiter) = replica.arbiter.take() {
                arbiter.stop();
            }
        }
    }
}

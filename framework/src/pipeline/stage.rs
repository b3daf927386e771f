//! The one actor that hosts any transform.
//!
//! Invariant: a panic in a transform costs at most the transfer whose chunk it was.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use actix::{Actor, Context, Handler};

use super::outlet::Outlet;
use super::parcel::Parcel;
use super::transform::{Transform, TransformError};
use crate::metrics::StageMetrics;
use crate::wire::FailureKind;

/// Makes a transform anew: at the start, and after it panicked.
pub(crate) type Make<T> = Arc<dyn Fn() -> T + Send + Sync>;

/// An actor around a [`Transform`]: takes its `In` from a mailbox and sends its `Out` through an
/// outlet.
pub struct Stage<T: Transform> {
    step: Step<T>,
    outlet: Outlet<T::Out>,
}

/// A transform with what belongs to it wherever it runs: metrics, a second try, a word to whoever
/// waits for what it gives up.
pub(crate) struct Step<T: Transform> {
    name: Arc<str>,
    make: Make<T>,
    transform: Option<T>,
    metrics: Arc<StageMetrics>,
}

impl<T: Transform> Stage<T> {
    /// A stage called `name` that runs what `make` makes and counts into `metrics`.
    pub fn new(
        name: impl Into<Arc<str>>,
        make: impl Fn() -> T + Send + Sync + 'static,
        outlet: Outlet<T::Out>,
        metrics: Arc<StageMetrics>,
    ) -> Self {
        Self::around(Step::new(name.into(), Arc::new(make), metrics), outlet)
    }

    pub(crate) fn around(step: Step<T>, outlet: Outlet<T::Out>) -> Self {
        Self { step, outlet }
    }
}

impl<T: Transform> Step<T> {
    pub(crate) fn new(name: Arc<str>, make: Make<T>, metrics: Arc<StageMetrics>) -> Self {
        Self { name, make, transform: None, metrics }
    }

    /// Applies the transform; `None` when it panicked, and then it is thrown away.
    fn attempt(&mut self, input: &T::In) -> Option<Result<T::Out, TransformError>> {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let transform = self.transform.get_or_insert_with(|| (self.make)());
            transform.apply(input)
        }));
        outcome
            .inspect_err(|panic| {
                self.transform = None;
                self.metrics.panicked();
                let (transfer, index) = (input.custody().transfer().scope.transfer, input.custody().index());
                tracing::error!(stage = %self.name, %transfer, chunk = index, panic = panic_text(panic.as_ref()), "a stage panicked");
            })
            .ok()
    }

    /// Takes what a caller has, without a mailbox between.
    pub(crate) fn take(&mut self, input: T::In) -> Option<T::Out> {
        input.custody().enter(&self.name);
        self.metrics.enqueued();
        self.pass(input)
    }

    /// Returns what becomes of it; where nothing does, its custody has been told.
    fn pass(&mut self, input: T::In) -> Option<T::Out> {
        self.metrics.dequeued();
        if input.custody().transfer().is_closed() {
            input.custody().finish(0);
            return None;
        }
        let passes_by = input.custody().is_trailer() || input.custody().is_ready();
        if passes_by && !T::SEES_TRAILER {
            return Some(T::Out::from_parts(input.custody().clone(), input.content().clone()));
        }
        let start = Instant::now();
        match self.attempt(&input).or_else(|| self.attempt(&input)) {
            Some(Ok(output)) => {
                self.metrics.done(input.content().len(), output.content().len(), start.elapsed());
                let custody = input.custody();
                if !custody.is_trailer() {
                    let (transfer, bytes) = (custody.transfer(), output.content());
                    transfer.pass(&self.name, custody.index(), bytes, false);
                }
                return Some(output);
            }
            Some(Err(error)) => input.custody().fail(error.kind, error.message),
            None => {
                let (name, index) = (&self.name, input.custody().index());
                input.custody().fail(
                    FailureKind::Stage,
                    format!("the stage {name:?} panicked twice on chunk {index}; see its log"),
                );
            }
        }
        None
    }
}

impl<T: Transform> Actor for Stage<T> {
    type Context = Context<Self>;
}

impl<T: Transform> Handler<T::In> for Stage<T> {
    type Result = ();

    fn handle(&mut self, input: T::In, _: &mut Context<Self>) {
        if let Some(output) = self.step.pass(input) {
            self.outlet.send(output);
        }
    }
}

impl<T: Transform> fmt::Debug for Stage<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage").field("name", &self.step.name).finish_non_exhaustive()
    }
}

pub(super) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("(no text)")
}

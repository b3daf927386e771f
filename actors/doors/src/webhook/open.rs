//! A webhook that is open: a task that posts what is due.

use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use estafette::Node;
use estafette::node::DoorCounts;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use super::letters::Slot;
use super::payload::{Format, payload};
use super::post::{Outcome, Poster};
use super::queue::{Counts, Queue, now_ms};
use super::record::{Disabled, Message, Rests};
use super::schedule::Schedule;
use super::secret::Secrets;
use super::{Made, Webhook, WebhookError};

/// The interval at which it is looked whether another process has changed the queue.
const LOOK: Duration = Duration::from_millis(500);
/// The wait after the queue could not be read or written.
const AGAIN: Duration = Duration::from_secs(1);
/// The file whose lock is held by the process that posts.
const RUNNING: &str = "running";
/// The word in it of one that posts in order.
const ORDERED: &[u8] = b"ordered\n";
/// The longest that others may look whether somebody posts.
const LOOKED_MOST: Duration = Duration::from_secs(1);
/// The longest that POSTs that are under way may take when it is closed.
const GRACE: Duration = Duration::from_secs(5);

/// A webhook that is open. Dropping it ends it at once: what it posts then is posted again when it
/// is opened again.
#[derive(Debug)]
pub struct OpenWebhook {
    node: Node,
    names: Vec<String>,
    target: String,
    queue: Arc<Queue>,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

/// The state that the tasks of a webhook share.
struct Worker {
    name: String,
    queue: Arc<Queue>,
    poster: Poster,
    secrets: Arc<Secrets>,
    schedule: Schedule,
    format: Format,
    is_ordered: bool,
    at_once: usize,
    counts: Arc<DoorCounts>,
    /// Held as long as anything may be posted: nobody else posts from this folder.
    _own: File,
}

pub(super) async fn open(
    webhook: Webhook,
    made: Made,
    node: &Node,
    name: &str,
    folder: &Path,
) -> Result<OpenWebhook, WebhookError> {
    let failed = |error| WebhookError::Queue { folder: folder.to_owned(), error };
    let (place, limits, is_ordered) = (folder.to_owned(), webhook.limits, webhook.is_ordered);
    let opened = estafette::node::blocking(move || {
        let queue = Queue::open(&place, limits)?;
        own(&place, is_ordered).map(|own| (queue, own))
    });
    let (queue, own) = opened.await.and_then(|opened| opened).map_err(failed)?;
    let queue = Arc::new(queue);
    let target = made.poster.target.to_string();
    let worker = Worker {
        name: name.to_owned(),
        queue: Arc::clone(&queue),
        poster: made.poster,
        secrets: Arc::new(made.secrets),
        schedule: made.schedule,
        format: webhook.format,
        is_ordered: webhook.is_ordered,
        at_once: if webhook.is_ordered { 1 } else { webhook.at_once },
        counts: node.count_door(name, "webhook"),
        _own: own,
    };
    let (stop, stopped) = watch::channel(false);
    let mut open =
        OpenWebhook { node: node.clone(), names: Vec::new(), target, queue, stop, task: None };
    let names = if webhook.names.is_empty() { vec![name.to_owned()] } else { webhook.names };
    for name in names {
        let (readers, types) = (webhook.readers.clone(), webhook.types.clone());
        let slot = Slot { queue: Arc::clone(&open.queue), readers, types };
        node.register_letterbox(&name, Arc::new(slot))?;
        open.names.push(name);
    }
    open.task = Some(tokio::spawn(run(Arc::new(worker), stopped)));
    Ok(open)
}

/// Keeps other processes from posting from this folder, and says in it whether it posts in order.
fn own(folder: &Path, is_ordered: bool) -> io::Result<File> {
    let mut file = File::options().create(true).append(true).open(folder.join(RUNNING))?;
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0)?;
                file.write_all(if is_ordered { ORDERED } else { b"" })?;
                return Ok(file);
            }
            Err(TryLockError::Error(error)) => return Err(error),
            // Who only looks whether somebody posts lets go at once.
            Err(TryLockError::WouldBlock) if began.elapsed() < LOOKED_MOST => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(TryLockError::WouldBlock) => {
                let text =
                    "another process posts what is in it: stop that one, or take another folder";
                return Err(io::Error::new(io::ErrorKind::WouldBlock, text));
            }
        }
    }
}

/// Returns true if some process posts from this folder. It blocks for moments.
pub(super) fn is_open(folder: &Path) -> io::Result<bool> {
    let file = match File::open(folder.join(RUNNING)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        file => file?,
    };
    // Others who look are no reason to say that somebody posts.
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Returns true if whoever posts from this folder does it in order, or did it last.
pub(super) fn is_ordered(folder: &Path) -> io::Result<bool> {
    match std::fs::read(folder.join(RUNNING)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        said => Ok(said? == ORDERED),
    }
}

async fn run(worker: Arc<Worker>, mut stopped: watch::Receiver<bool>) {
    let mut posting = JoinSet::new();
    // It goes on while messages come and go, too.
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !*stopped.borrow() {
        while posting.len() < worker.at_once
            && let Some(number) = worker.queue.claim(worker.is_ordered)
        {
            posting.spawn(Arc::clone(&worker).post(number));
        }
        let wait = worker.queue.due_in(worker.is_ordered).clamp(Duration::from_millis(1), LOOK);
        let is_free = posting.len() < worker.at_once;
        tokio::select! {
            _ = stopped.changed() => {}
            Some(_) = posting.join_next() => {}
            () = worker.queue.changed.notified() => {}
            _ = look.tick() => worker.look().await,
            () = tokio::time::sleep(wait), if is_free => {}
        }
    }
    let ended = async { while posting.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, ended).await.is_err() {
        tracing::warn!(webhook = worker.name, "it is closed while it posts: it posts that again");
    }
}

impl Worker {
    /// Takes up what another process has changed.
    async fn look(&self) {
        let queue = Arc::clone(&self.queue);
        let looked = estafette::node::blocking(move || queue.look()).await;
        if let Err(error) = looked.and_then(|looked| looked) {
            tracing::error!(webhook = self.name, %error, "its queue can't be read");
        }
    }

    /// Posts a message that is claimed, and notes what came of it.
    async fn post(self: Arc<Self>, number: u64) {
        let (queue, secrets) = (Arc::clone(&self.queue), Arc::clone(&self.secrets));
        let read = move || Ok((queue.message(number)?, secrets.keys()));
        let (message, keys) = match estafette::node::blocking(read).await.and_then(|read| read) {
            Ok((Some(message), keys)) => (message, keys),
            Ok((None, _)) => return,
            Err(error) => {
                tracing::error!(webhook = self.name, %error, "its queue can't be read");
                tokio::time::sleep(AGAIN).await;
                return self.queue.give_back(number);
            }
        };
        let outcome = match payload(&message, self.format, &keys, now_ms() / 1000) {
            Ok((head, body)) => {
                let call = self.counts.call();
                call.sent(body.len() as u64);
                self.poster.post(head, body).await
            }
            Err(why) => Outcome::Failed { status: None, why, asked: None },
        };
        self.note(number, &message, outcome).await;
    }

    /// Notes what came of a try, until that is durable.
    async fn note(&self, number: u64, message: &Message, outcome: Outcome) {
        let id = message.head.id.as_str();
        if outcome != Outcome::Done {
            self.counts.refuse();
        }
        match outcome {
            Outcome::Done => {
                tracing::debug!(webhook = self.name, id, "posted");
                self.surely(move |queue| queue.remove(number)).await;
            }
            Outcome::Gone(why) => {
                tracing::error!(webhook = self.name, id, why, "the webhook is disabled: enable it");
                let at = now_ms() / 1000;
                let disabled = Disabled { at, id: id.to_owned(), why: why.clone() };
                self.surely(move |queue| queue.disable(&disabled)).await;
                let now = Some(Duration::ZERO);
                self.surely(move |queue| queue.failed(number, (Some(410), &why), now)).await;
            }
            Outcome::Failed { status, why, asked } => {
                let tries = self.queue.tries(number).map_or(1, |tries| tries.tries + 1);
                let wait = self.schedule.wait(tries, asked);
                if let Some(asked) = asked.filter(|asked| !asked.is_zero()) {
                    self.rest(id, &why, asked).await;
                }
                match wait {
                    Some(wait) => tracing::warn!(
                        webhook = self.name,
                        id,
                        tries,
                        ?wait,
                        why,
                        "a try has failed"
                    ),
                    None => {
                        tracing::error!(webhook = self.name, id, tries, why, "a message is dead")
                    }
                }
                self.surely(move |queue| queue.failed(number, (status, &why), wait)).await;
            }
        }
    }

    /// Posts nothing for so long, as its receiver has asked.
    async fn rest(&self, id: &str, why: &str, asked: Duration) {
        let at = now_ms() / 1000;
        // No earlier than was asked, by parts of a second.
        let until = at.saturating_add(asked.as_secs()).saturating_add(1);
        let rests = Rests { at, until, id: id.to_owned(), why: why.to_owned() };
        if self.surely(move |queue| queue.rest(&rests)).await {
            tracing::warn!(
                webhook = self.name,
                id,
                rest = ?asked,
                why,
                "its receiver asks for a rest: nothing is posted before, unless `estafette webhook \
                 retry` ends it"
            );
        }
    }

    /// Changes the queue, again and again if that fails: nothing is posted twice for that.
    async fn surely<T: Send + 'static>(
        &self,
        change: impl Fn(&Queue) -> io::Result<T> + Clone + Send + 'static,
    ) -> T {
        loop {
            let (queue, change) = (Arc::clone(&self.queue), change.clone());
            let changed = estafette::node::blocking(move || change(&queue)).await;
            match changed.and_then(|changed| changed) {
                Ok(made) => return made,
                Err(error) => tracing::error!(
                    webhook = self.name, %error,
                    "what came of a try can't be written: it is tried again"
                ),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

impl OpenWebhook {
    /// Returns the place that it goes to, without the path of its URL.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Returns how many messages wait, and how many are dead.
    pub fn counts(&self) -> (usize, usize) {
        let Counts { waiting, dead, .. } = self.queue.counts();
        (waiting, dead)
    }

    /// Takes and posts no more; ends when what is being posted is answered, or after 5 s.
    pub async fn close(mut self) {
        self.leave();
        self.stop.send_replace(true);
        if let Some(task) = self.task.take() {
            // One that panicked has said so.
            let _ = task.await;
        }
    }

    fn leave(&mut self) {
        for name in self.names.drain(..) {
            self.node.directory().unregister(&name);
        }
    }
}

impl Drop for OpenWebhook {
    fn drop(&mut self) {
        self.leave();
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

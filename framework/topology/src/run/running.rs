//! The thread on which the routes of a node run, and how they are changed while they do.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use estafette::node::OutboxState;
use estafette::{Node, PeerId};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, LocalSet};

use super::memory::{Memory, Note};
use super::onward::{GoneOn, Onward};
use super::revive::revive;
use super::route::Route;
use super::tap::RouteTaps;
use super::wakes::Wakes;
use super::watch::Watches;
use crate::model::{SourceSpec, Target};

/// The time after which a link that is to be kept up is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// The routes that run. They end when this is dropped, or when the node stops.
#[derive(Debug)]
pub(super) struct Routes {
    switch: mpsc::UnboundedSender<(Plan, oneshot::Sender<()>)>,
}

/// The routes and links that are to run from now on.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// All routes of the node.
    pub(super) routes: Vec<Route>,
    /// Those of them that go on as they run.
    pub(super) untouched: BTreeSet<String>,
    /// The peers with which a link is kept up.
    pub(super) connect: Vec<PeerId>,
}

impl Routes {
    pub(super) fn start(taps: &RouteTaps, plan: Plan) -> io::Result<Self> {
        let RouteTaps { node, memory, looks, registry, .. } = taps.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let watches = Watches::new();
        let following = watches.follow()?;
        let (switch, mut switched) = mpsc::unbounded_channel::<(Plan, oneshot::Sender<()>)>();
        let work = async move {
            let mut tasks = Tasks { watches, ..Tasks::default() };
            tokio::task::spawn_local(tasks.wakes.clone().follow(node.clone(), memory.clone()));
            // Before the first route sends, so that nothing is missed.
            let following = looks.follow(node.clone(), memory.clone(), registry);
            tokio::task::spawn_local(following);
            tokio::task::yield_now().await;
            tasks.switch(&node, &memory, plan).await;
            tokio::task::spawn_local(revive(node.clone(), memory.clone()));
            while let Some((plan, done)) = switched.recv().await {
                tasks.switch(&node, &memory, plan).await;
                // Whoever asked may be gone.
                let _ = done.send(());
            }
        };
        std::thread::Builder::new().name("estafette-routes".into()).spawn(move || {
            let _following = following;
            LocalSet::new().block_on(&runtime, work);
        })?;
        Ok(Self { switch })
    }

    /// Changes what runs. A route that ends in the middle of a delivery has noted it before, as one
    /// whose process dies has: the next one finds out what became of it.
    pub(super) async fn switch(&self, plan: Plan) {
        let (done, is_done) = oneshot::channel();
        // An error means that the thread is gone, with the node.
        if self.switch.send((plan, done)).is_ok() {
            let _ = is_done.await;
        }
    }
}

/// Each route's task, and each inbox's from which routes begin.
#[derive(Default)]
struct Tasks {
    watches: Watches,
    wakes: Wakes,
    routes: BTreeMap<String, JoinHandle<()>>,
    inboxes: BTreeMap<String, (Vec<String>, JoinHandle<()>)>,
    linked: Option<(Vec<PeerId>, JoinHandle<()>)>,
}

impl Tasks {
    async fn switch(&mut self, node: &Node, memory: &Memory, plan: Plan) {
        let Plan { routes, untouched, connect } = plan;
        memory.keep_waits(&routes.iter().map(|route| route.name.to_string()).collect()).await;
        // What is stored keeps the rate that the file had then.
        for route in &routes {
            node.set_pace(&route.name, Some(route.spec.rate.unwrap_or(u64::MAX)));
        }
        let (mut inboxes, mut left) = (BTreeMap::<String, Vec<Route>>::new(), BTreeMap::new());
        for route in routes {
            match &route.spec.source {
                SourceSpec::Inbox(inbox) => inboxes.entry(inbox.clone()).or_default().push(route),
                _ => drop(left.insert(route.name.to_string(), route)),
            }
        }
        self.routes.retain(|name, task| {
            let stays = untouched.contains(name) && left.remove(name).is_some();
            if !stays {
                task.abort();
            }
            stays
        });
        // An inbox goes on only if all its routes do.
        self.inboxes.retain(|inbox, (names, task)| {
            let same = inboxes.get(inbox).is_some_and(|routes| {
                let now = routes.iter().map(|route| &*route.name);
                now.eq(names.iter().map(String::as_str))
                    && names.iter().all(|name| untouched.contains(name))
            });
            if same {
                inboxes.remove(inbox);
            } else {
                task.abort();
            }
            same
        });
        take_back(node, memory, left.values().chain(inboxes.values().flatten())).await;
        for (name, route) in left {
            self.routes.insert(name, spawn(route.run(self.watches.clone(), self.wakes.clone())));
        }
        for (inbox, routes) in inboxes {
            let names = routes.iter().map(|route| route.name.to_string()).collect();
            let onward = Onward {
                node: node.clone(),
                inbox: inbox.clone(),
                routes,
                gone_on: GoneOn::default(),
            };
            self.inboxes.insert(inbox, (names, spawn(onward.run())));
        }
        if self.linked.as_ref().is_none_or(|(linked, _)| *linked != connect) {
            if let Some((_, task)) = self.linked.take() {
                task.abort();
            }
            let task = tokio::task::spawn_local(keep_linked(node.clone(), connect.clone()));
            self.linked = Some((connect, task));
        }
    }
}

/// Runs it in a box, whose memory goes when it ends: that of a task stays for as long as its handle.
fn spawn(work: impl Future<Output = ()> + 'static) -> JoinHandle<()> {
    tokio::task::spawn_local(Box::pin(work))
}

/// Takes back what waits for ids that targets had once, and will not get it, or for a relay that
/// their routes do not go by any more and that does not have it: routes send it anew, as they are
/// now.
async fn take_back(node: &Node, memory: &Memory, routes: impl Iterator<Item = &Route>) {
    // A node without an outbox sends nothing.
    let Ok(outbox) = node.outbox().list().await else { return };
    let open = outbox.into_iter().filter(|(_, entry)| entry.is_open());
    let open: BTreeMap<_, _> = open.collect();
    for route in routes {
        for note in memory.beginning(&format!("{}\n", route.name)) {
            let Some(entry) = open.get(&note.id) else { continue };
            let peer = &entry.peer;
            // What a relay has, it delivers.
            let goes_otherwise = entry.via != route.via && entry.state == OutboxState::Stored;
            let is_others = route.targets.iter().any(|(target, now)| {
                now != peer && (note.to == target.to_string() || route.is_for(target, &note))
            });
            if !is_others && !goes_otherwise {
                continue;
            }
            // Forgotten before it is withdrawn, which would be taken for somebody's wish.
            let forgotten = memory.forget(&note.key).await;
            if forgotten.is_err() {
                continue;
            }
            // Since it was looked at, the relay may have got it.
            let taken_back = if is_others && entry.state != OutboxState::Stored {
                // A relay has it for the id that the target had once, which is another node.
                Ok(())
            } else if is_others {
                node.outbox().withdraw(note.id).await.map(drop)
            } else {
                node.outbox().recall(note.id).await
            };
            if taken_back.is_err() {
                // It has gone its former way. What can't be noted is sent once more.
                let _ = memory.put(&note).await;
            }
        }
    }
}

impl Route {
    fn is_for(&self, target: &Target, note: &Note) -> bool {
        note.key.starts_with(&self.key(target, ""))
    }
}

/// Asks for links again and again: a session that was given up is asked for anew.
async fn keep_linked(node: Node, peers: Vec<PeerId>) {
    if peers.is_empty() {
        return;
    }
    let mut tick = tokio::time::interval(ASK_AGAIN);
    loop {
        tick.tick().await;
        peers.iter().for_each(|peer| node.stay_connected(*peer));
    }
}

//! What a host does with typed messages: names for its actors, handles of those elsewhere.

use std::sync::{Arc, Mutex, PoisonError};

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, Recipient};
use tokio::sync::oneshot;

use super::handle::Node;
use super::shared::NodeShared;
use crate::remote::{
    Asked, Berth, ByItself, Called, DirectoryError, Door, Intake, Mailbox, Plain, Presence, Remote, RemoteError, RemoteErrorKind,
    RemoteMessage, Streams, Watch, asked, called, plain,
};
use crate::supervise::{Adopt, Check, Child};

impl Node {
    /// Gives an actor a name for messages of one type, from other nodes, too. A name can take several types.
    ///
    /// Which peers may send to it is part of trust: the names in [`TrustedPeer::inboxes`](crate::TrustedPeer::inboxes).
    pub fn register<M: RemoteMessage>(&self, name: &str, recipient: Recipient<M>) -> Result<(), DirectoryError> {
        self.directory().offer(name, Arc::new(Plain(Door::to(recipient), name.into())))
    }

    /// [`register`](Self::register), for an actor that answers by itself: later, from elsewhere, or with the least overhead.
    pub fn register_asked<M: RemoteMessage>(&self, name: &str, recipient: Recipient<Asked<M>>) -> Result<(), DirectoryError> {
        self.directory().offer(name, Arc::new(ByItself(Door::to(recipient), name.into())))
    }

    /// [`register`](Self::register), for an actor that takes or gives streams.
    pub fn register_calls<M: RemoteMessage>(&self, name: &str, recipient: Recipient<Called<M>>) -> Result<(), DirectoryError> {
        self.directory().offer(name, Arc::new(Streams(Door::to(recipient), name.into())))
    }

    /// Has the node run an actor of its own, where messages reach it soonest: on the thread of its links. It is started anew, after a
    /// wait, when it panics or stops. It must not block.
    pub fn host<A: Actor<Context = Context<A>>>(&self, name: &str, make: impl Fn() -> A + Send + Sync + 'static) -> Hosted<A> {
        let shared = Arc::clone(self.shared());
        let route = Arc::<Mutex<Option<crate::supervise::RouteId>>>::default();
        let revive = {
            let (supervisor, route) = (shared.supervisor.clone(), Arc::clone(&route));
            Arc::new(move || {
                if let Some(route) = *route.lock().unwrap_or_else(PoisonError::into_inner) {
                    supervisor.do_send(Check(route));
                }
            })
        };
        let intake = Intake::new(Arc::clone(&revive) as Arc<dyn Fn() + Send + Sync>);
        let place = Arc::new(Place { address: Mutex::default(), doors: Mutex::default(), intake });
        Hosted { shared, name: name.into(), make: Arc::new(make), place, route, revive, mailboxes: Vec::new() }
    }

    /// The actor `"peer/name"`, for messages of one type. Nothing is sent yet: whether it is there shows when something is.
    pub fn remote<M: RemoteMessage>(&self, to: &str) -> Result<Remote<M>, RemoteError> {
        let (peer, name) = self.peer_of(to)?;
        let name = name.ok_or_else(|| RemoteError::new(RemoteErrorKind::UnknownPeer, format!("{to:?} is no \"peer/name\"")))?;
        Remote::new(self.shared().exchange(peer), self.shared().letters.get().cloned(), name)
    }

    /// Tells how the actor `"peer/name"`, or the node `"peer"`, comes and goes.
    ///
    /// A process that dies shows at once, by its connection; a cable that is cut, when nothing was heard for
    /// [`NodeConfig::link`](crate::NodeConfig)'s `dead_after` (15 s, unless it says otherwise); an actor that dies, within 0.25 s. What is
    /// watched keeps a link up.
    pub fn watch(&self, what: &str) -> Result<Watch, RemoteError> {
        let (peer, name) = self.peer_of(what)?;
        Ok(self.shared().exchange(peer).watch(name))
    }

    /// Whether an actor of this node is there.
    pub fn presence(&self, name: &str) -> Presence {
        self.directory().presence(name).map_or_else(|kind| Presence::Down { kind }, |()| Presence::Up)
    }

    fn peer_of<'a>(&self, to: &'a str) -> Result<(crate::wire::PeerId, Option<&'a str>), RemoteError> {
        let (peer, name) = to.split_once('/').map_or((to, None), |(peer, name)| (peer, Some(name)));
        let found = self.trust().find(peer).map_err(|error| RemoteError::new(RemoteErrorKind::UnknownPeer, error.to_string()))?;
        if found.0 == self.peer() {
            let text = format!("{peer:?} is this node itself: its own actors are spoken to by their actix addresses");
            return Err(RemoteError::new(RemoteErrorKind::UnknownPeer, text));
        }
        Ok((found.0, name))
    }
}

/// An actor that a node is to run: says what it takes, then is started.
pub struct Hosted<A: Actor<Context = Context<A>>> {
    shared: Arc<NodeShared>,
    name: Arc<str>,
    make: Arc<dyn Fn() -> A + Send + Sync>,
    place: Arc<Place<A>>,
    route: Arc<Mutex<Option<crate::supervise::RouteId>>>,
    revive: Arc<dyn Fn() + Send + Sync>,
    mailboxes: Vec<Arc<dyn Mailbox>>,
}

/// Opens a door to an actor that was started.
type Reopen<A> = Box<dyn Fn(&Addr<A>) + Send + Sync>;

/// Where the actor that was started last lives, and the doors to it.
struct Place<A: Actor<Context = Context<A>>> {
    address: Mutex<Option<Addr<A>>>,
    doors: Mutex<Vec<Reopen<A>>>,
    /// What comes from other nodes.
    intake: Arc<Intake<A>>,
}

impl<A: Actor<Context = Context<A>>> Place<A> {
    fn start(&self, actor: A) {
        let address = A::create(|ctx| {
            // What waits is bounded by the credit of those who send; a capacity would let what is asked overtake what is told.
            ctx.set_mailbox_capacity(0);
            ctx.spawn(self.intake.begin());
            actor
        });
        self.doors.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|open| open(&address));
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
    }

    fn is_alive(&self) -> bool {
        let is_there = self.address.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(Addr::connected);
        is_there && self.intake.is_open()
    }
}

impl<A: Actor<Context = Context<A>>> Hosted<A> {
    fn door<M: Message + Send + 'static>(&self) -> Arc<Door<M>>
    where
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
        M::Result: Send,
    {
        let door = Door::revived(Arc::clone(&self.revive));
        let opened = Arc::clone(&door);
        let open: Reopen<A> = Box::new(move |address: &Addr<A>| opened.reopen(address.clone().recipient()));
        self.place.doors.lock().unwrap_or_else(PoisonError::into_inner).push(open);
        door
    }

    /// It takes messages of this type.
    #[must_use]
    pub fn takes<M: RemoteMessage>(mut self) -> Self
    where
        A: Handler<M>,
    {
        let mailbox = Plain::<M>(self.door(), Arc::clone(&self.name));
        self.mailboxes.push(Arc::new(Berth::new(mailbox, &self.place.intake, plain::<A, M>, &self.name)));
        self
    }

    /// It takes messages of this type, and answers by itself.
    #[must_use]
    pub fn takes_asked<M: RemoteMessage>(mut self) -> Self
    where
        A: Handler<Asked<M>>,
    {
        let mailbox = ByItself::<M>(self.door(), Arc::clone(&self.name));
        self.mailboxes.push(Arc::new(Berth::new(mailbox, &self.place.intake, asked::<A, M>, &self.name)));
        self
    }

    /// It takes calls with streams of this type.
    #[must_use]
    pub fn takes_calls<M: RemoteMessage>(mut self) -> Self
    where
        A: Handler<Called<M>>,
    {
        let mailbox = Streams::<M>(self.door(), Arc::clone(&self.name));
        self.mailboxes.push(Arc::new(Berth::new(mailbox, &self.place.intake, called::<A, M>, &self.name).streaming()));
        self
    }

    /// Starts it, and gives it its name.
    pub async fn start(self) -> Result<(), DirectoryError> {
        let Self { shared, name, make, place, route, mailboxes, .. } = self;
        let (done, is_done) = oneshot::channel();
        let (starting, first) = (Arc::clone(&make), Arc::clone(&place));
        let (started, own_name, supervisor) = (Arc::clone(&place), Arc::clone(&name), shared.supervisor.clone());
        let arbiter = shared.arbiter.clone();
        shared.arbiter.spawn(async move {
            first.start(starting());
            let alive = {
                let place = Arc::clone(&started);
                move || place.is_alive()
            };
            let restart = move || {
                // Many may have found it dead before one of them had it started.
                if !started.is_alive() {
                    started.start(make());
                }
            };
            let child = Child::new(Arc::clone(&own_name), alive, restart);
            // It never ends: its place keeps it.
            let (_, ended) = oneshot::channel();
            let adopt = Adopt { name: own_name.to_string(), arbiter, children: vec![child], ended };
            if let Ok(id) = supervisor.send(adopt).await {
                *route.lock().unwrap_or_else(PoisonError::into_inner) = Some(id);
            }
            // Whoever started it may be gone.
            let _ = done.send(());
        });
        // An error means that its node has stopped: its name then leads nowhere.
        let _ = is_done.await;
        mailboxes.into_iter().try_for_each(|mailbox| shared.directory.offer(&name, mailbox))
    }
}

impl<A: Actor<Context = Context<A>>> std::fmt::Debug for Hosted<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hosted").field("name", &self.name).finish_non_exhaustive()
    }
}

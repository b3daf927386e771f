//! Typed messages of a host: names for its actors, and handles of actors elsewhere.

use std::sync::{Arc, Mutex, PoisonError};

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Context, Handler, Message, Recipient};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::handle::Node;
use super::hosting::{HostError, Keeper, Place, Reopen};
use crate::remote::{
    ANSWER_WITHIN, Asked, Berth, ByItself, Called, Describe, Description, DirectoryError, Door,
    Exchange, Form, Gathered, Intake, Letterbox, Letters, Mailbox, NODE, Native, Plain, Presence,
    Remote, RemoteError, RemoteErrorKind, RemoteMessage, Streams, Take, Watch, asked, called,
    plain,
};
#[cfg(feature = "json")]
use crate::remote::{Json, JsonRemote};
use crate::supervise::{RestartPolicy, Strategy};

/// The parts of a handle of an actor elsewhere.
type Actual<'a> = (Arc<Exchange>, Option<Arc<Letters>>, &'a str);

impl Node {
    /// Gives an actor a name for messages of one type, from other nodes, too. A name can take
    /// several types.
    ///
    /// Which peers may send to it is part of trust: the names in
    /// [`TrustedPeer::inboxes`](crate::TrustedPeer::inboxes).
    pub fn register<M: RemoteMessage>(
        &self,
        name: &str,
        recipient: Recipient<M>,
    ) -> Result<(), DirectoryError> {
        let door = Door::to(recipient);
        let native = Arc::new(Plain::<M, Native>::new(Arc::clone(&door), name));
        #[cfg(feature = "json")]
        if M::JSON {
            let json = Arc::new(Plain::<M, Json>::new(door, name));
            return self.directory().offer_all(name, vec![native, json]);
        }
        self.directory().offer(name, native)
    }

    /// [`register`](Self::register), for an actor that answers by itself: later, from elsewhere, or
    /// with the least overhead.
    pub fn register_asked<M: RemoteMessage>(
        &self,
        name: &str,
        recipient: Recipient<Asked<M>>,
    ) -> Result<(), DirectoryError> {
        let door = Door::to(recipient);
        let native = Arc::new(ByItself::<M, Native>::new(Arc::clone(&door), name));
        #[cfg(feature = "json")]
        if M::JSON {
            let json = Arc::new(ByItself::<M, Json>::new(door, name));
            return self.directory().offer_all(name, vec![native, json]);
        }
        self.directory().offer(name, native)
    }

    /// [`register`](Self::register), for an actor that takes or gives streams.
    pub fn register_calls<M: RemoteMessage>(
        &self,
        name: &str,
        recipient: Recipient<Called<M>>,
    ) -> Result<(), DirectoryError> {
        let door = Door::to(recipient);
        let native = Arc::new(Streams::<M, Native>::new(Arc::clone(&door), name));
        #[cfg(feature = "json")]
        if M::JSON {
            let json = Arc::new(Streams::<M, Json>::new(door, name));
            return self.directory().offer_all(name, vec![native, json]);
        }
        self.directory().offer(name, native)
    }

    /// Gives a name to what takes durable messages of any type, and passes them on. Nothing else is
    /// sent to that name: what is told or asked there is
    /// [`NoSuchMessage`](RemoteErrorKind::NoSuchMessage).
    pub fn register_letterbox(
        &self,
        name: &str,
        letterbox: Arc<dyn Letterbox>,
    ) -> Result<(), DirectoryError> {
        self.directory().post_to(name, letterbox)
    }

    /// Has the node run an actor of its own, where messages reach it soonest: on the thread of its
    /// links. When it panics or stops, it is started anew, after a wait that grows; one that
    /// dies again and again is given up, and
    /// [`NodeEvent::ActorGivenUp`](crate::NodeEvent::ActorGivenUp) says so. [`Hosted`] has other
    /// ways. It must not block.
    pub fn host<A: Actor<Context = Context<A>>>(
        &self,
        name: &str,
        make: impl Fn() -> A + Send + Sync + 'static,
    ) -> Hosted<A> {
        let shared = Arc::clone(self.shared());
        let place = Arc::new(Place {
            doors: Mutex::default(),
            intake: Intake::new(),
            fate: Arc::default(),
        });
        let (strategy, policy) = (Strategy::default(), shared.config.restart);
        let keeper = Keeper {
            shared,
            name: name.into(),
            make: Arc::new(make),
            place,
            strategy,
            policy,
            after: Vec::new(),
        };
        Hosted { keeper, mailboxes: Vec::new() }
    }

    /// The actor `"peer/name"`, for messages of one type. Nothing is sent yet: whether it is there
    /// shows when something is.
    pub fn remote<M: RemoteMessage>(&self, to: &str) -> Result<Remote<M>, RemoteError> {
        let (exchange, letters, name) = self.actor_of(to)?;
        Remote::new(exchange, letters, name)
    }

    /// The actor `"peer/name"`, for messages of the type of this name and version, of which `M` is
    /// another form with the same bytes: for who passes on what others understand, as doors do.
    pub fn remote_named<M: RemoteMessage>(
        &self,
        to: &str,
        message: &str,
        version: u32,
    ) -> Result<Remote<M>, RemoteError> {
        let (exchange, letters, name) = self.actor_of(to)?;
        Remote::named(exchange, letters, name, (message, version))
    }

    /// The actor `"peer/name"`, for messages as JSON, by the name of their type, such as
    /// `"shop.Order"`, and its version.
    #[cfg(feature = "json")]
    pub fn remote_json(
        &self,
        to: &str,
        message: &str,
        version: u32,
    ) -> Result<JsonRemote, RemoteError> {
        let (exchange, letters, name) = self.actor_of(to)?;
        JsonRemote::new(exchange, letters, name, (message, version))
    }

    fn actor_of<'a>(&self, to: &'a str) -> Result<Actual<'a>, RemoteError> {
        let (peer, name) = self.peer_of(to)?;
        let name = name.ok_or_else(|| {
            RemoteError::new(RemoteErrorKind::UnknownPeer, format!("{to:?} is no \"peer/name\""))
        })?;
        Ok((self.shared().exchange(peer), self.shared().letters.get().cloned(), name))
    }

    /// Asks for a description of what this node may send to the node `"peer"`, or to the name
    /// `"peer/name"`: names, the types of messages they take, and in which ways. If there are more
    /// than 10,000 names, or 16 MiB of them, the description is cut off and says so.
    ///
    /// # Errors
    /// [`RemoteErrorKind::NoSuchName`] and [`RemoteErrorKind::Forbidden`] where the peer is of a
    /// version that doesn't know this question. [`RemoteErrorKind::Deadline`] if it has not told
    /// all of it after 30 s, [`RemoteErrorKind::BadReply`] if it says again and again that there is
    /// more.
    pub async fn describe(&self, what: &str) -> Result<Description, RemoteError> {
        let (peer, name) = self.peer_of(what)?;
        let letters = self.shared().letters.get().cloned();
        let node = Remote::<Describe>::new(self.shared().exchange(peer), letters, NODE)?;
        let until = Instant::now() + ANSWER_WITHIN;
        let mut gathered = Gathered::of(name);
        while let Some(asked) = gathered.next() {
            let left = until.saturating_duration_since(Instant::now());
            gathered.add(node.clone().within(left).ask(asked).await?)?;
        }
        Ok(gathered.all)
    }

    /// Tells how the actor `"peer/name"`, or the node `"peer"`, comes and goes.
    ///
    /// A process that dies shows at once, by its connection; a cable that is cut, when nothing was
    /// heard for [`NodeConfig::link`](crate::NodeConfig)'s `dead_after` (15 s, unless it says
    /// otherwise); an actor that dies, within 0.25 s. What is watched keeps a link up.
    pub fn watch(&self, what: &str) -> Result<Watch, RemoteError> {
        let (peer, name) = self.peer_of(what)?;
        Ok(self.shared().exchange(peer).watch(name))
    }

    /// Returns the presence of an actor of this node.
    pub fn presence(&self, name: &str) -> Presence {
        self.directory()
            .presence(name)
            .map_or_else(|kind| Presence::Down { kind }, |()| Presence::Up)
    }

    fn peer_of<'a>(
        &self,
        to: &'a str,
    ) -> Result<(crate::wire::PeerId, Option<&'a str>), RemoteError> {
        let (peer, name) = to.split_once('/').map_or((to, None), |(peer, name)| (peer, Some(name)));
        let found = self
            .trust()
            .find(peer)
            .map_err(|error| RemoteError::new(RemoteErrorKind::UnknownPeer, error.to_string()))?;
        if found.0 == self.peer() {
            let text = format!(
                "{peer:?} is this node itself: its own actors are spoken to by their actix \
                 addresses"
            );
            return Err(RemoteError::new(RemoteErrorKind::UnknownPeer, text));
        }
        Ok((found.0, name))
    }
}

/// An actor that a node is to run: says what it takes, and what is done when it dies, then is
/// started.
pub struct Hosted<A: Actor<Context = Context<A>>> {
    keeper: Keeper<A>,
    mailboxes: Vec<Arc<dyn Mailbox>>,
}

impl<A: Actor<Context = Context<A>>> Hosted<A> {
    /// Sets what is done when the actor dies. Default: [`Strategy::Restart`].
    #[must_use]
    pub fn on_failure(mut self, strategy: Strategy) -> Self {
        self.keeper.strategy = strategy;
        if strategy == Strategy::Resume {
            self.keeper.place.intake.resume();
        }
        self
    }

    /// Sets the policy of its restarts: the wait before its next life, and the point at which it is
    /// given up. Default: [`NodeConfig::restart`](crate::NodeConfig).
    #[must_use]
    pub fn restarts(mut self, policy: RestartPolicy) -> Self {
        self.keeper.policy = policy;
        self
    }

    /// Wires it to an actor that this node hosts already: when that one dies, this one is stopped,
    /// and started after it (rest for one); when that one is given up, so is this one. Without
    /// this, each is started anew by itself (one for one).
    #[must_use]
    pub fn after(mut self, name: &str) -> Self {
        self.keeper.after.push(name.into());
        self
    }

    fn door<M: Message + Send + 'static>(&self) -> Arc<Door<M>>
    where
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
        M::Result: Send,
    {
        let door = Door::kept(Arc::clone(&self.keeper.place.fate));
        let opened = Arc::clone(&door);
        let open: Reopen<A> =
            Box::new(move |address: &Addr<A>| opened.reopen(address.clone().recipient()));
        self.keeper.place.doors.lock().unwrap_or_else(PoisonError::into_inner).push(open);
        door
    }

    /// It takes messages of this type; as JSON, too, where the type says so
    /// (`#[remote(…, json)]`).
    #[must_use]
    pub fn takes<M: RemoteMessage>(self) -> Self
    where
        A: Handler<M>,
    {
        let hosted = self.plain::<M, Native>();
        #[cfg(feature = "json")]
        if M::JSON {
            return hosted.takes_json::<M>();
        }
        hosted
    }

    /// It takes messages of this type, and answers by itself; as JSON, too, where the type says so.
    #[must_use]
    pub fn takes_asked<M: RemoteMessage>(self) -> Self
    where
        A: Handler<Asked<M>>,
    {
        let hosted = self.by_itself::<M, Native>();
        #[cfg(feature = "json")]
        if M::JSON {
            return hosted.takes_asked_json::<M>();
        }
        hosted
    }

    /// It takes calls with streams of this type; as JSON, too, where the type says so.
    #[must_use]
    pub fn takes_calls<M: RemoteMessage>(self) -> Self
    where
        A: Handler<Called<M>>,
    {
        let hosted = self.streams::<M, Native>();
        #[cfg(feature = "json")]
        if M::JSON {
            return hosted.takes_calls_json::<M>();
        }
        hosted
    }

    /// It takes messages of this type as JSON, from programs that don't have the type: under the
    /// name of the type and `+json`. [`JsonRemote`](crate::remote::JsonRemote) sends them.
    #[cfg(feature = "json")]
    #[must_use]
    pub fn takes_json<M: RemoteMessage>(self) -> Self
    where
        A: Handler<M>,
    {
        if self.has_json::<M>() { self } else { self.plain::<M, Json>() }
    }

    /// [`takes_json`](Self::takes_json), where it answers by itself.
    #[cfg(feature = "json")]
    #[must_use]
    pub fn takes_asked_json<M: RemoteMessage>(self) -> Self
    where
        A: Handler<Asked<M>>,
    {
        if self.has_json::<M>() { self } else { self.by_itself::<M, Json>() }
    }

    /// [`takes_json`](Self::takes_json), for calls with streams.
    #[cfg(feature = "json")]
    #[must_use]
    pub fn takes_calls_json<M: RemoteMessage>(self) -> Self
    where
        A: Handler<Called<M>>,
    {
        if self.has_json::<M>() { self } else { self.streams::<M, Json>() }
    }

    /// Returns `true` if it takes this type as JSON already: the type itself may have said so.
    #[cfg(feature = "json")]
    fn has_json<M: RemoteMessage>(&self) -> bool {
        let (name, version) = (Json::name::<M>(), M::VERSION);
        self.mailboxes
            .iter()
            .any(|mailbox| mailbox.message() == name && mailbox.version() == version)
    }

    fn plain<M: RemoteMessage, F: Form>(self) -> Self
    where
        A: Handler<M>,
    {
        let mailbox = Plain::<M, F>::new(self.door(), &self.keeper.name);
        self.taking(mailbox, plain::<A, M, F>, false)
    }

    fn by_itself<M: RemoteMessage, F: Form>(self) -> Self
    where
        A: Handler<Asked<M>>,
    {
        let mailbox = ByItself::<M, F>::new(self.door(), &self.keeper.name);
        self.taking(mailbox, asked::<A, M, F>, false)
    }

    fn streams<M: RemoteMessage, F: Form>(self) -> Self
    where
        A: Handler<Called<M>>,
    {
        let mailbox = Streams::<M, F>::new(self.door(), &self.keeper.name);
        self.taking(mailbox, called::<A, M, F>, true)
    }

    fn taking(mut self, mailbox: impl Mailbox + 'static, take: Take<A>, streams: bool) -> Self {
        let berth = Berth::new(mailbox, &self.keeper.place.intake, take, &self.keeper.name);
        self.mailboxes.push(Arc::new(if streams { berth.streaming() } else { berth }));
        self
    }

    /// Starts it, and gives it its name.
    ///
    /// # Errors
    /// When it panics or stops in its first `started`, or while it is made: nothing is left of it
    /// then. When the name is taken: by an actor that lives, or is being started anew; one that was
    /// given up leaves it.
    pub async fn start(self) -> Result<(), HostError> {
        let Self { keeper, mailboxes } = self;
        let (shared, name) = (Arc::clone(&keeper.shared), Arc::clone(&keeper.name));
        if let Some(to) = shared.hosted.missing(&keeper.after) {
            return Err(HostError::NotHosted { name: name.to_string(), to: to.to_string() });
        }
        // Before it does anything.
        shared.directory.check_offer(&name, &mailboxes)?;
        let (first, is_started) = oneshot::channel();
        let (named, is_named) = oneshot::channel();
        // It lives where it is spawned.
        shared.arbiter.spawn_fn(move || drop(actix::spawn(keeper.run(first, is_named))));
        let started = is_started.await.map_err(|_| HostError::Stopped)?;
        started.map_err(|why| HostError::Start { name: name.to_string(), why })?;
        shared.directory.offer_all(&name, mailboxes)?;
        // An error means that its node has stopped meanwhile.
        let _ = named.send(());
        Ok(())
    }
}

impl<A: Actor<Context = Context<A>>> std::fmt::Debug for Hosted<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hosted").field("name", &self.keeper.name).finish_non_exhaustive()
    }
}

//! A hostile peer: it knows the protocol, and says what it likes from any point on.

use std::net::SocketAddr;

use bytes::BytesMut;
use estafette::wire::{
    Choice, Control, ControlOpener, ControlSealer, Established, Frame, FrameDecoder, FrameHeader,
    FrameKind, KnockKey, LaneInitiator, LaneResponder, LinkInitiator, LinkResponder, Offer,
    PREAMBLE_LENGTH, Preamble, PreambleReply, Purpose, REPLY_LENGTH, RefuseReason, SecretBytes,
    Suite, choose, frame_handshake, handshake_length, lane_prologue, negotiate, prologue,
};
use estafette::{Identity, PeerId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::world::within;

/// The largest frame mallory offers to take.
pub(crate) const MAX_FRAME: u32 = 4 << 20;

#[derive(Clone, Debug)]
pub(crate) struct Mallory {
    pub(crate) identity: Identity,
    /// The node that it attacks, and its address.
    pub(crate) target: PeerId,
    pub(crate) address: String,
    /// The features that it says it has.
    pub(crate) features: u64,
}

impl Mallory {
    pub(crate) fn new(identity: Identity, target: PeerId, address: String) -> Self {
        Self { identity, target, address, features: 0 }
    }

    pub(crate) fn id(&self) -> PeerId {
        self.identity.peer()
    }

    /// The key that it needs to be heard at all.
    pub(crate) fn key(&self) -> KnockKey {
        KnockKey::of(self.target)
    }

    /// Message 1 as it goes over the wire.
    pub(crate) fn first(&self, preambles: &[u8], message: Vec<u8>) -> Vec<u8> {
        frame_handshake(&self.key().seal(preambles, message)).unwrap()
    }

    /// A connection on which nothing was said.
    pub(crate) async fn connect(&self) -> TcpStream {
        let stream = within(TcpStream::connect(&self.address)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// A connection from another host of the loopback network.
    pub(crate) async fn connect_from(&self, host: [u8; 4]) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((host, 0)))?;
        socket.connect(self.address.parse().unwrap()).await
    }

    /// A connection whose handshake has come to its end, and on which the first control message is
    /// due.
    pub(crate) async fn handshake(&self) -> Link {
        self.handshake_on(self.connect().await).await
    }

    async fn handshake_on(&self, mut io: TcpStream) -> Link {
        let preambles = preambles(&mut io, &self.key(), Purpose::Link).await;
        let initiator = LinkInitiator::new(&self.identity, self.target, &preambles).unwrap();
        let (message, waiting) =
            initiator.start(&Offer { features: self.features, ..offer() }).unwrap();
        io.write_all(&self.first(&preambles, message)).await.unwrap();
        let (choice, established) = waiting.finish(&handshake_message(&mut io).await).unwrap();
        Link::new(io, choice, established)
    }

    /// A link that stands.
    pub(crate) async fn link(&self) -> Link {
        self.link_on(self.connect().await).await
    }

    /// A link whose socket has hardly room for what is not read.
    pub(crate) async fn narrow_link(&self) -> Link {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        self.link_on(within(socket.connect(self.address.parse().unwrap())).await.unwrap()).await
    }

    async fn link_on(&self, io: TcpStream) -> Link {
        let mut link = self.handshake_on(io).await;
        link.say(&Control::Hello { name: "mallory".into(), token: None, inbox: None }).await;
        let welcome = link.hear().await;
        assert!(matches!(welcome, Some(Control::Welcome { .. })), "{welcome:?}");
        link
    }

    /// Asks for a bulk lane and opens it.
    pub(crate) async fn lane(&self, link: &mut Link, number: u16) -> Lane {
        let (id, secret) = link.lane_ticket(number).await;
        self.dial_lane(link, number, id, &secret).await
    }

    pub(crate) async fn dial_lane(
        &self,
        link: &Link,
        number: u16,
        id: [u8; 16],
        secret: &SecretBytes,
    ) -> Lane {
        let mut io = self.connect().await;
        let preambles = preambles(&mut io, &self.key(), Purpose::Lane(id)).await;
        let prologue = lane_prologue(&preambles, &link.hash, number);
        let (message, waiting) =
            LaneInitiator::new(secret.expose(), &prologue).unwrap().start().unwrap();
        io.write_all(&self.first(&preambles, message)).await.unwrap();
        let established = waiting.finish(&handshake_message(&mut io).await).unwrap();
        Lane(Channel::new(io, established.sealer, established.opener, MAX_FRAME))
    }
}

/// Mallory as a node that others dial.
#[derive(Debug)]
pub(crate) struct Server {
    identity: Identity,
    listener: TcpListener,
}

impl Server {
    pub(crate) async fn start(identity: Identity) -> Self {
        Self { identity, listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub(crate) fn address(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    pub(crate) async fn accept(&self) -> TcpStream {
        let (io, _) = within(self.listener.accept()).await.unwrap();
        io.set_nodelay(true).unwrap();
        io
    }

    /// The next connection, as a link.
    pub(crate) async fn link(&self) -> Link {
        self.answer(&Control::Welcome { name: "mallory".into() }).await
    }

    async fn answer(&self, word: &Control) -> Link {
        let (mut io, preambles) = self.greet().await;
        let responder = LinkResponder::new(&self.identity, &preambles).unwrap();
        let (_, theirs, ready) = responder.read(&self.first(&mut io, &preambles).await).unwrap();
        let choice = choose(&offer(), &theirs).unwrap();
        let (answer, established) = ready.finish(&choice).unwrap();
        io.write_all(&frame_handshake(&answer).unwrap()).await.unwrap();
        let mut link = Link::new(io, choice, established);
        let hello = link.hear().await;
        assert!(matches!(hello, Some(Control::Hello { .. })), "{hello:?}");
        link.say(word).await;
        link
    }

    /// Refuses the next connection, once the handshake is done, in these words.
    pub(crate) async fn refuse(&self, reason: &RefuseReason) -> Link {
        self.answer(&Control::Refuse { reason: reason.clone() }).await
    }

    /// Gives out a ticket for this lane, and takes the connection that comes with it.
    pub(crate) async fn lane(&self, link: &mut Link, number: u16) -> Lane {
        let (id, secret) = ([number as u8 + 1; 16], [9; 32]);
        link.say(&Control::LaneTicket { lane: number, id, secret: SecretBytes::new(secret) }).await;
        let (mut io, preambles) = self.greet().await;
        let responder =
            LaneResponder::new(&secret, &lane_prologue(&preambles, &link.hash, number)).unwrap();
        let (answer, established) =
            responder.read(&self.first(&mut io, &preambles).await).unwrap().finish().unwrap();
        io.write_all(&frame_handshake(&answer).unwrap()).await.unwrap();
        Lane(Channel::new(io, established.sealer, established.opener, MAX_FRAME))
    }

    async fn first(&self, io: &mut TcpStream, preambles: &[u8]) -> Vec<u8> {
        KnockKey::of(self.identity.peer())
            .open(preambles, &handshake_message(io).await)
            .unwrap()
            .to_vec()
    }

    async fn greet(&self) -> (TcpStream, Vec<u8>) {
        let mut io = self.accept().await;
        let mut bytes = [0; PREAMBLE_LENGTH];
        within(io.read_exact(&mut bytes)).await.unwrap();
        let preamble = Preamble::decode(&bytes, &KnockKey::of(self.identity.peer())).unwrap();
        let reply = negotiate(&preamble);
        io.write_all(&reply.encode()).await.unwrap();
        (io, prologue(&preamble, &reply).to_vec())
    }
}

/// The offer of mallory: what it says it can do.
pub(crate) fn offer() -> Offer {
    Offer { suites: vec![Suite::XSALSA20_POLY1305], features: 0, max_frame: MAX_FRAME, lanes: 2 }
}

/// Says a preamble and reads a reply that goes on.
pub(crate) async fn preambles(io: &mut TcpStream, key: &KnockKey, purpose: Purpose) -> Vec<u8> {
    let preamble = Preamble::new(purpose);
    let reply = reply_to(io, key, &preamble).await;
    reply.accept(&preamble).unwrap();
    prologue(&preamble, &reply).to_vec()
}

pub(crate) async fn reply_to(
    io: &mut TcpStream,
    key: &KnockKey,
    preamble: &Preamble,
) -> PreambleReply {
    io.write_all(&preamble.encode(key)).await.unwrap();
    let mut reply = [0; REPLY_LENGTH];
    within(io.read_exact(&mut reply)).await.unwrap();
    PreambleReply::decode(&reply).unwrap()
}

pub(crate) async fn handshake_message(io: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    within(io.read_exact(&mut length)).await.unwrap();
    let mut message = vec![0; handshake_length(length).unwrap()];
    within(io.read_exact(&mut message)).await.unwrap();
    message
}

/// Reads until the other side closes: it must.
pub(crate) async fn closed(mut io: impl AsyncReadExt + Unpin) {
    let mut sink = [0; 4096];
    // A reset is as good as an end.
    within(async { while matches!(io.read(&mut sink).await, Ok(1..)) {} }).await;
}

/// The other side closes, and has said nothing.
pub(crate) async fn silent(mut io: TcpStream) {
    let mut said = Vec::new();
    // A reset is as good as an end.
    let _ = within(io.read_to_end(&mut said)).await;
    assert!(said.is_empty(), "{said:02x?} was said to a stranger");
}

/// A connection after its handshake.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) io: TcpStream,
    pub(crate) sealer: ControlSealer,
    opener: ControlOpener,
    decoder: FrameDecoder,
    buffer: BytesMut,
}

/// A message or a frame that came by a channel.
#[derive(Debug)]
pub(crate) enum Heard {
    Control(Control),
    Chunk(Frame),
}

impl Channel {
    fn new(io: TcpStream, sealer: ControlSealer, opener: ControlOpener, max_frame: u32) -> Self {
        Self { io, sealer, opener, decoder: FrameDecoder::new(max_frame), buffer: BytesMut::new() }
    }

    pub(crate) async fn say(&mut self, control: &Control) {
        let frame = self.sealer.seal_control(control).unwrap();
        self.say_bytes(&frame).await;
    }

    pub(crate) async fn say_bytes(&mut self, bytes: &[u8]) {
        within(self.io.write_all(bytes)).await.unwrap();
    }

    /// The next frame; `None` when the other side has closed. May be dropped while it waits.
    pub(crate) async fn next(&mut self) -> Option<Heard> {
        loop {
            if let Some(frame) = self.decoder.decode(&mut self.buffer).unwrap() {
                return Some(match frame.header.kind {
                    FrameKind::Control => {
                        Heard::Control(self.opener.open_control(frame.body()).unwrap())
                    }
                    FrameKind::Chunk => Heard::Chunk(frame),
                });
            }
            if !matches!(self.io.read_buf(&mut self.buffer).await, Ok(1..)) {
                return None;
            }
        }
    }
}

/// An express link.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) channel: Channel,
    pub(crate) hash: [u8; 32],
}

impl Link {
    fn new(io: TcpStream, _: Choice, established: Established) -> Self {
        let Established { hash, sealer, opener, .. } = established;
        Self { channel: Channel::new(io, sealer, opener, MAX_FRAME), hash }
    }

    pub(crate) async fn say(&mut self, control: &Control) {
        self.channel.say(control).await;
    }

    /// The next message but pings, which are answered; `None` when the other side has closed.
    pub(crate) async fn hear(&mut self) -> Option<Control> {
        loop {
            match within(self.channel.next()).await? {
                Heard::Control(Control::Ping { nonce }) => self.say(&Control::Pong { nonce }).await,
                Heard::Control(control) => return Some(control),
                Heard::Chunk(frame) => panic!("a chunk on the express lane: {:?}", frame.header),
            }
        }
    }

    /// Waits for a message that `wanted` takes.
    pub(crate) async fn until<T>(&mut self, mut wanted: impl FnMut(Control) -> Option<T>) -> T {
        loop {
            let control = self.hear().await.expect("the link stays up");
            if let Some(found) = wanted(control) {
                return found;
            }
        }
    }

    /// The link stands, and all that was said before has been heard.
    pub(crate) async fn stands(&mut self) {
        self.say(&Control::Ping { nonce: 0x5eed }).await;
        self.until(|control| matches!(control, Control::Pong { nonce: 0x5eed }).then_some(()))
            .await;
    }

    /// The other side closes the link; what it said last.
    pub(crate) async fn closes(&mut self) -> Option<String> {
        let mut last = None;
        while let Some(control) = self.hear().await {
            if let Control::Goodbye { reason } = control {
                last = Some(reason);
            }
        }
        last
    }

    pub(crate) async fn lane_ticket(&mut self, number: u16) -> ([u8; 16], SecretBytes) {
        self.say(&Control::LaneRequest { lane: number }).await;
        self.until(|control| match control {
            Control::LaneTicket { lane, id, secret } if lane == number => Some((id, secret)),
            _ => None,
        })
        .await
    }
}

/// A bulk lane.
#[derive(Debug)]
pub(crate) struct Lane(pub(crate) Channel);

impl Lane {
    /// Sends a frame as it is.
    pub(crate) async fn send(&mut self, frame: &[u8]) {
        self.0.say_bytes(frame).await;
    }

    /// Waits until the other side has received these chunks.
    pub(crate) async fn acknowledged(&mut self, of: u64, indices: impl IntoIterator<Item = u64>) {
        let mut missing: Vec<u64> = indices.into_iter().collect();
        while !missing.is_empty() {
            let heard = within(self.0.next()).await.expect("the lane stays up");
            let Heard::Control(Control::Received { stream, indices }) = heard else {
                panic!("{heard:?} on a lane")
            };
            assert_eq!(stream, of);
            missing.retain(|&index| !indices.contains(index));
        }
    }

    pub(crate) async fn closes(&mut self) {
        within(async { while self.0.next().await.is_some() {} }).await;
    }
}

/// A frame with this header and body, whatever they say.
pub(crate) fn frame(header: FrameHeader, body: &[u8]) -> Vec<u8> {
    [&header.encode(), body].concat()
}

/// Returns `true` if a connection that may be thrown out at any time was answered.
pub(crate) async fn try_greet(io: &mut TcpStream, key: &KnockKey) -> bool {
    let mut reply = [0; REPLY_LENGTH];
    io.write_all(&Preamble::new(Purpose::Link).encode(key)).await.is_ok()
        && within(io.read_exact(&mut reply)).await.is_ok()
}

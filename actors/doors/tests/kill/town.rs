//! Both processes, what they have left on the disk, and clients of the doors.

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use tokio::net::TcpStream;

use crate::process::Process;
use crate::support::http::{Answer, Client, Incoming};
use crate::support::within;

/// More than what lies between a node and a client that does not read can hold.
pub(crate) const LARGE: usize = 32 << 20;

pub(crate) struct Town {
    /// `None` while it is dead.
    lyon: Option<Process>,
    paris: Option<Process>,
    client: Client,
    /// The addresses of paris and of lyon.
    addresses: [String; 2],
    folder: tempfile::TempDir,
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// The bytes of any content here, which differ from place to place.
pub(crate) fn content(length: usize) -> String {
    (0..length).map(|at| char::from(b'a' + ((at * at) >> 7) as u8 % 26)).collect()
}

impl Town {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("large"), content(LARGE)).unwrap();
        let (paris, ready) = Process::start(folder.path(), "paris", "").await;
        let client = Client { address: ([127, 0, 0, 1], 1).into(), token: None };
        let addresses = [text(&ready["address"]), String::new()];
        let mut town = Self { lyon: None, paris: Some(paris), client, addresses, folder };
        town.lyon_comes().await;
        town
    }

    pub(crate) fn lyon(&mut self) -> &mut Process {
        self.lyon.as_mut().unwrap()
    }

    pub(crate) fn paris(&mut self) -> &mut Process {
        self.paris.as_mut().unwrap()
    }

    pub(crate) async fn lyon_dies(&mut self) {
        self.lyon.take().unwrap().kill().await;
    }

    pub(crate) async fn lyon_comes(&mut self) {
        let (mut lyon, ready) =
            Process::start(self.folder.path(), "lyon", &self.addresses[0]).await;
        let address = text(&ready["door"]).parse().unwrap();
        self.client = Client { address, token: Some(text(&ready["token"])) };
        self.addresses[1] = text(&ready["address"]);
        lyon.hear("up").await;
        self.lyon = Some(lyon);
    }

    /// Paris dies, and lyon has seen so.
    pub(crate) async fn paris_dies(&mut self) {
        self.paris.take().unwrap().kill().await;
        self.lyon().say("down").await;
        self.lyon().hear("is-down").await;
    }

    /// It comes back with its key and its spool, and lyon is told where it is now.
    pub(crate) async fn paris_comes(&mut self) {
        let (paris, ready) = Process::start(self.folder.path(), "paris", "").await;
        self.addresses[0] = text(&ready["address"]);
        self.paris = Some(paris);
        let address = self.addresses[0].clone();
        self.lyon().say(&address).await;
    }

    /// Paris sends a large content to lyon's inbox; its path at the door.
    pub(crate) async fn large_arrives(&mut self) -> String {
        let lyon = self.addresses[1].clone();
        self.paris().say(&lyon).await;
        let sent = self.paris().hear("sent").await;
        format!("/v1/inbox/files/{}", text(&sent["id"]))
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// The orders, in each life of paris.
    pub(crate) fn diary(&self) -> Vec<Vec<String>> {
        let diary = fs::read_to_string(self.folder.path().join("diary")).unwrap_or_default();
        let mut lives = Vec::<(&str, Vec<String>)>::new();
        for (life, article) in diary.lines().map(|line| line.split_once(' ').unwrap()) {
            match lives.last_mut().filter(|(known, _)| *known == life) {
                Some((_, all)) => all.push(article.to_owned()),
                None => lives.push((life, vec![article.to_owned()])),
            }
        }
        lives.into_iter().map(|(_, all)| all).collect()
    }

    /// The names in the inbox of paris, but for those of contents that are not whole.
    pub(crate) fn arrived(&self) -> Vec<String> {
        let entries = fs::read_dir(self.inbox()).unwrap().map(|entry| entry.unwrap().file_name());
        let names = entries.map(|name| name.into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| !name.starts_with(".estafette-")).collect();
        names.sort();
        names
    }

    pub(crate) fn inbox(&self) -> PathBuf {
        self.folder.path().join("paris.in")
    }

    /// Begins a request, and says so much of its body when the door reads it.
    pub(crate) async fn half(
        &self,
        (method, path): (&str, &str),
        headers: &[&str],
        (half, length): (&str, usize),
    ) -> Incoming {
        let mut incoming = self.client.connect().await;
        let length = format!("Content-Length: {length}");
        let headers = [headers, &[&length, "Expect: 100-continue"]].concat();
        incoming.say(self.client.head(method, path, &headers)).await;
        assert_eq!(incoming.head().await.status, 100, "{method} {path}");
        incoming.say(half).await;
        incoming
    }

    /// Asks until the answer is the one that is waited for, by an event of the node each time.
    pub(crate) async fn state(&self, path: &str, wanted: &[&str]) -> Answer {
        within(async {
            loop {
                let told = self.client.ask("GET", path, &["Prefer: wait=60"], b"").await;
                assert_eq!(told.status, 200, "{told:?}");
                let state = text(&told.json()["state"]);
                if wanted.contains(&&*state) {
                    return told;
                }
                assert_ne!(state, "dead", "{told:?}");
            }
        })
        .await
    }

    /// A call of gRPC with its first request; a stream of them goes on.
    pub(crate) async fn call(&self, method: &str, request: &str, goes_on: bool) -> Call {
        let socket = within(TcpStream::connect(self.client.address)).await.unwrap();
        let (client, connection) = within(h2::client::handshake(socket)).await.unwrap();
        tokio::spawn(connection);
        let mut client: SendRequest<Bytes> = within(client.ready()).await.unwrap();
        let head = Request::post(format!("http://{}/shop.Shop/{method}", self.client.address))
            .header("content-type", "application/grpc")
            .header("authorization", format!("Bearer {}", self.client.token.as_ref().unwrap()))
            .header("grpc-timeout", "3600S")
            .header("te", "trailers");
        let (answer, mut to) = client.send_request(head.body(()).unwrap(), false).unwrap();
        let length = u32::try_from(request.len()).unwrap().to_be_bytes();
        let message = [&[0][..], &length, request.as_bytes()].concat();
        to.send_data(message.into(), !goes_on).unwrap();
        Call { answer: Some(answer), body: None, _to: to, _client: client }
    }
}

/// A call of gRPC.
pub(crate) struct Call {
    answer: Option<ResponseFuture>,
    body: Option<RecvStream>,
    _to: SendStream<Bytes>,
    _client: SendRequest<Bytes>,
}

impl Call {
    /// Waits for some of the answers.
    pub(crate) async fn answers(&mut self) {
        let answer = self.answer.take().unwrap();
        let mut body = within(answer).await.unwrap().into_body();
        assert!(!within(body.data()).await.unwrap().unwrap().is_empty());
        self.body = Some(body);
    }

    /// The code of its status, and whether it was handled; or that its connection broke.
    pub(crate) async fn status(mut self) -> Result<(String, String), h2::Error> {
        let of = |headers: &HeaderMap| {
            let text = |name| Some(headers.get(name)?.to_str().unwrap().to_owned());
            Some((text("grpc-status")?, text("estafette-handled")?))
        };
        if let Some(answer) = self.answer.take() {
            let (head, body) = within(answer).await?.into_parts();
            if let Some(status) = of(&head.headers) {
                return Ok(status);
            }
            self.body = Some(body);
        }
        let mut body = self.body.take().unwrap();
        while let Some(data) = within(body.data()).await {
            body.flow_control().release_capacity(data?.len())?;
        }
        Ok(within(body.trailers()).await?.as_ref().and_then(of).expect("a status"))
    }
}

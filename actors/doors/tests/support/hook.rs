//! Somebody else's web server, which is posted to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// The answer to a request.
#[derive(Clone, Debug)]
pub(crate) enum Answers {
    /// An answer with that status and these lines of its head.
    Status(u16, &'static str),
    /// These bytes, and the connection is closed.
    Raw(Vec<u8>),
    /// These bytes, and nothing more until the client closes.
    Hangs(Vec<u8>),
}

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Posted {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// A server that does what it is told with one request after the other, and answers 204 when it
/// is told nothing.
pub(crate) struct Receiver {
    pub(crate) address: std::net::SocketAddr,
    script: Arc<Mutex<VecDeque<Answers>>>,
    came: mpsc::UnboundedReceiver<Posted>,
}

impl Posted {
    pub(crate) fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut found = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = found.next().unwrap_or_else(|| panic!("no {name} in {}", self.head)).1;
        assert!(found.next().is_none(), "{name} twice");
        value
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Reads one; `None` at the end of the connection.
    async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Self> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        let mut posted = Self { head: String::from_utf8(head).unwrap(), body: Vec::new() };
        posted.body = vec![0; posted.header("content-length").parse().unwrap()];
        stream.read_exact(&mut posted.body).await.ok()?;
        Some(posted)
    }
}

impl Receiver {
    pub(crate) async fn new(script: impl IntoIterator<Item = Answers>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script: Arc<Mutex<VecDeque<_>>> = Arc::new(Mutex::new(script.into_iter().collect()));
        let (sender, came) = mpsc::unbounded_channel();
        let told = Arc::clone(&script);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&told), sender.clone()));
            }
        });
        Self { address, script, came }
    }

    /// One that is reached by TLS alone.
    #[cfg(feature = "webhooks")]
    pub(crate) async fn secured(tls: tokio_rustls::TlsAcceptor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::<Mutex<VecDeque<_>>>::default();
        let (sender, came) = mpsc::unbounded_channel();
        let told = Arc::clone(&script);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (accepting, told, came) = (tls.accept(stream), told.clone(), sender.clone());
                tokio::spawn(async move {
                    // Some do not like its certificate.
                    if let Ok(mut stream) = accepting.await {
                        serve(&mut stream, told, came).await;
                        stream.shutdown().await.ok();
                    }
                });
            }
        });
        Self { address, script, came }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook?key=1", self.address)
    }

    /// Adds what it does next, behind what it was told before.
    pub(crate) fn then(&self, answers: Answers) {
        self.script.lock().unwrap().push_back(answers);
    }

    /// The next request.
    pub(crate) async fn next(&mut self) -> Posted {
        super::within(self.came.recv()).await.unwrap()
    }

    /// Those that have come and were not taken.
    pub(crate) fn rest(&mut self) -> Vec<Posted> {
        std::iter::from_fn(|| self.came.try_recv().ok()).collect()
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    script: Arc<Mutex<VecDeque<Answers>>>,
    came: mpsc::UnboundedSender<Posted>,
) {
    let Some(posted) = Posted::read(&mut stream).await else { return };
    let next = script.lock().unwrap().pop_front().unwrap_or(Answers::Status(204, ""));
    came.send(posted).ok();
    let (bytes, hangs) = match next {
        Answers::Status(status, lines) => {
            let text = format!("HTTP/1.1 {status} So\r\n{lines}content-length: 0\r\n\r\n");
            (text.into_bytes(), false)
        }
        Answers::Raw(bytes) => (bytes, false),
        Answers::Hangs(bytes) => (bytes, true),
    };
    // The client may have had enough.
    stream.write_all(&bytes).await.ok();
    if hangs {
        stream.read_u8().await.ok();
    }
}

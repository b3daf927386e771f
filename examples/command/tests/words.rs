//! Tests of texts from a hostile receiver, as the command shows them: none of them may steer the
//! terminal.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use estafette::wire::{
    Control, ControlOpener, ControlSealer, Failure, FrameDecoder, KnockKey, LinkResponder, Offer,
    PREAMBLE_LENGTH, Preamble, RefuseReason, Suite, choose, frame_handshake, handshake_length,
    is_visible, negotiate, prologue,
};
use estafette::{FailureKind, Identity, Ticket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Clears the screen, names a window, begins a line of its own, turns the direction of writing, and
/// hides.
const WORDS: &str = "bye\u{1b}[2J\u{1b}]0;x\u{7}\r\nerror: \
                     \u{9b}31m\u{202e}txt.\u{2066}\u{200f}\u{61c}\u{200b}\u{2028}\u{feff}end";

/// A link from the command.
struct Link {
    io: TcpStream,
    sealer: ControlSealer,
    opener: ControlOpener,
    decoder: FrameDecoder,
    bytes: bytes::BytesMut,
}

impl Link {
    async fn accept(listener: &TcpListener, identity: &Identity) -> Self {
        let (mut io, _) = listener.accept().await.unwrap();
        let mut preamble = [0; PREAMBLE_LENGTH];
        io.read_exact(&mut preamble).await.unwrap();
        let key = KnockKey::of(identity.peer());
        let preamble = Preamble::decode(&preamble, &key).unwrap();
        let reply = negotiate(&preamble);
        io.write_all(&reply.encode()).await.unwrap();
        let prologue = prologue(&preamble, &reply);
        let responder = LinkResponder::new(identity, &prologue).unwrap();
        let mut length = [0; 2];
        io.read_exact(&mut length).await.unwrap();
        let mut message = vec![0; handshake_length(length).unwrap()];
        io.read_exact(&mut message).await.unwrap();
        let (_, theirs, ready) = responder.read(key.open(&prologue, &message).unwrap()).unwrap();
        let ours = Offer {
            suites: vec![Suite::XSALSA20_POLY1305],
            features: 0,
            max_frame: 1 << 20,
            lanes: 2,
        };
        let (answer, established) = ready.finish(&choose(&ours, &theirs).unwrap()).unwrap();
        io.write_all(&frame_handshake(&answer).unwrap()).await.unwrap();
        let (sealer, opener) = (established.sealer, established.opener);
        Self {
            io,
            sealer,
            opener,
            decoder: FrameDecoder::new(1 << 20),
            bytes: bytes::BytesMut::new(),
        }
    }

    async fn say(&mut self, control: &Control) {
        self.io.write_all(&self.sealer.seal_control(control).unwrap()).await.unwrap();
    }

    async fn opening(&mut self) -> u64 {
        loop {
            match self.decoder.decode(&mut self.bytes).unwrap() {
                Some(frame) => {
                    if let Control::Open(opening) = self.opener.open_control(frame.body()).unwrap()
                    {
                        return opening.stream;
                    }
                }
                None => assert_ne!(
                    self.io.read_buf(&mut self.bytes).await.unwrap(),
                    0,
                    "the command has closed the link"
                ),
            }
        }
    }
}

/// Returns what the command says, with and without `--json`, of a receiver that says this.
async fn sends_to(folder: &Path, arguments: &[&str], says: impl AsyncFn(&mut Link)) -> Output {
    let identity = Identity::generate();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ticket = Ticket::new(
        identity.peer(),
        vec![listener.local_addr().unwrap().to_string()],
        "files".into(),
        [9; 32],
    )
    .unwrap();
    let file = folder.join("file");
    fs::write(&file, "content").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_estafette"));
    command
        .env_clear()
        .env("HOME", folder)
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.args(arguments).arg("-vv").arg("--key").arg(folder.join("lyon.key")).args([
        "send",
        "--patience",
        "60s",
    ]);
    let child = command
        .arg(&file)
        .arg(ticket.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = child.spawn().unwrap();
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    let mut link = Link::accept(&listener, &identity).await;
    says(&mut link).await;
    // Who dials again is served again.
    let again = async {
        loop {
            let mut link = Link::accept(&listener, &identity).await;
            says(&mut link).await;
        }
    };
    tokio::select! {
        output = ended => output.unwrap(),
        () = again => unreachable!(),
    }
}

fn tame(output: &Output, has_colours: bool) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let mut text = String::from_utf8(text).unwrap();
    if has_colours {
        for colour in [
            "\u{1b}[0m",
            "\u{1b}[2m",
            "\u{1b}[1m",
            "\u{1b}[3m",
            "\u{1b}[31m",
            "\u{1b}[32m",
            "\u{1b}[33m",
            "\u{1b}[34m",
            "\u{1b}[1;31m",
        ] {
            text = text.replace(colour, "");
        }
    }
    let odd: Vec<_> =
        text.chars().filter(|character| *character != '\n' && !is_visible(*character)).collect();
    assert!(odd.is_empty(), "{odd:?} in {text:?}");
    assert!(text.contains("bye"), "it is said: {text}");
    assert!(
        !text.lines().any(|line| line.starts_with("error: \\u{9b}")),
        "no line is the peer's: {text}"
    );
    text
}

fn rejection(stream: u64) -> Control {
    Control::Reject {
        stream,
        failure: Failure::new(FailureKind::Refused, WORDS).in_stage("zip\u{1b}[2J\u{202e}"),
    }
}

#[tokio::test]
async fn words_of_a_receiver_do_not_steer_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["--color", "never"][..], &["--color", "always"]] {
        let has_colours = arguments[1] == "always";
        let refused = sends_to(folder.path(), arguments, async |link| {
            link.say(&Control::Refuse { reason: RefuseReason::Other(WORDS.into()) }).await
        });
        tame(&refused.await, has_colours);
        let rejected = sends_to(folder.path(), arguments, async |link| {
            link.say(&Control::Welcome { name: WORDS.chars().take(60).collect() }).await;
            let stream = link.opening().await;
            link.say(&rejection(stream)).await;
        });
        let text = tame(&rejected.await, has_colours);
        assert!(text.contains("in stage zip"), "{text}");
    }
}

#[tokio::test]
async fn a_goodbye_does_not_steer_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let times = std::cell::Cell::new(0);
    let gone = sends_to(folder.path(), &["--color", "never"], async |link| {
        link.say(&Control::Welcome { name: "paris".into() }).await;
        let stream = link.opening().await;
        times.set(times.get() + 1);
        let word = if times.get() == 1 {
            Control::Goodbye { reason: WORDS.into() }
        } else {
            rejection(stream)
        };
        link.say(&word).await;
    });
    let text = tame(&gone.await, false);
    assert!(text.contains("closed the link: bye"), "{text}");
}

#[tokio::test]
async fn json_has_the_words_in_its_own_escapes() {
    let folder = tempfile::tempdir().unwrap();
    let refused = sends_to(folder.path(), &["--json"], async |link| {
        link.say(&Control::Welcome { name: "paris".into() }).await;
        let stream = link.opening().await;
        link.say(&rejection(stream)).await;
    });
    let output = refused.await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.bytes().all(|byte| byte == b'\n' || byte >= b' '), "{text:?}");
    let error = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .find(|event| event["event"] == "error");
    assert!(error.unwrap()["message"].as_str().unwrap().contains("bye"));
}

//! Every contender that is built brings a small stream across, in two real processes; one that
//! spoils the stream fails. Without the usual harness, since the processes are this very program.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use estafette_benches::{Check, Contender, Job, Kind, Side, Usage, contenders, play_role, run};

fn main() -> ExitCode {
    let mut all = contenders();
    all.push(SPOILER);
    if let Some(code) = play_role(&all) {
        return code;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for contender in contenders() {
        for kind in [Kind::Text, Kind::Random] {
            runtime.block_on(brings_the_stream_across(&contender, kind));
        }
    }
    runtime.block_on(a_spoilt_stream_fails());
    ExitCode::SUCCESS
}

async fn brings_the_stream_across(contender: &Contender, kind: Kind) {
    let (sender, receiver) = run(contender, &job(kind), PATIENCE).await.expect("it comes across");
    for usage in [sender, receiver] {
        assert!(
            usage.seconds > 0.0 && usage.cpu_seconds > 0.0,
            "{} took no time: {usage:?}",
            contender.name
        );
        assert!(
            usage.peak_bytes > job(kind).block as u64,
            "{} used no memory: {usage:?}",
            contender.name
        );
    }
    println!("{} brings {kind} across ... ok", contender.name);
}

async fn a_spoilt_stream_fails() {
    let error = run(&SPOILER, &job(Kind::Text), PATIENCE).await.expect_err("the receiver sees it");
    println!("a spoilt stream fails ({error:#}) ... ok");
}

/// Neither a whole number of pieces nor of blocks.
fn job(kind: Kind) -> Job {
    Job { kind, seed: 1, bytes: 2_500_000, block: 1 << 20, piece: 100_000 }
}

const PATIENCE: Duration = Duration::from_secs(60);

const SPOILER: Contender = Contender {
    name: "spoiler",
    about: "changes one byte",
    check: Check::Compare,
    receive: receive_spoilt,
    send: send_spoilt,
};

fn receive_spoilt(side: Side) -> Result<Usage> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    side.announce(&listener.local_addr()?.to_string());
    let mut checker = side.checker();
    let (mut socket, _) = listener.accept()?;
    let clock = side.start();
    let mut stream = Vec::new();
    socket.read_to_end(&mut stream)?;
    checker.take(&stream)?;
    checker.finish(&[])?;
    clock.stop()
}

fn send_spoilt(side: Side, address: &str) -> Result<Usage> {
    let mut socket = TcpStream::connect(address)?;
    let clock = side.start();
    let mut stream: Vec<u8> = side.pieces().flat_map(|piece| piece.to_vec()).collect();
    stream[2_000_000] ^= 1;
    socket.write_all(&stream)?;
    clock.stop()
}

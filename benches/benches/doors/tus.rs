//! Uploads by tus to a receiver who is away, beside writing the same parts to the same disk.

use std::fs::File;
use std::io::Write as _;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use estafette_benches::{Corpus, Kind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::role::Role;
use crate::{Bench, print};

/// Bytes of an upload.
const LENGTH: usize = 256 << 20;
/// Bytes of a part, which is durable before the next one begins; and of all in one part.
const PARTS: [(&str, usize); 2] = [("8 MiB", 8 << 20), ("256 MiB", LENGTH)];
const MIB: f64 = (1 << 20) as f64;

pub(crate) fn uploads(bench: &Bench<'_>) -> Result<()> {
    let corpus = Corpus::generate(Kind::Random, 16, 8 << 20);
    let content: Vec<Bytes> = corpus.pieces(LENGTH as u64, 1 << 20).collect();
    for (name, part) in PARTS {
        let per_part = part >> 20;
        let ways = [("disk", false), ("door", true)];
        let measured = bench.measure("tus", ["mib_per_second"], &ways, async |by_door| {
            let parts = content.chunks(per_part);
            let seconds = if by_door { upload(parts).await? } else { write(parts)? };
            Ok([LENGTH as f64 / MIB / seconds])
        })?;
        let disk = measured[0][0];
        let rows = ways
            .iter()
            .zip(&measured)
            .map(|((name, _), &[rate])| (*name, vec![(rate, 0), (rate / disk, 2)]));
        print(
            &format!(
                "256 MiB in parts of {name}, each durable before the next: written and synced by \
                 one process; by tus, sealed into the spool of a node whose peer is away"
            ),
            &["by", "MiB/s", "÷ disk"],
            rows.collect(),
            "≥ 0.8 × the disk's own synced writing",
        );
    }
    Ok(())
}

/// Seconds that the disk takes for the parts.
fn write<'a>(parts: impl Iterator<Item = &'a [Bytes]>) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let started = Instant::now();
    let mut file = File::create(folder.path().join("content"))?;
    for part in parts {
        part.iter().try_for_each(|piece| file.write_all(piece))?;
        file.sync_data()?;
    }
    file.sync_all()?;
    Ok(started.elapsed().as_secs_f64())
}

/// Seconds that an upload takes, from its creation until its last part is answered.
async fn upload<'a>(parts: impl Iterator<Item = &'a [Bytes]>) -> Result<f64> {
    let door = Role::start("idle", "")?;
    let (address, token) = door.said().split_once(' ').context("an address and a token")?;
    let mut socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let head = |method: &str, path: &str, headers: &str, length: usize| {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
             Tus-Resumable: 1.0.0\r\n{headers}\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let started = Instant::now();
    let length = format!("Upload-Length: {LENGTH}");
    let begun = head("POST", "/v1/uploads/paris/files", &length, 0);
    socket.write_all(begun.as_bytes()).await?;
    let answer = answer(&mut socket, "201").await?;
    let place = answer.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("location").then(|| value.to_owned())
    });
    let place = place.with_context(|| format!("no place in {answer}"))?;
    let mut offset = 0;
    for part in parts {
        let length: usize = part.iter().map(Bytes::len).sum();
        let headers =
            format!("Content-Type: application/offset+octet-stream\r\nUpload-Offset: {offset}");
        socket.write_all(head("PATCH", &place, &headers, length).as_bytes()).await?;
        for piece in part {
            socket.write_all(piece).await?;
        }
        self::answer(&mut socket, "204").await?;
        offset += length;
    }
    Ok(started.elapsed().as_secs_f64())
}

/// An answer without a body, which is as it should be.
async fn answer(socket: &mut TcpStream, status: &str) -> Result<String> {
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let came = socket.read_buf(&mut answer).await?;
        ensure!(came > 0, "the door hung up: {}", String::from_utf8_lossy(&answer));
    }
    let answer = String::from_utf8(answer)?;
    ensure!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "the door said: {answer}");
    Ok(answer)
}

//! The work of each codec on one chunk, one at a time and in cache: `cargo bench -p
//! estafette-benches --bench codec`.
//!
//! `stages` says what the same costs in place. Arguments are the settings of all benches;
//! criterion's own are not taken.

use std::hint::black_box;
use std::time::Duration;

use anyhow::Result;
use bytes::BytesMut;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use estafette::pipeline::ChunkCodec;
use estafette_actors::compress::{Lz4, Snappy};
use estafette_actors::seal::{Aes, Cipher, Fast, Reference};
use estafette_benches::{Kit, Settings};

fn main() -> Result<()> {
    let settings = Settings::read();
    let chunk = (settings.piece_kib as usize) << 10;
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    for &kind in &settings.kinds {
        let mut kit = Kit::new(kind, chunk)?;
        let mut group = criterion.benchmark_group(format!("codec/{kind}"));
        group.throughput(Throughput::Bytes(chunk as u64));
        compression(&mut group, &mut kit, &Lz4)?;
        compression(&mut group, &mut kit, &Snappy)?;
        sealing(&mut group, &mut kit, "dryoc", &Fast);
        sealing(&mut group, &mut kit, "reference", &Reference);
        if let Some(aes) = Aes::detect() {
            sealing(&mut group, &mut kit, "AES-256-GCM", &aes);
        }
        group.bench_function("BLAKE3 subtree", |bencher| bencher.iter(|| black_box(kit.subtree())));
        frames(&mut group, &mut kit);
        group.finish();
        kit.check()?;
    }
    criterion.final_summary();
    Ok(())
}

fn compression(
    group: &mut BenchmarkGroup<'_, WallTime>,
    kit: &mut Kit,
    codec: &impl ChunkCodec,
) -> Result<()> {
    let (name, length) = (codec.name(), kit.compress(codec)?);
    println!("{name}: {length} bytes of {}", kit.header().len);
    group.bench_function(format!("{name} compress"), |bencher| {
        bencher.iter(|| black_box(kit.compress(codec).expect("there is room")))
    });
    group.bench_function(format!("{name} decompress"), |bencher| {
        bencher.iter(|| black_box(kit.decompress(codec).expect("it is whole")))
    });
    Ok(())
}

fn sealing<const N: usize>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    kit: &mut Kit,
    name: &str,
    cipher: &impl Cipher<Nonce = [u8; N]>,
) {
    group.bench_function(format!("seal, {name}"), |bencher| {
        bencher.iter(|| black_box(kit.seal(cipher)))
    });
    group.bench_function(format!("open, {name}"), |bencher| {
        bencher.iter(|| kit.open(cipher).expect("it was sealed so"))
    });
}

fn frames(group: &mut BenchmarkGroup<'_, WallTime>, kit: &mut Kit) {
    group.bench_function("frame encode", |bencher| bencher.iter(|| black_box(kit.encode_frame())));
    let mut buffer = BytesMut::new();
    group.bench_function("frame decode", |bencher| {
        bencher.iter(|| black_box(kit.decode_frame(&mut buffer).expect("it is whole")))
    });
}

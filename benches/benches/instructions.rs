//! Instructions per chunk, counted by valgrind, so the same on a busy machine as on a quiet one:
//! `cargo bench -p estafette-benches --features instructions --bench instructions`.
//!
//! Valgrind knows no AVX-512: on processors that have it, the counts are those of the AVX2 code.
//! Comparing with an earlier run is `gungraun`'s own work; it keeps the last counts in
//! `target/gungraun`.

#[cfg(not(feature = "instructions"))]
fn main() {
    eprintln!(
        "\nSKIPPED instructions: not built; add --features instructions, which needs valgrind and \
         gungraun-runner\n"
    );
}

#[cfg(feature = "instructions")]
fn main() {
    use std::process::Command;
    // The runner starts this program again, inside valgrind, and looked for both itself.
    if !std::env::args().any(|argument| argument == "--gungraun-run") {
        let hints = [
            ("gungraun-runner", "cargo install gungraun-runner --version 0.20.0"),
            ("valgrind", "your system's package manager, e.g. apt-get install valgrind"),
        ];
        for (program, how) in hints {
            if Command::new(program).arg("--version").output().is_err() {
                return eprintln!(
                    "\nSKIPPED instructions: {program} is not installed; it comes by: {how}\n"
                );
            }
        }
    }
    counted::run();
}

#[cfg(feature = "instructions")]
#[allow(missing_docs, unreachable_pub, reason = "what the macros make is nobody's interface")]
mod counted {
    use std::hint::black_box;

    use bytes::BytesMut;
    use estafette_actors::compress::Snappy;
    use estafette_actors::seal::{Fast, Reference};
    use estafette_benches::{Kind, Kit};
    use gungraun::{library_benchmark, library_benchmark_group, main};

    const CHUNK: usize = 256 << 10;

    fn text() -> Kit {
        kit(Kind::Text)
    }

    fn random() -> Kit {
        kit(Kind::Random)
    }

    /// All that follows was run once before: tables are made and processors were asked what they
    /// can do.
    fn kit(kind: Kind) -> Kit {
        let mut kit = Kit::new(kind, CHUNK).expect("a chunk of this size can be made");
        kit.decompress(&Snappy).expect("it is whole");
        kit.seal(&Fast);
        kit.open(&Fast).expect("it was sealed so");
        black_box(kit.subtree());
        kit
    }

    #[library_benchmark]
    #[bench::text(text())]
    #[bench::random(random())]
    fn compress(mut kit: Kit) -> Kit {
        black_box(kit.compress(&Snappy).expect("there is room"));
        kit
    }

    #[library_benchmark]
    #[bench::text(text())]
    #[bench::random(random())]
    fn decompress(mut kit: Kit) -> Kit {
        black_box(kit.decompress(&Snappy).expect("it is whole"));
        kit
    }

    #[library_benchmark]
    #[bench::any(random())]
    fn seal(mut kit: Kit) -> Kit {
        black_box(kit.seal(&Fast));
        kit
    }

    #[library_benchmark]
    #[bench::any(random())]
    fn open(mut kit: Kit) -> Kit {
        kit.open(&Fast).expect("it was sealed so");
        kit
    }

    #[library_benchmark]
    #[bench::any(random())]
    fn seal_by_the_reference(mut kit: Kit) -> Kit {
        black_box(kit.seal(&Reference));
        kit
    }

    #[library_benchmark]
    #[bench::any(random())]
    fn subtree(kit: Kit) -> Kit {
        black_box(kit.subtree());
        kit
    }

    #[library_benchmark]
    #[bench::any(random())]
    fn encode_frame(mut kit: Kit) -> Kit {
        black_box(kit.encode_frame());
        kit
    }

    #[library_benchmark]
    #[bench::any(random())]
    fn decode_frame(kit: Kit) -> Kit {
        black_box(kit.decode_frame(&mut BytesMut::with_capacity(2 * CHUNK)).expect("it is whole"));
        kit
    }

    library_benchmark_group!(
        name = chunk,
        benchmarks = [
            compress,
            decompress,
            seal,
            open,
            seal_by_the_reference,
            subtree,
            encode_frame,
            decode_frame
        ]
    );
    main!(library_benchmark_groups = chunk);

    pub(super) fn run() {
        main();
    }
}

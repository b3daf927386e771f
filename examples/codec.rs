//! A codec of your own: chunks made smaller as you know best, registered at both ends under a name.
//! This one knows columns of numbers, of which each is near the one before.
//!
//! `cargo run -p estafette-examples --example codec`

use estafette::pipeline::{ChunkCodec, Codec, CodecFault};
use estafette::prelude::*;
use estafette_actors::source::BytesSource;
use estafette_actors::{sink::MemorySink, standard};

/// Each number of 8 bytes as its distance from the one before, if that fits into a byte.
#[derive(Debug)]
struct Steps;

const NAME: &str = "steps";
const ID: Codec = Codec(16);

fn numbers(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.chunks_exact(8).map(|bytes| u64::from_le_bytes(bytes.try_into().expect("8 bytes")))
}

impl ChunkCodec for Steps {
    fn id(&self) -> Codec {
        ID
    }

    fn name(&self) -> &str {
        NAME
    }

    fn bound(&self, length: usize) -> usize {
        length
    }

    fn compress(&self, bytes: &[u8], into: &mut [u8]) -> Result<usize, CodecFault> {
        let (mut before, mut written) = (0_u64, 0);
        for number in numbers(bytes) {
            let step = number.wrapping_sub(before);
            // What is as long as it was goes raw.
            let Ok(step) = u8::try_from(step) else { return Ok(bytes.len()) };
            (into[written], before, written) = (step, number, written + 1);
        }
        Ok(if bytes.len().is_multiple_of(8) { written } else { bytes.len() })
    }

    fn decompress(&self, bytes: &[u8], into: &mut [u8]) -> Result<usize, CodecFault> {
        // A peer made `bytes`; `into` is bounded.
        let mut number = 0_u64;
        for (step, bytes) in bytes.iter().zip(into.chunks_exact_mut(8)) {
            number = number.wrapping_add(u64::from(*step));
            bytes.copy_from_slice(&number.to_le_bytes());
        }
        Ok(bytes.len() * 8)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let stages = || standard().codec(Steps);
    let paris = Node::builder().listen("127.0.0.1:0").stages(stages()).start().await?;
    let (inbox, mut deliveries) = MemorySink::channel(1 << 20, 1);
    paris.receive("columns", inbox)?;

    let lyon = Node::builder().stages(stages()).start().await?;
    let column: Vec<u8> = (0..100_u64).flat_map(|number| (7 * number).to_le_bytes()).collect();
    let options = SendOptions { compression: Some(ID.into()), ..SendOptions::default() };
    let source = BytesSource::new("column", column.clone())?;
    let transfer = lyon.send_with(paris.ticket("columns")?, source, options).await?;
    transfer.delivered().await?;

    assert_eq!(deliveries.recv().await.expect("it was delivered").bytes, column);
    println!("compressed with {:?}", transfer.status().codec);
    lyon.shutdown().await;
    paris.shutdown().await;
    Ok(())
}

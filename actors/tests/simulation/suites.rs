//! Tests of the suite that two nodes seal with: the first that both have, whoever dials. A delivery
//! is begun anew when its receiver comes back with fewer suites.

use std::fs;

use estafette::node::StageRegistry;
use estafette::testing::Pair;
use estafette::wire::Suite;
use estafette::{NodeConfig, TransferNews};
use estafette_actors::sink::FileSink;
use estafette_actors::standard;
use tempfile::tempdir;

use super::harness::{CHUNK, WINDOW, World, config, news, source, within};

const SALSA: Suite = Suite::XSALSA20_POLY1305;

/// The suite that this machine prefers; AES, where it has it.
fn preferred() -> Suite {
    standard().stages().suites()[0]
}

fn lesser() -> StageRegistry {
    standard().without_sealer(Suite::AES_256_GCM)
}

#[tokio::test]
async fn nodes_seal_with_the_first_suite_that_both_have_and_say_which() {
    for (lyon, paris, suite) in [
        (standard(), standard(), preferred()),
        (lesser(), standard(), SALSA),
        (standard(), lesser(), SALSA),
        (lesser(), lesser(), SALSA),
    ] {
        let mut world = World::with(1, config(), lyon, paris).await;
        let bytes = world.random.bytes(100 * CHUNK + 17);
        let mut there = world.pair.paris.events();
        // Once before there is a link, and once by it.
        for _ in 0..2 {
            let transfer = world.send(&bytes).await;
            let receipt = within(transfer.delivered()).await.unwrap();
            world.check(&receipt, &bytes).await;
            assert_eq!(transfer.status().suite, Some(suite));
            let begun = news(&mut there, |news| matches!(news, TransferNews::Started { .. })).await;
            assert!(matches!(begun, TransferNews::Started { suite: said, .. } if said == suite));
        }
        world.stop().await;
    }
}

#[tokio::test]
async fn a_delivery_is_begun_anew_when_its_receiver_comes_back_without_its_suite() {
    for (before, after) in [(standard(), lesser()), (lesser(), standard())] {
        let [first, last] = [&before, &after].map(|registry| registry.stages().suites()[0]);
        let (folder, config) = (tempdir().unwrap(), NodeConfig { checkpoint: 0, ..config() });
        let mut pair = Pair::start(1, config, standard(), before).await.unwrap();
        pair.paris.receive("in", FileSink::into_dir(folder.path())).unwrap();
        let bytes = estafette::testing::Random::seeded(1).bytes(200 * CHUNK + 17);
        let mut events = pair.lyon.events();
        let transfer = pair.lyon.send("paris/in", source(&bytes)).await.unwrap();
        within(pair.network.carries(2 * WINDOW as u64)).await;
        pair.network.refuse("paris", true);
        pair.restart_paris(after).await.unwrap();
        pair.paris.receive("in", FileSink::into_dir(folder.path())).unwrap();
        pair.network.refuse("paris", false);
        within(transfer.delivered()).await.unwrap();
        assert!(fs::read(folder.path().join("content")).unwrap() == bytes);
        assert_eq!(transfer.status().suite, Some(last), "it began with {first}");
        let said = news(&mut events, |news| matches!(news, TransferNews::Restarted { .. })).await;
        let TransferNews::Restarted { attempt, why } = said else { unreachable!() };
        assert_eq!(attempt, 1);
        if first != last && last == SALSA {
            assert!(why.contains("opens XSalsa20-Poly1305 now"), "{why}");
        }
        pair.lyon.shutdown().await;
        pair.paris.shutdown().await;
    }
}

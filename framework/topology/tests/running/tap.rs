//! Taps and recordings of routes: what they see by a relay, and that no route waits for them.

use std::fs;
use std::path::Path;

use estafette_actors::standard;
use estafette_topology::{
    RouteTaps, RunningNode, TapContent, TapError, TapNews, TapOptions, Topology,
};

use crate::harness::HANGS;

const NODES: &str = r#"
    [node.lyon]
    [node.gate]
    listen = "unix:{here}/gate.sock"
    relay = true
    [node.paris]
    listen = "unix:{here}/paris.sock"
    [inbox.letters]
    node = "paris"
    sink = { folder = "in" }
    [route.post]
    from = "lyon"
    source = { each = "out" }
    to = "paris/letters"
    tap = { shows = "content", record = "lyon" }
"#;

async fn start(place: &Path, text: &str) -> [RunningNode; 3] {
    fs::create_dir(place.join("out")).unwrap();
    let text = text.replace("{here}", place.to_str().unwrap());
    fs::write(place.join("topology.toml"), text).unwrap();
    let topology = Topology::load(place.join("topology.toml"), &standard()).unwrap();
    topology.make_keys().unwrap();
    let start = async |name: &str| topology.start(name, standard()).await.unwrap();
    [start("gate").await, start("paris").await, start("lyon").await]
}

/// Waits until so much was delivered by the route, or taken by its relay.
async fn delivered(taps: &RouteTaps, count: u64) {
    while taps.looks().iter().map(|look| look.delivered + look.relayed).sum::<u64>() < count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn by_a_relay_content_is_seen_before_it_is_sealed_and_nothing_of_it_after() {
    let place = tempfile::tempdir().unwrap();
    let text = NODES.replace("to = \"paris", "via = \"gate\"\n    to = \"paris");
    let [gate, paris, lyon] = start(place.path(), &text).await;
    let taps = lyon.taps();
    let mut source = taps.tap("post", &TapOptions::default()).unwrap();
    let seal = TapOptions { stage: Some("seal".into()), ..TapOptions::default() };
    let mut seal = taps.tap("post", &seal).unwrap();
    let tapes = place.path().join("tapes");
    let mut recording = taps.record("post", None, &tapes).await.unwrap();
    fs::write(place.path().join("out/letter"), "Dear Paris").unwrap();
    let piece = async |tap: &mut estafette_topology::RouteTap| loop {
        if let TapNews::Piece(piece) = tap.next().await.unwrap() {
            break piece;
        }
    };
    let seen = piece(&mut source).await;
    assert_eq!(seen.content, Some(TapContent::Text("Dear Paris".into())));
    // What leaves is the package: longer, and nothing that could be read.
    let sealed = piece(&mut seal).await;
    assert!(sealed.bytes > 100 && matches!(sealed.content, Some(TapContent::Hex(_))), "{sealed:?}");
    let recorded = recording.next().await.unwrap();
    assert_eq!(
        (recorded.name.as_deref(), recorded.outcome.as_ref().unwrap().1),
        (Some("letter"), 10)
    );
    // The recording goes out again, by the relay, too, when there is room for its name.
    let (file, _) = recorded.outcome.unwrap();
    while paris.node().arrivals().is_empty() {
        tokio::task::yield_now().await;
    }
    fs::remove_file(place.path().join("in/letter")).unwrap();
    let replayed = taps.replay("post", &file).await.unwrap();
    assert_eq!((replayed.name.as_deref(), &*replayed.to), (Some("letter"), "paris/letters"));
    while paris.node().arrivals().len() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(fs::read_to_string(place.path().join("in/letter")).unwrap(), "Dear Paris");
    for node in [lyon, paris, gate] {
        node.shutdown().await;
    }
}

#[tokio::test]
async fn a_route_does_not_wait_for_who_looks_and_does_not_take_what_is_shown() {
    let place = tempfile::tempdir().unwrap();
    let paced = NODES.replace("tap =", "chunk_size = \"64KiB\"\n    rate = \"16MiB\"\n    tap =");
    let [gate, paris, lyon] = start(place.path(), &paced).await;
    let taps = lyon.taps();
    let most = TapOptions { samples: TapOptions::SAMPLES_MOST, ..TapOptions::default() };
    let mut tap = taps.tap("post", &most).unwrap();
    // 512 pieces, 4 ms from one to the next: each is a sample, and 256 of them wait.
    fs::write(place.path().join("out/file"), vec![7; 32 << 20]).unwrap();
    delivered(&taps, 1).await;
    let (mut pieces, mut rate) = (0, None);
    while rate.is_none() || pieces < 256 {
        match tap.next().await.unwrap() {
            TapNews::Piece(_) => pieces += 1,
            TapNews::Rate(told) => rate = Some(told),
            _ => {}
        }
    }
    let rate = rate.unwrap();
    assert_eq!((rate.pieces, rate.bytes), (512, 32 << 20));
    assert!(rate.shown == 256 && rate.dropped > 0, "{rate:?}");
    let looks = taps.looks();
    assert_eq!((looks[0].delivered, looks[0].moved), (1, 32 << 20));
    let last = looks[0].last.as_ref().unwrap();
    assert!(last.predicted.is_some_and(|seconds| (seconds - 2.0).abs() < 0.1), "{last:?}");
    for node in [lyon, paris, gate] {
        node.shutdown().await;
    }
}

#[tokio::test]
async fn a_recording_goes_out_again_to_the_one_target_for_which_it_passed_and_nameless() {
    let place = tempfile::tempdir().unwrap();
    let text = NODES.replace(
        "relay = true",
        "relay = true\n[inbox.notes]\nnode = \"gate\"\nsink = { folder = \"notes\" }",
    );
    let text = text.replace("\"paris/letters\"", "[\"paris/letters\", \"gate/notes\"]");
    let text = text.replace("\"content\"", "\"sizes\"");
    let [gate, paris, lyon] = start(place.path(), &text).await;
    let taps = lyon.taps();
    let tapes = place.path().join("tapes");
    let mut recording = taps.record("post", None, &tapes).await.unwrap();
    fs::write(place.path().join("out/letter"), "Dear both").unwrap();
    let tapes = [recording.next().await.unwrap(), recording.next().await.unwrap()];
    drop(recording);
    let mut went = Vec::new();
    for recorded in tapes {
        let (file, _) = recorded.outcome.unwrap();
        let called = file.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(recorded.name.is_none() && !called.contains("letter"), "{called}");
        let replayed = taps.replay("post", &file).await.unwrap();
        assert_eq!((replayed.name, &replayed.to), (None, &recorded.to));
        went.push(replayed.to);
    }
    went.sort();
    assert_eq!(went, ["gate/notes", "paris/letters"]);
    for node in [lyon, paris, gate] {
        node.shutdown().await;
    }
}

#[tokio::test]
async fn a_replay_is_one_of_its_route_after_a_restart_too() {
    let place = tempfile::tempdir().unwrap();
    let [gate, paris, lyon] = start(place.path(), NODES).await;
    let taps = lyon.taps();
    let mut recording = taps.record("post", None, &place.path().join("tapes")).await.unwrap();
    fs::write(place.path().join("out/letter"), "Dear Paris").unwrap();
    let (file, _) = recording.next().await.unwrap().outcome.unwrap();
    delivered(&taps, 1).await;
    // Nobody is there when it goes out again, and the node starts anew meanwhile.
    paris.shutdown().await;
    fs::remove_file(place.path().join("in/letter")).unwrap();
    taps.replay("post", &file).await.unwrap();
    lyon.shutdown().await;
    let topology = Topology::load(place.path().join("topology.toml"), &standard()).unwrap();
    let lyon = topology.start("lyon", standard()).await.unwrap();
    let paris = topology.start("paris", standard()).await.unwrap();
    let taps = lyon.taps();
    let counted = delivered(&taps, 1);
    tokio::time::timeout(HANGS, counted).await.expect("it is counted with the route");
    assert_eq!(fs::read_to_string(place.path().join("in/letter")).unwrap(), "Dear Paris");
    for node in [lyon, paris, gate] {
        node.shutdown().await;
    }
}

#[tokio::test]
async fn a_reload_that_lets_nothing_be_recorded_ends_a_recording() {
    let place = tempfile::tempdir().unwrap();
    let [gate, paris, mut lyon] = start(place.path(), NODES).await;
    let mut recording = lyon.taps().record("post", None, &place.path().join("t")).await.unwrap();
    let file = place.path().join("topology.toml");
    let text = fs::read_to_string(&file).unwrap().replace(", record = \"lyon\"", "");
    fs::write(&file, text).unwrap();
    lyon.reload(&Topology::load(&file, &standard()).unwrap()).await.unwrap();
    let error = recording.next().await.unwrap_err();
    assert!(matches!(error, TapError::NoMore(_)), "{error}");
    for node in [lyon, paris, gate] {
        node.shutdown().await;
    }
}

#[tokio::test]
async fn a_sample_that_waits_is_shown_as_the_topology_is_when_it_is_taken() {
    let place = tempfile::tempdir().unwrap();
    let [gate, paris, mut lyon] = start(place.path(), NODES).await;
    let taps = lyon.taps();
    let mut tap = taps.tap("post", &TapOptions::default()).unwrap();
    fs::write(place.path().join("out/letter"), "Dear Paris").unwrap();
    delivered(&taps, 1).await;
    let file = place.path().join("topology.toml");
    let text = fs::read_to_string(&file).unwrap().replace("\"content\"", "\"sizes\"");
    fs::write(&file, text).unwrap();
    lyon.reload(&Topology::load(&file, &standard()).unwrap()).await.unwrap();
    let piece = loop {
        if let TapNews::Piece(piece) = tap.next().await.unwrap() {
            break piece;
        }
    };
    assert_eq!((piece.bytes, piece.name, piece.content), (10, None, None));
    for node in [lyon, paris, gate] {
        node.shutdown().await;
    }
}

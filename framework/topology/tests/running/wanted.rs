//! Rates and receipts of routes, on real sockets and disks.

use std::time::Duration;

use estafette_topology::RunningNode;

use crate::harness::{HANGS, TWO_NODES, here, start, write};

#[tokio::test]
async fn a_slow_route_keeps_to_its_rate_and_holds_no_other_up() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    std::fs::write(folder.join("letter"), "x".repeat(1_000_000)).unwrap();
    std::fs::create_dir(folder.join("out")).unwrap();
    // A byte in a second: eleven days.
    let text = TWO_NODES.to_owned()
        + r#"
        rate = 1
        [inbox.quick]
        node = "paris"
        sink = { folder = "quick" }
        [route.quick]
        from = "lyon"
        source = { each = "out" }
        to = "paris/quick"
        rate = "64MiB"
    "#;
    let topology = write(folder, &here(folder, &text));
    let (paris, lyon) = (start(&topology, "paris").await, start(&topology, "lyon").await);
    for name in ["one", "two", "three"] {
        std::fs::write(folder.join("out").join(name), "x".repeat(1_000_000)).unwrap();
        takes_named(&paris, name).await;
    }
    let open: Vec<_> =
        lyon.node().outbox().list().await.unwrap().into_iter().map(|(_, entry)| entry).collect();
    // The receipt of the last one may be on its way still.
    let open = open.iter().filter(|entry| entry.is_open() && entry.name != "three");
    assert_eq!(open.map(|entry| &*entry.name).collect::<Vec<_>>(), ["letter"]);
    assert!(!folder.join("in/letter").exists());
    // What is stored keeps to it after a restart, too.
    lyon.node().abort().await;
    drop(lyon);
    let lyon = start(&topology, "lyon").await;
    std::fs::write(folder.join("out/four"), "4").unwrap();
    takes_named(&paris, "four").await;
    assert!(!folder.join("in/letter").exists());
    lyon.node().abort().await;
    paris.node().abort().await;
}

#[tokio::test]
async fn what_is_to_be_processed_is_not_removed_before() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    std::fs::create_dir(folder.join("out")).unwrap();
    std::fs::write(folder.join("out/one"), "1").unwrap();
    let each = "{ each = { folder = \"out\", then = \"remove\" } }\nreceipt = \"processed\"";
    let text = here(folder, TWO_NODES).replace("{ paths = \"letter\" }", each);
    let topology = write(folder, &text);
    let (paris, mut lyon) = (start(&topology, "paris").await, start(&topology, "lyon").await);
    let mut events = lyon.events();
    takes_named(&paris, "one").await;
    let known = async {
        let delivered = |entry: &estafette::node::OutboxEntry| !entry.is_open();
        while !lyon.node().outbox().list().await.unwrap().iter().any(|(_, entry)| delivered(entry))
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANGS, known).await.expect("lyon hears of it");
    // Each look that finds something new has looked at what was delivered, too.
    for name in ["two", "three"] {
        std::fs::write(folder.join("out").join(name), name).unwrap();
        takes_named(&paris, name).await;
    }
    assert!(folder.join("out/one").exists());
    let arrivals = paris.node().arrivals();
    let (sender, id, _) = arrivals.iter().find(|(_, _, arrival)| arrival.name == "one").unwrap();
    paris.node().processed(*sender, *id).await.unwrap();
    let removed = async {
        loop {
            let news = events.recv().await.unwrap().news;
            if let estafette_topology::RouteNews::Removed { entry } = news {
                return entry;
            }
        }
    };
    assert_eq!(tokio::time::timeout(HANGS, removed).await.expect("it is removed"), "one");
    assert!(folder.join("out/two").exists());
    lyon.shutdown().await;
    paris.shutdown().await;
}

/// Waits until a node has a delivery of this name.
async fn takes_named(node: &RunningNode, name: &str) {
    let taken = async {
        while !node.node().arrivals().iter().any(|(_, _, arrival)| arrival.name == name) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(HANGS, taken).await.unwrap_or_else(|_| panic!("{name} does not arrive"));
}

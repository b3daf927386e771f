//! Routes by relays, on real sockets and disks: kept for who is away, and handed on.

use std::path::Path;
use std::time::Duration;

use estafette::TransferNews;
use estafette::node::{NodeEvent, OutboxEntry, TransferEvent};
use estafette_topology::RunningNode;

use crate::harness::{HANGS, TWO_NODES, here, read, start, takes, write};

#[tokio::test]
async fn by_a_relay_it_reaches_who_comes_when_the_sender_has_gone() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    std::fs::write(folder.join("letter"), "Dear Paris").unwrap();
    let text = here(folder, TWO_NODES).replace("to = \"paris", "via = \"dijon\"\n to = \"paris")
        + &here(folder, "[node.dijon]\n listen = \"unix:{here}/dijon.sock\"\n relay = true");
    let topology = write(folder, &text);
    let (dijon, lyon) = (start(&topology, "dijon").await, start(&topology, "lyon").await);
    is_relayed(&dijon).await;
    lyon.shutdown().await;
    let paris = start(&topology, "paris").await;
    takes(&paris, 1).await;
    assert_eq!(read(folder, "in/letter"), "Dear Paris");
    paris.shutdown().await;
    dijon.shutdown().await;
}

/// Waits until a relay has something.
async fn is_relayed(node: &RunningNode) {
    let mut events = node.node().events_since_start().unwrap_or_else(|| node.node().events());
    let kept = async {
        loop {
            let event = events.next().await.expect("the node runs");
            if let NodeEvent::Transfer(TransferEvent {
                news: TransferNews::Relayed { .. }, ..
            }) = event
            {
                return;
            }
        }
    };
    tokio::time::timeout(HANGS, kept).await.expect("the relay keeps it");
}

#[tokio::test]
async fn by_two_relays_it_reaches_who_knows_only_the_second_also_after_a_reload() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    std::fs::write(folder.join("letter"), "Dear Paris").unwrap();
    let relays = "[node.dijon]\n listen = \"unix:{here}/dijon.sock\"\n relay = true\n\
                  [node.nice]\n listen = \"unix:{here}/nice.sock\"\n relay = true";
    let by_one = here(folder, TWO_NODES).replace("to = \"paris", "via = \"dijon\"\n to = \"paris")
        + &here(folder, relays);
    let by_two = by_one.replace("via = \"dijon\"", "via = [\"dijon\", \"nice\"]");
    // The relays run before the file says that there is a second one on the way.
    let topology = write(folder, &by_one);
    let (mut dijon, mut nice) = (start(&topology, "dijon").await, start(&topology, "nice").await);
    let topology = write(folder, &by_two);
    dijon.reload(&topology).await.unwrap();
    nice.reload(&topology).await.unwrap();
    let lyon = start(&topology, "lyon").await;
    is_relayed(&lyon).await;
    lyon.shutdown().await;
    dijon.shutdown().await;
    let dijon = start(&topology, "dijon").await;
    let paris = start(&topology, "paris").await;
    takes(&paris, 1).await;
    assert_eq!(read(folder, "in/letter"), "Dear Paris");
    // Its sender has the word of it, by both.
    let lyon = start(&topology, "lyon").await;
    let told = async {
        while lyon.pending().await.unwrap().open > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(HANGS, told).await.expect("the word comes back");
    assert_eq!(lyon.pending().await.unwrap().dead, 0);
    for node in [lyon, dijon, nice, paris] {
        node.shutdown().await;
    }
}

/// Waits until a try of a node has failed, for this reason.
async fn is_put_off(node: &RunningNode, why: &str) {
    let mut events = node.node().events_since_start().unwrap_or_else(|| node.node().events());
    let put_off = async {
        loop {
            let event = events.next().await.expect("the node runs");
            if let NodeEvent::Transfer(TransferEvent {
                news: TransferNews::Deferred { failure },
                ..
            }) = event
                && failure.message.contains(why)
            {
                return;
            }
        }
    };
    tokio::time::timeout(HANGS, put_off).await.expect("it is put off");
}

/// Waits until a sender knows of all that it has arrived.
async fn hears_of_all(node: &RunningNode) {
    let told = async {
        while node.pending().await.unwrap().open > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(HANGS, told).await.expect("the word comes back");
    assert_eq!(node.pending().await.unwrap().dead, 0);
}

/// Three relays, of which dijon alone is on the way, and sends something to nice itself.
fn by_dijon(folder: &Path) -> String {
    let more = r#"
        [node.dijon]
        listen = "unix:{here}/dijon.sock"
        relay = true
        [node.nice]
        listen = "unix:{here}/nice.sock"
        relay = true
        [node.brest]
        listen = "unix:{here}/brest.sock"
        relay = true
        [inbox.notes]
        node = "nice"
        sink = { folder = "notes" }
        [route.notes]
        from = "dijon"
        source = { text = { name = "note", text = "x" } }
        to = "nice/notes"
    "#;
    here(folder, &TWO_NODES.replace("to = \"paris", "via = \"dijon\"\n to = \"paris"))
        + &here(folder, more)
}

#[tokio::test]
async fn a_relay_that_is_told_of_a_way_after_the_one_before_it_gets_what_was_kept() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    std::fs::write(folder.join("letter"), "Dear Paris").unwrap();
    let before = write(folder, &by_dijon(folder));
    let (mut dijon, mut nice) = (start(&before, "dijon").await, start(&before, "nice").await);
    takes(&nice, 1).await;
    let text = by_dijon(folder).replace("via = \"dijon\"", "via = [\"dijon\", \"nice\"]");
    let topology = write(folder, &text);
    dijon.reload(&topology).await.unwrap();
    let lyon = start(&topology, "lyon").await;
    // Nice knows dijon, and neither the way nor its receiver.
    is_put_off(&dijon, "does not know the receiver").await;
    nice.reload(&topology).await.unwrap();
    let paris = start(&topology, "paris").await;
    takes(&paris, 1).await;
    assert_eq!(read(folder, "in/letter"), "Dear Paris");
    hears_of_all(&lyon).await;
    for node in [lyon, dijon, nice, paris] {
        node.shutdown().await;
    }
}

#[tokio::test]
async fn what_a_relay_keeps_goes_another_way_when_the_file_says_so() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    std::fs::write(folder.join("letter"), "Dear Paris").unwrap();
    let by = |next: &str| {
        by_dijon(folder).replace("via = \"dijon\"", &format!("via = [\"dijon\", \"{next}\"]"))
    };
    // Nice does not run, and never will.
    let topology = write(folder, &by("nice"));
    let (mut dijon, lyon) = (start(&topology, "dijon").await, start(&topology, "lyon").await);
    is_relayed(&lyon).await;
    let topology = write(folder, &by("brest"));
    let (brest, paris) = (start(&topology, "brest").await, start(&topology, "paris").await);
    dijon.reload(&topology).await.unwrap();
    takes(&paris, 1).await;
    assert_eq!(read(folder, "in/letter"), "Dear Paris");
    hears_of_all(&lyon).await;
    for node in [lyon, dijon, brest, paris] {
        node.shutdown().await;
    }
}

/// Waits until a relay keeps nothing of this kind for others.
async fn keeps_none(node: &RunningNode, kind: impl Fn(&OutboxEntry) -> bool) {
    let is_kept = |entry: &OutboxEntry| entry.relayed_for.is_some() && kind(entry);
    let none = async {
        while node.node().outbox().list().await.unwrap().iter().any(|(_, entry)| is_kept(entry)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(HANGS, none).await.expect("what it keeps is delivered");
}

/// Waits until a relay has delivered all that it keeps, whoever knows of it.
async fn has_delivered_all(node: &RunningNode) {
    keeps_none(node, OutboxEntry::is_open).await;
}

/// Waits until a relay has nothing to deliver any more, and all who gave it something know.
async fn runs_empty(node: &RunningNode) {
    keeps_none(node, |entry| entry.is_open() || entry.is_unheard()).await;
}

#[tokio::test]
async fn a_neighbour_that_a_file_drops_stays_while_a_relay_keeps_something_of_it_or_for_it() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    std::fs::write(folder.join("letter"), "Dear Paris").unwrap();
    let with_lyon = by_dijon(folder);
    let topology = write(folder, &with_lyon);
    let (mut dijon, lyon) = (start(&topology, "dijon").await, start(&topology, "lyon").await);
    is_relayed(&dijon).await;
    // Neither route goes by dijon any more: it knows nice alone.
    let without = write(folder, &with_lyon.replace("via = \"dijon\"\n", ""));
    let refused = dijon.reload(&without).await.unwrap_err();
    let is_told = |name: &str| {
        let text = refused.to_string();
        text.contains(&format!(
            "1 delivery that the node keeps as a relay would be lost with {name}"
        ))
    };
    assert!(is_told("`lyon`") || is_told("`paris`"), "{refused}");
    let names = || dijon.node().trust().list().into_iter().map(|(_, peer)| peer.name);
    assert!(names().any(|name| name == "lyon") && names().any(|name| name == "paris"));
    let paris = start(&topology, "paris").await;
    takes(&paris, 1).await;
    assert_eq!(read(folder, "in/letter"), "Dear Paris");
    runs_empty(&dijon).await;
    hears_of_all(&lyon).await;
    dijon.reload(&without).await.unwrap();
    let names = || dijon.node().trust().list().into_iter().map(|(_, peer)| peer.name);
    assert_eq!(names().collect::<Vec<_>>(), ["nice"]);
    for node in [lyon, dijon, paris] {
        node.shutdown().await;
    }
}

#[tokio::test]
async fn the_former_key_of_a_neighbour_is_out_at_once_whatever_it_left() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    std::fs::write(folder.join("letter"), "Dear Paris").unwrap();
    let old = by_dijon(folder);
    let topology = write(folder, &old);
    let (mut dijon, lyon) = (start(&topology, "dijon").await, start(&topology, "lyon").await);
    is_relayed(&dijon).await;
    let former = lyon.node().peer();
    lyon.shutdown().await;
    let new = write(folder, &old.replace("[node.lyon]", "[node.lyon]\n key = \"new.key\""));
    let lyon = start(&new, "lyon").await;
    assert_ne!(lyon.node().peer(), former);
    dijon.reload(&new).await.unwrap();
    let trusts = |id| dijon.node().trust().peer(&id).is_some();
    assert!(!trusts(former) && trusts(lyon.node().peer()));
    for node in [lyon, dijon] {
        node.shutdown().await;
    }
}

#[tokio::test]
async fn a_neighbour_who_has_not_heard_how_its_delivery_ended_is_not_dropped() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    std::fs::write(folder.join("letter"), "Dear Paris").unwrap();
    let with_lyon = by_dijon(folder);
    let topology = write(folder, &with_lyon);
    let (mut dijon, lyon) = (start(&topology, "dijon").await, start(&topology, "lyon").await);
    is_relayed(&dijon).await;
    lyon.shutdown().await;
    let paris = start(&topology, "paris").await;
    takes(&paris, 1).await;
    has_delivered_all(&dijon).await;
    let without = write(folder, &with_lyon.replace("via = \"dijon\"\n", ""));
    let refused = dijon.reload(&without).await.unwrap_err().to_string();
    assert!(refused.contains("would be lost with `lyon`"), "{refused}");
    let lyon = start(&topology, "lyon").await;
    hears_of_all(&lyon).await;
    runs_empty(&dijon).await;
    dijon.reload(&without).await.unwrap();
    for node in [lyon, dijon, paris] {
        node.shutdown().await;
    }
}

#[tokio::test]
async fn a_relay_that_a_file_drops_stays_while_it_keeps_what_the_node_has_sent() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    std::fs::write(folder.join("letter"), "Dear Paris").unwrap();
    let by_dijon = by_dijon(folder);
    let topology = write(folder, &by_dijon);
    let (dijon, mut lyon) = (start(&topology, "dijon").await, start(&topology, "lyon").await);
    is_relayed(&lyon).await;
    // Dijon is in the file, and lyon does not know it.
    let without = write(folder, &by_dijon.replace("via = \"dijon\"\n", ""));
    let refused = lyon.reload(&without).await.unwrap_err().to_string();
    assert!(
        refused.contains("1 delivery of this node that `dijon` keeps as a relay would be lost"),
        "{refused}"
    );
    let trusts_dijon = |node: &RunningNode| {
        node.node().trust().list().iter().any(|(_, peer)| peer.name == "dijon")
    };
    assert!(trusts_dijon(&lyon));
    let paris = start(&topology, "paris").await;
    takes(&paris, 1).await;
    hears_of_all(&lyon).await;
    lyon.reload(&without).await.unwrap();
    assert!(!trusts_dijon(&lyon));
    for node in [lyon, dijon, paris] {
        node.shutdown().await;
    }
}

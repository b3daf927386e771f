//! Versions of what waits at one place: the last one goes, once.

use std::time::Duration;

use estafette::node::{OutboxEntry, OutboxState};
use estafette_topology::{RouteEvent, RouteNews, RunningNode};
use tokio::sync::broadcast::Receiver;

use crate::harness::{HANGS, here, read, start, takes, write};

/// Waits until it has sent once more.
async fn sends(events: &mut Receiver<RouteEvent>) {
    let sent =
        async { while !matches!(events.recv().await.unwrap().news, RouteNews::Sent { .. }) {} };
    tokio::time::timeout(HANGS, sent).await.expect("it sends what is new");
}

/// Waits until nothing more is to come: a double of what has arrived would.
async fn delivers_all(node: &RunningNode) {
    let all = async {
        while node.node().outbox().list().await.unwrap().iter().any(|(_, entry)| entry.is_open()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(HANGS, all).await.expect("all is delivered");
}

fn names(folder: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names
}

#[tokio::test]
async fn versions_that_waited_for_a_receiver_are_delivered_as_the_last_one() {
    for source in [
        "{ each = \"out\" }",
        "{ paths = \"out/doc\" }\nschedule = \"change\"",
        "{ each = \"out\" }\ndeliver = \"one\"",
    ] {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path();
        std::fs::create_dir(folder.join("out")).unwrap();
        let text = here(folder, VERSIONS).replace("{source}", source);
        let topology = write(folder, &text);
        let mut lyon = start(&topology, "lyon").await;
        let mut events = lyon.events();
        for version in ["one", "two", "three"] {
            std::fs::write(folder.join("out/doc"), version).unwrap();
            sends(&mut events).await;
        }
        assert_eq!(lyon.node().outbox().list().await.unwrap().len(), 1, "{source}");
        let paris = start(&topology, "paris").await;
        takes(&paris, 1).await;
        delivers_all(&lyon).await;
        lyon.shutdown().await;
        paris.shutdown().await;
        assert_eq!(
            (names(&folder.join("in")), read(folder, "in/doc")),
            (vec!["doc".into()], "three".into())
        );
    }
}

const VERSIONS: &str = r#"
    [node.lyon]

    [node.paris]
    listen = "unix:{here}/paris.sock"

    [inbox.letters]
    node = "paris"
    sink = { folder = { into = "in", on_conflict = "rename" } }

    [route.post]
    from = "lyon"
    source = {source}
    to = "paris/letters"
"#;

#[tokio::test]
async fn what_waits_of_another_source_is_not_taken_back() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    for day in ["monday", "tuesday"] {
        std::fs::create_dir(folder.join(day)).unwrap();
        std::fs::write(folder.join(day).join("doc"), day).unwrap();
    }
    let text = here(folder, VERSIONS);
    let topology = write(folder, &text.replace("{source}", "{ each = \"monday\" }"));
    let mut lyon = start(&topology, "lyon").await;
    sends(&mut lyon.events()).await;
    let topology = write(folder, &text.replace("{source}", "{ each = \"tuesday\" }"));
    lyon.reload(&topology).await.unwrap();
    let paris = start(&topology, "paris").await;
    takes(&paris, 2).await;
    lyon.shutdown().await;
    paris.shutdown().await;
    let both = (read(folder, "in/doc"), read(folder, "in/doc (1)"));
    assert_eq!(both, ("monday".into(), "tuesday".into()));
}

#[tokio::test]
async fn a_version_that_a_relay_has_is_delivered_before_the_next_one_is_sent() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let topology = write(folder, &here(folder, RELAYED));
    let (mut lyon, dijon) = (start(&topology, "lyon").await, start(&topology, "dijon").await);
    let mut events = lyon.events();
    std::fs::write(folder.join("doc"), "one").unwrap();
    sends(&mut events).await;
    let is_relayed = async {
        let relayed =
            |(_, entry): &(_, OutboxEntry)| matches!(entry.state, OutboxState::Relayed { .. });
        while !lyon.node().outbox().list().await.unwrap().iter().any(relayed) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(HANGS, is_relayed).await.expect("the relay takes it");
    std::fs::write(folder.join("doc"), "two").unwrap();
    let paris = start(&topology, "paris").await;
    takes(&paris, 2).await;
    for running in [lyon, dijon, paris] {
        running.shutdown().await;
    }
    // The second of a name has a number.
    assert_eq!(names(&folder.join("in")), ["doc", "doc (1)"]);
    assert_eq!((read(folder, "in/doc"), read(folder, "in/doc (1)")), ("one".into(), "two".into()));
}

const RELAYED: &str = r#"
    [node.lyon]

    [node.dijon]
    listen = "unix:{here}/dijon.sock"
    relay = true

    [node.paris]

    [inbox.letters]
    node = "paris"
    sink = { folder = { into = "in", on_conflict = "rename" } }

    [route.post]
    from = "lyon"
    source = { paths = "doc" }
    to = "paris/letters"
    via = "dijon"
    schedule = "change"
"#;

#[tokio::test]
async fn an_arrival_that_another_one_has_replaced_does_not_go_on_twice() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let topology = write(folder, &here(folder, CHAIN));
    let (mut lyon, mut dijon) = (start(&topology, "lyon").await, start(&topology, "dijon").await);
    // All that happens is heard.
    let mut events = [lyon.events(), dijon.events()];
    for version in ["one", "two", "three"] {
        std::fs::write(folder.join("doc"), version).unwrap();
        for node in &mut events {
            sends(node).await;
        }
    }
    assert_eq!(dijon.node().outbox().list().await.unwrap().len(), 1);
    let paris = start(&topology, "paris").await;
    takes(&paris, 1).await;
    delivers_all(&dijon).await;
    for running in [lyon, dijon, paris] {
        running.shutdown().await;
    }
    assert_eq!(
        (names(&folder.join("in")), read(folder, "in/doc")),
        (vec!["doc".into()], "three".into())
    );
}

const CHAIN: &str = r#"
    [node.lyon]

    [node.dijon]
    listen = "unix:{here}/dijon.sock"

    [node.paris]
    listen = "unix:{here}/paris.sock"

    [inbox.middle]
    node = "dijon"
    sink = { folder = { into = "middle", on_conflict = "replace" } }

    [inbox.letters]
    node = "paris"
    sink = { folder = { into = "in", on_conflict = "rename" } }

    [route.post]
    from = "lyon"
    source = { paths = "doc" }
    to = "dijon/middle"
    schedule = "change"

    [route.onward]
    from = "dijon"
    source = { inbox = "middle" }
    to = "paris/letters"
"#;

#[tokio::test]
async fn a_version_of_a_mirror_that_was_refused_is_sent_again_by_the_next_run() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    std::fs::create_dir_all(folder.join("in/doc")).unwrap();
    std::fs::write(folder.join("doc"), "a file").unwrap();
    let text = here(folder, VERSIONS).replace("\"rename\"", "\"merge\"");
    let text = text.replace("{source}", "{ paths = \"doc\" }\nschedule = \"change\"");
    let topology = write(folder, &text);
    let (paris, lyon) = (start(&topology, "paris").await, start(&topology, "lyon").await);
    let refused = async {
        while lyon.pending().await.unwrap().dead == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANGS, refused).await.expect("a folder is in its way");
    lyon.shutdown().await;
    // Somebody moves it away.
    std::fs::rename(folder.join("in/doc"), folder.join("away")).unwrap();
    let lyon = start(&topology, "lyon").await;
    takes(&paris, 1).await;
    let done = async {
        while lyon.pending().await.unwrap().open > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANGS, done).await.expect("it hears of it");
    assert_eq!(lyon.pending().await.unwrap().dead, 0, "the letter is not left behind");
    lyon.shutdown().await;
    paris.shutdown().await;
    assert_eq!(read(folder, "in/doc"), "a file");
}

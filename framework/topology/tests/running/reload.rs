//! A node that is changed while it runs: nothing is lost, nothing else is touched, and what can't
//! be made changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use estafette::{Identity, TrustedPeer};
use estafette_topology::{Change, NodeChange, ReloadError, RouteNews, RunningNode, Topology};

use crate::harness::{HANGS, here, start, write};

const NODES: &str = r#"
    [node.lyon]
    [node.paris]
    listen = "unix:{here}/paris.sock"
    [inbox.letters]
    node = "paris"
    sink = { folder = "in" }
    [route.post]
    from = "lyon"
    source = { each = "out" }
    to = "paris/letters"
"#;

fn topology(folder: &Path, text: &str) -> Topology {
    write(folder, &here(folder, text))
}

/// Waits until a route has sent something of this name.
async fn sent(
    events: &mut tokio::sync::broadcast::Receiver<estafette_topology::RouteEvent>,
    wanted: &str,
) {
    let sent = async {
        loop {
            let event = events.recv().await.unwrap();
            if matches!(&event.news, RouteNews::Sent { name, .. } if name == wanted) {
                return;
            }
        }
    };
    tokio::time::timeout(HANGS, sent).await.unwrap_or_else(|_| panic!("{wanted} is not sent"));
}

async fn delivered(node: &RunningNode) {
    let all = async {
        while node.pending().await.unwrap().open > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANGS, all).await.expect("all is delivered");
}

#[tokio::test]
async fn a_new_inbox_and_a_new_route_come_in_while_the_others_go_on() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    fs::create_dir(folder.join("out")).unwrap();
    fs::write(folder.join("out/one"), "1").unwrap();
    fs::write(folder.join("extra"), "extra").unwrap();
    let old = topology(folder, NODES);
    let (mut paris, mut lyon) = (start(&old, "paris").await, start(&old, "lyon").await);
    let mut events = lyon.events();
    sent(&mut events, "one").await;
    let more = r#"
        [inbox.archive]
        node = "paris"
        sink = { folder = "archive" }
        [route.extra]
        from = "lyon"
        source = { paths = "extra" }
        to = "paris/archive"
    "#;
    let new = topology(folder, &(NODES.to_owned() + more));
    let changes = old.changes(&new);
    assert_eq!(changes.len(), 2, "{changes:?}");
    // The receiver first: a sender finds its inbox there.
    let reload = paris.reload(&new).await.unwrap();
    assert_eq!(reload.inboxes, BTreeMap::from([("archive".into(), Change::Added)]));
    assert_eq!(reload.peers, BTreeMap::from([("lyon".into(), Change::Changed)]));
    let reload = lyon.reload(&new).await.unwrap();
    assert_eq!(reload.routes, BTreeMap::from([("extra".into(), Change::Added)]));
    sent(&mut events, "extra").await;
    // The route that was there goes on, and has sent nothing again.
    fs::write(folder.join("out/two"), "2").unwrap();
    sent(&mut events, "two").await;
    delivered(&lyon).await;
    assert_eq!(fs::read_to_string(folder.join("archive/extra")).unwrap(), "extra");
    assert_eq!(lyon.node().outbox().list().await.unwrap().len(), 3);
    // Taken out again: nobody delivers there any more.
    let reload = paris.reload(&old).await.unwrap();
    assert_eq!(reload.inboxes, BTreeMap::from([("archive".into(), Change::Removed)]));
    assert_eq!(paris.node().directory().names(), ["letters"]);
    assert_eq!(paris.node().trust().list()[0].1.inboxes, ["letters"]);
    lyon.shutdown().await;
    paris.shutdown().await;
}

#[tokio::test]
async fn what_can_not_be_made_changes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    fs::create_dir(folder.join("out")).unwrap();
    let old = topology(folder, NODES);
    let mut paris = start(&old, "paris").await;
    let broken = NODES.replace("folder = \"in\"", "folder = \"no/such/folder\"")
        + "[inbox.archive]\nnode = \"paris\"\nsink = { folder = \"archive\" }";
    let error = paris.reload(&topology(folder, &broken)).await.unwrap_err();
    assert!(matches!(error, ReloadError::Make(_)), "{error}");
    assert!(error.to_string().ends_with("nothing is changed"), "{error}");
    assert_eq!(paris.node().directory().names(), ["letters"]);
    // It is what it was.
    assert!(paris.reload(&old).await.unwrap().is_empty());
    paris.shutdown().await;
}

#[tokio::test]
async fn keys_that_take_a_start_are_named_and_nothing_is_changed() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let old = topology(folder, NODES);
    let mut paris = start(&old, "paris").await;
    let new = topology(folder, &NODES.replace("paris.sock", "other.sock"));
    let keys = vec!["listen"];
    assert_eq!(old.changes(&new)["paris"], NodeChange::Restarts { keys: keys.clone() });
    match paris.reload(&new).await.unwrap_err() {
        ReloadError::Restart { keys: named, .. } => assert_eq!(named, keys),
        other => panic!("{other}"),
    }
    paris.shutdown().await;
}

#[tokio::test]
async fn who_is_taken_out_is_trusted_no_longer_and_its_link_is_closed() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    fs::create_dir(folder.join("out")).unwrap();
    fs::write(folder.join("out/one"), "1").unwrap();
    let old = topology(folder, NODES);
    let (mut paris, mut lyon) = (start(&old, "paris").await, start(&old, "lyon").await);
    sent(&mut lyon.events(), "one").await;
    delivered(&lyon).await;
    let alone = topology(folder, NODES.split("[route.post]").next().unwrap());
    let reload = paris.reload(&alone).await.unwrap();
    assert_eq!(reload.peers, BTreeMap::from([("lyon".into(), Change::Removed)]));
    assert!(paris.node().trust().list().is_empty());
    lyon.shutdown().await;
    paris.shutdown().await;
}

#[tokio::test]
async fn a_peer_of_the_host_s_own_stays_whatever_it_is_called() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let old = topology(folder, NODES);
    let mut paris = start(&old, "paris").await;
    let guest = Identity::generate().peer();
    paris.node().trust().add(guest, TrustedPeer::new("lyon")).unwrap();
    let trusts = |paris: &RunningNode| paris.node().trust().list().len();
    assert_eq!(trusts(&paris), 2);
    let alone = topology(folder, NODES.split("[route.post]").next().unwrap());
    paris.reload(&alone).await.unwrap();
    let left: Vec<_> = paris.node().trust().list().iter().map(|(id, _)| *id).collect();
    assert_eq!(left, [guest]);
    // Once more in the file, and out again.
    paris.reload(&old).await.unwrap();
    assert_eq!(trusts(&paris), 2);
    paris.reload(&alone).await.unwrap();
    assert_eq!(trusts(&paris), 1);
    paris.shutdown().await;
}

#[tokio::test]
async fn what_waits_for_a_relay_that_never_came_goes_without_it_after_a_reload() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    fs::create_dir(folder.join("out")).unwrap();
    fs::write(folder.join("out/one"), "1").unwrap();
    let relay = "[node.dijon]\nlisten = \"unix:{here}/dijon.sock\"\nrelay = true\n";
    let by_relay = format!("{relay}{NODES}via = \"dijon\"\n");
    let mut lyon = start(&topology(folder, &by_relay), "lyon").await;
    let mut events = lyon.events();
    sent(&mut events, "one").await;
    let direct = topology(folder, &format!("{relay}{NODES}"));
    let paris = start(&direct, "paris").await;
    let reload = lyon.reload(&direct).await.unwrap();
    assert_eq!(reload.routes.get("post"), Some(&Change::Changed));
    sent(&mut events, "one").await;
    delivered(&lyon).await;
    assert_eq!(fs::read_to_string(folder.join("in/one")).unwrap(), "1");
    let outbox = lyon.node().outbox().list().await.unwrap();
    assert_eq!(outbox.iter().map(|(_, entry)| entry.via).collect::<Vec<_>>(), [None]);
    lyon.shutdown().await;
    paris.shutdown().await;
}

#[tokio::test]
async fn a_peer_with_another_key_is_sent_to_by_its_new_id_and_its_old_one_is_let_in_no_longer() {
    let queue = NODES.to_owned() + "deliver = \"one\"\n";
    let with_key = queue.replace("[node.paris]", "[node.paris]\nkey = \"new.key\"");
    let with_more = NODES.to_owned()
        + r#"
        [inbox.archive]
        node = "paris"
        sink = { folder = "archive" }
        [route.extra]
        from = "lyon"
        source = { each = "extra" }
        to = "paris/archive"
    "#;
    // Another file, and another key in the same file, of which nothing else is new at last.
    let same = NODES.to_owned();
    for (before, text, replace) in
        [(&*queue, with_key, false), (NODES, with_more, true), (NODES, same, true)]
    {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path();
        fs::create_dir(folder.join("out")).unwrap();
        fs::create_dir(folder.join("extra")).unwrap();
        fs::write(folder.join("out/one"), "1").unwrap();
        let old = topology(folder, before);
        let (paris, mut lyon) = (start(&old, "paris").await, start(&old, "lyon").await);
        let mut events = lyon.events();
        sent(&mut events, "one").await;
        delivered(&lyon).await;
        let former = paris.node().peer();
        paris.shutdown().await;
        // It waits for the id that nobody has any more.
        fs::write(folder.join("out/late"), "late").unwrap();
        sent(&mut events, "late").await;
        if replace {
            fs::remove_dir_all(old.key_of("paris").parent().unwrap()).unwrap();
        }
        let new = topology(folder, &text);
        let paris = start(&new, "paris").await;
        assert_ne!(paris.node().peer(), former);
        let reload = lyon.reload(&new).await.unwrap();
        assert_eq!(reload.routes.get("post"), Some(&Change::Changed));
        let trusted: Vec<_> = lyon.node().trust().list().iter().map(|(id, _)| *id).collect();
        assert_eq!(trusted, [paris.node().peer()]);
        sent(&mut events, "late").await;
        fs::write(folder.join("out/two"), "2").unwrap();
        sent(&mut events, "two").await;
        delivered(&lyon).await;
        assert_eq!(fs::read_to_string(folder.join("in/two")).unwrap(), "2");
        assert_eq!(fs::read_to_string(folder.join("in/late")).unwrap(), "late");
        // It knows that the first one was delivered.
        let name = |(_, entry): (_, estafette::node::OutboxEntry)| entry.name;
        let names: Vec<_> =
            lyon.node().outbox().list().await.unwrap().into_iter().map(name).collect();
        assert_eq!(names.iter().filter(|name| *name == "one").count(), 1, "{names:?}");
        lyon.shutdown().await;
        paris.shutdown().await;
    }
}

#[tokio::test]
async fn what_waits_for_a_former_key_goes_to_the_new_one_after_a_start_too() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    fs::create_dir(folder.join("out")).unwrap();
    fs::write(folder.join("out/one"), "1").unwrap();
    let old = topology(folder, NODES);
    let mut lyon = start(&old, "lyon").await;
    sent(&mut lyon.events(), "one").await;
    lyon.shutdown().await;
    let text = NODES.replace("[node.paris]", "[node.paris]\nkey = \"new.key\"");
    let new = topology(folder, &text);
    let (paris, lyon) = (start(&new, "paris").await, start(&new, "lyon").await);
    delivered(&lyon).await;
    assert_eq!(fs::read_to_string(folder.join("in/one")).unwrap(), "1");
    assert_eq!(lyon.pending().await.unwrap().dead, 0);
    lyon.shutdown().await;
    paris.shutdown().await;
}

/// Reloads again and again, while nodes die, and each entry arrives once.
#[tokio::test]
async fn nothing_is_lost_or_doubled_by_reloads_among_deaths() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    fs::create_dir(folder.join("out")).unwrap();
    let codecs = ["snappy", "lz4", "off"];
    let with = |round: usize| {
        let text = NODES.to_owned() + &format!("codec = \"{}\"\n", codecs[round % codecs.len()]);
        topology(folder, &text)
    };
    let first = with(0);
    let (paris, mut lyon) = (start(&first, "paris").await, start(&first, "lyon").await);
    let mut random = estafette::testing::Random::seeded(7);
    let rounds = 12;
    for round in 1..=rounds {
        fs::write(folder.join("out").join(round.to_string()), round.to_string()).unwrap();
        let new = with(round);
        if random.below(3) == 0 {
            lyon.node().abort().await;
            drop(lyon);
            lyon = start(&new, "lyon").await;
        } else {
            let reload = lyon.reload(&new).await.unwrap();
            assert_eq!(reload.routes.len(), 1, "{reload:?}");
        }
    }
    delivered(&lyon).await;
    for round in 1..=rounds {
        let text = fs::read_to_string(folder.join("in").join(round.to_string()));
        assert_eq!(text.unwrap(), round.to_string());
    }
    let dead = lyon
        .node()
        .outbox()
        .list()
        .await
        .unwrap()
        .into_iter()
        .filter(|(_, entry)| matches!(entry.state, estafette::node::OutboxState::Dead { .. }));
    assert_eq!(dead.count(), 0, "a second delivery of a name would be refused");
    assert_eq!(paris.node().arrivals().len(), rounds);
    lyon.shutdown().await;
    paris.shutdown().await;
}

#[tokio::test]
async fn a_sender_that_is_told_before_its_receiver_delivers_when_that_is_told_too() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    fs::create_dir(folder.join("out")).unwrap();
    fs::write(folder.join("extra"), "extra").unwrap();
    let old = topology(folder, NODES);
    let (mut paris, mut lyon) = (start(&old, "paris").await, start(&old, "lyon").await);
    let more = r#"
        [inbox.archive]
        node = "paris"
        sink = { folder = "archive" }
        [route.extra]
        from = "lyon"
        source = { paths = "extra" }
        to = "paris/archive"
    "#;
    let new = topology(folder, &(NODES.to_owned() + more));
    let mut events = lyon.node().events();
    lyon.reload(&new).await.unwrap();
    // It is refused, as paris does not know of it.
    let refused = async {
        loop {
            let event = events.next().await.unwrap();
            if let estafette::node::NodeEvent::Transfer(event) = event
                && let estafette::TransferNews::Deferred { failure } = event.news
            {
                return failure;
            }
        }
    };
    let failure = tokio::time::timeout(HANGS, refused).await.expect("it is refused");
    assert_eq!(failure.kind, estafette::FailureKind::Untrusted);
    assert!(lyon.pending().await.unwrap().open > 0, "it is not given up");
    // Lyon dies meanwhile, and the next one goes on with it.
    lyon.node().abort().await;
    drop(lyon);
    let lyon = start(&new, "lyon").await;
    paris.reload(&new).await.unwrap();
    delivered(&lyon).await;
    assert_eq!(fs::read_to_string(folder.join("archive/extra")).unwrap(), "extra");
    assert_eq!(lyon.pending().await.unwrap().dead, 0);
    lyon.shutdown().await;
    paris.shutdown().await;
}

#[tokio::test]
async fn what_its_receiver_is_never_told_of_fails_when_it_has_expired() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    fs::create_dir(folder.join("out")).unwrap();
    fs::write(folder.join("extra"), "extra").unwrap();
    let paris = start(&topology(folder, NODES), "paris").await;
    let more = r#"
        [inbox.archive]
        node = "paris"
        sink = { folder = "archive" }
        [route.extra]
        from = "lyon"
        source = { paths = "extra" }
        to = "paris/archive"
        expires = "4s"
    "#;
    let lyon = start(&topology(folder, &(NODES.to_owned() + more)), "lyon").await;
    let mut events = lyon.node().events_since_start().unwrap();
    let failed = async {
        loop {
            let event = events.next().await.unwrap();
            if let estafette::node::NodeEvent::Transfer(event) = event
                && let estafette::TransferNews::Failed { failure } = event.news
            {
                return failure;
            }
        }
    };
    let failure = tokio::time::timeout(HANGS, failed).await.expect("it is told");
    // Where the first try took longer than that, it has expired before.
    let kinds = [estafette::FailureKind::Untrusted, estafette::FailureKind::Expired];
    assert!(kinds.contains(&failure.kind), "{failure}");
    let pending = lyon.pending().await.unwrap();
    assert_eq!((pending.open, pending.dead), (0, 1));
    lyon.shutdown().await;
    paris.shutdown().await;
}

//! Nodes of a topology run, on real sockets and disks: what a route says is delivered, once.

use std::time::Duration;

use estafette_actors::standard;
use estafette_topology::{Document, Topology};

use crate::harness::{HANGS, TWO_NODES, here, read, start, takes, write};

#[tokio::test]
async fn a_route_delivers_its_source_once_whatever_is_started_again() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    std::fs::write(folder.join("letter"), "Dear Paris").unwrap();
    let topology = write(folder, &here(folder, TWO_NODES));
    // The sender goes on as soon as it is stored; the receiver comes later.
    let mut lyon = start(&topology, "lyon").await;
    let mut events = lyon.events();
    let sent = tokio::time::timeout(HANGS, events.recv()).await.unwrap().unwrap();
    assert_eq!(sent.route, "post");
    lyon.shutdown().await;
    let paris = start(&topology, "paris").await;
    let lyon = start(&topology, "lyon").await;
    takes(&paris, 1).await;
    assert_eq!(read(folder, "in/letter"), "Dear Paris");
    for running in [lyon, paris] {
        running.shutdown().await;
    }
    // Another delivery would be refused, as its name is taken, and be a dead letter.
    let (paris, lyon) = (start(&topology, "paris").await, start(&topology, "lyon").await);
    let outbox = lyon.node().outbox().list().await.unwrap();
    assert_eq!(outbox.len(), 1, "{outbox:?}");
    lyon.shutdown().await;
    paris.shutdown().await;
}

#[tokio::test]
async fn what_arrives_goes_on_once_and_whoever_sent_it_hears_that_it_is_processed() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    std::fs::write(folder.join("letter"), "Dear Brest").unwrap();
    let text = here(folder, TWO_NODES)
        + &here(
            folder,
            r#"
            [node.brest]
            listen = "unix:{here}/brest.sock"

            [inbox.archive]
            node = "brest"
            sink = { folder = "archive" }

            [route.onward]
            from = "paris"
            source = { inbox = "letters" }
            to = "brest/archive"
            "#,
        );
    let topology = write(folder, &text);
    let (brest, paris) = (start(&topology, "brest").await, start(&topology, "paris").await);
    let mut lyon = start(&topology, "lyon").await;
    takes(&brest, 1).await;
    assert_eq!(read(folder, "archive/letter"), "Dear Brest");
    let sent = tokio::time::timeout(HANGS, lyon.events().recv()).await.unwrap().unwrap();
    let estafette_topology::RouteNews::Sent { id, .. } = sent.news else { panic!("{sent:?}") };
    let transfer = lyon.node().outbox().transfer(id).await.unwrap();
    tokio::time::timeout(HANGS, transfer.processed()).await.unwrap().unwrap();
    for running in [lyon, paris, brest] {
        running.shutdown().await;
    }
}

#[tokio::test]
async fn each_entry_of_a_folder_goes_to_all_and_is_removed_when_they_have_it() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    std::fs::create_dir(folder.join("out")).unwrap();
    for name in ["one", "two", ".hidden", "three.part"] {
        std::fs::write(folder.join("out").join(name), name).unwrap();
    }
    let text = r#"
        [node.lyon]
        listen = "unix:{here}/lyon.sock"
        [node.paris]
        [node.brest]

        [inbox.files]
        node = ["paris", "brest"]
        sink = { folder = "in-{node}" }

        [route.post]
        from = "lyon"
        source = { each = { folder = "out", then = "remove" } }
        to = ["paris/files", "brest/files"]
    "#;
    let topology = write(folder, &here(folder, text));
    // None of the receivers listens: they dial the sender.
    let (paris, brest) = (start(&topology, "paris").await, start(&topology, "brest").await);
    let mut lyon = start(&topology, "lyon").await;
    let mut events = lyon.events();
    let mut removed = Vec::new();
    while removed.len() < 2 {
        let event = tokio::time::timeout(HANGS, events.recv()).await.unwrap().unwrap();
        if let estafette_topology::RouteNews::Removed { entry } = event.news {
            removed.push(entry);
        }
    }
    for receiver in ["in-paris", "in-brest"] {
        for name in ["one", "two"] {
            assert_eq!(read(folder, &format!("{receiver}/{name}")), name);
        }
        assert!(!folder.join(receiver).join(".hidden").exists());
    }
    let count = |path: &str| std::fs::read_dir(folder.join(path)).unwrap().count();
    assert_eq!(count("out"), 2);
    // Nothing is remembered of what is gone, however much comes.
    assert_eq!(count(".estafette/topology/lyon/routes/sent"), 0);
    for running in [lyon, paris, brest] {
        running.shutdown().await;
    }
}

#[tokio::test]
async fn nobody_gets_in_whom_no_route_lets_in() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    std::fs::write(folder.join("letter"), "Dear Paris").unwrap();
    let topology = write(folder, &here(folder, TWO_NODES));
    let paris = start(&topology, "paris").await;
    let lyon = start(&topology, "lyon").await;
    takes(&paris, 1).await;
    let listed = paris.node().trust().list();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].1.inboxes, ["letters"]);
    let there = lyon.node().trust().list();
    assert!(there.iter().all(|(_, peer)| peer.inboxes.is_empty()), "{there:?}");
    lyon.shutdown().await;
    paris.shutdown().await;
}

#[test]
fn a_topology_without_a_file_is_checked_by_the_same_rules() {
    let faults = Document::parse("x.toml", "").check(&standard());
    let same = Topology::new(".").check(&standard());
    assert_eq!(faults.faults()[0].code, same[0].code);
}

#[tokio::test]
async fn what_a_worker_who_is_away_was_given_goes_to_another_one() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    std::fs::create_dir(folder.join("jobs")).unwrap();
    let names: Vec<String> = (0..6).map(|job| format!("job-{job}")).collect();
    for name in &names {
        std::fs::write(folder.join("jobs").join(name), name).unwrap();
    }
    let text = r#"
        [node.office]
        listen = "unix:{here}/office.sock"
        limits = { dial_for = "500ms" }
        [node.anna]
        [node.ben]
        [inbox.jobs]
        node = ["anna", "ben"]
        sink = { folder = "jobs-{node}" }
        [route.jobs]
        from = "office"
        source = { each = { folder = "jobs", then = "remove" } }
        to = ["anna/jobs", "ben/jobs"]
        deliver = "one"
    "#;
    let topology = write(folder, &here(folder, text));
    let mut office = start(&topology, "office").await;
    // Anna never comes.
    let ben = start(&topology, "ben").await;
    let (mut removed, mut moved, mut events) = (0, 0, office.events());
    while removed < names.len() {
        let event = tokio::time::timeout(HANGS, events.recv()).await.unwrap().unwrap();
        match event.news {
            estafette_topology::RouteNews::Removed { .. } => removed += 1,
            estafette_topology::RouteNews::Moved { from, .. } => {
                assert_eq!(from, "anna/jobs");
                moved += 1;
            }
            _ => {}
        }
    }
    assert!(moved > 0);
    for name in &names {
        assert_eq!(read(folder, &format!("jobs-ben/{name}")), *name);
    }
    office.shutdown().await;
    ben.shutdown().await;
}

#[tokio::test]
async fn a_mirrored_folder_follows_what_is_changed_and_removed() {
    mirrored("replace", false).await;
}

#[tokio::test]
async fn a_mirrored_folder_keeps_what_is_removed_where_it_is_told_to() {
    mirrored("merge", true).await;
}

async fn mirrored(on_conflict: &str, keeps: bool) {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    std::fs::create_dir(folder.join("documents")).unwrap();
    for name in ["stays", "changes", "goes"] {
        std::fs::write(folder.join("documents").join(name), name).unwrap();
    }
    let text = here(folder, TWO_NODES)
        .replace("{ paths = \"letter\" }", "{ paths = \"documents\" }\n schedule = \"change\"")
        .replace(
            "{ folder = \"in\" }",
            &format!("{{ folder = {{ into = \"in\", on_conflict = {on_conflict:?} }} }}"),
        );
    let topology = write(folder, &text);
    let (paris, lyon) = (start(&topology, "paris").await, start(&topology, "lyon").await);
    takes(&paris, 1).await;
    assert_eq!(read(folder, "in/documents/goes"), "goes");
    std::fs::write(folder.join("documents/changes"), "has changed").unwrap();
    std::fs::remove_file(folder.join("documents/goes")).unwrap();
    std::fs::write(folder.join("documents/new"), "new").unwrap();
    let followed = async {
        loop {
            let there = std::fs::read_to_string(folder.join("in/documents/new"));
            if there.is_ok_and(|text| text == "new") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(HANGS, followed).await.expect("the mirror follows");
    assert_eq!(read(folder, "in/documents/stays"), "stays");
    assert_eq!(read(folder, "in/documents/changes"), "has changed");
    assert_eq!(folder.join("in/documents/goes").exists(), keeps);
    lyon.shutdown().await;
    paris.shutdown().await;
}

#[tokio::test]
async fn no_job_is_removed_that_no_worker_has() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    std::fs::create_dir(folder.join("jobs")).unwrap();
    for job in 0..6 {
        std::fs::write(folder.join(format!("jobs/{job}")), "work").unwrap();
    }
    let text = r#"
        [node.office]
        listen = "unix:{here}/office.sock"
        limits = { dial_for = "200ms" }
        [node.anna]
        [node.ben]
        [inbox.jobs]
        node = ["anna", "ben"]
        sink = { folder = "jobs-{node}" }
        [route.jobs]
        from = "office"
        source = { each = { folder = "jobs", then = "remove" } }
        to = ["anna/jobs", "ben/jobs"]
        deliver = "one"
    "#;
    let topology = write(folder, &here(folder, text));
    // Both workers are away: jobs go from one to the other, and wait while both have enough.
    let mut office = start(&topology, "office").await;
    let (mut moved, mut events) = (0, office.events());
    while moved < 8 {
        let event = tokio::time::timeout(HANGS, events.recv()).await.unwrap().unwrap();
        match event.news {
            estafette_topology::RouteNews::Moved { .. } => moved += 1,
            estafette_topology::RouteNews::Removed { entry } => panic!("{entry} is removed"),
            _ => {}
        }
    }
    // One that comes has them all.
    let anna = start(&topology, "anna").await;
    takes(&anna, 6).await;
    for job in 0..6 {
        assert_eq!(read(folder, &format!("jobs-anna/{job}")), "work");
    }
    office.shutdown().await;
    anna.shutdown().await;
}

#[tokio::test]
async fn what_can_not_go_on_keeps_nothing_else_back() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    std::fs::create_dir(folder.join("out")).unwrap();
    std::fs::write(folder.join("out/first"), "first").unwrap();
    let first = here(folder, TWO_NODES).replace("{ paths = \"letter\" }", "{ each = \"out\" }");
    let topology = write(folder, &first);
    let (mut paris, lyon) = (start(&topology, "paris").await, start(&topology, "lyon").await);
    takes(&paris, 1).await;
    // Somebody takes it away before there is a route that begins there.
    std::fs::remove_file(folder.join("in/first")).unwrap();
    std::fs::write(folder.join("out/second"), "second").unwrap();
    takes(&paris, 1).await;
    let onward = r#"
        [node.brest]
        listen = "unix:{here}/brest.sock"
        [inbox.archive]
        node = "brest"
        sink = { folder = "archive" }
        [route.onward]
        from = "paris"
        source = { inbox = "letters" }
        to = "brest/archive"
    "#;
    let topology = write(folder, &(first + &here(folder, onward)));
    let brest = start(&topology, "brest").await;
    paris.reload(&topology).await.unwrap();
    takes(&brest, 1).await;
    assert_eq!(read(folder, "archive/second"), "second");
    for running in [lyon, paris, brest] {
        running.shutdown().await;
    }
}

#[tokio::test]
async fn of_a_folder_that_is_delivered_nothing_is_removed() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    std::fs::create_dir_all(folder.join("out/tree")).unwrap();
    std::fs::write(folder.join("out/tree/leaf"), "leaf").unwrap();
    std::os::unix::fs::symlink("/nowhere", folder.join("out/tree/link")).unwrap();
    std::fs::write(folder.join("out/line\nbreak"), "odd").unwrap();
    let text = here(folder, TWO_NODES)
        .replace("{ paths = \"letter\" }", "{ each = { folder = \"out\", then = \"remove\" } }");
    let topology = write(folder, &text);
    let (paris, mut lyon) = (start(&topology, "paris").await, start(&topology, "lyon").await);
    let mut events = lyon.events();
    takes(&paris, 2).await;
    let removed = loop {
        let event = tokio::time::timeout(HANGS, events.recv()).await.unwrap().unwrap();
        if let estafette_topology::RouteNews::Removed { entry } = event.news {
            break entry;
        }
    };
    assert_eq!(removed, "line\nbreak");
    assert_eq!(read(folder, "in/tree/leaf"), "leaf");
    assert_eq!(read(folder, "out/tree/leaf"), "leaf");
    // Each was sent once.
    assert_eq!(lyon.node().outbox().list().await.unwrap().len(), 2);
    lyon.shutdown().await;
    paris.shutdown().await;
}

#[tokio::test]
async fn a_target_that_a_schedule_did_not_come_to_is_not_skipped() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let text = r#"
        [node.lyon]
        limits = { outbox = 1 }
        [node.paris]
        listen = "unix:{here}/paris.sock"
        [node.brest]
        listen = "unix:{here}/brest.sock"
        [inbox.news]
        node = ["paris", "brest"]
        sink = { folder = "news-{node}" }
        [route.news]
        from = "lyon"
        source = { text = { name = "today", text = "nothing new" } }
        to = ["paris/news", "brest/news"]
        schedule = { every = "1h" }
    "#;
    let topology = write(folder, &here(folder, text));
    let (brest, mut lyon) = (start(&topology, "brest").await, start(&topology, "lyon").await);
    // Paris is away, and there is no room for a second one until it has come.
    let mut events = lyon.events();
    loop {
        let event = tokio::time::timeout(HANGS, events.recv()).await.unwrap().unwrap();
        if matches!(event.news, estafette_topology::RouteNews::Failed { .. }) {
            break;
        }
    }
    let paris = start(&topology, "paris").await;
    takes(&paris, 1).await;
    takes(&brest, 1).await;
    assert_eq!(read(folder, "news-brest/today"), "nothing new");
    assert_eq!(lyon.node().outbox().list().await.unwrap().len(), 2);
    for running in [lyon, paris, brest] {
        running.shutdown().await;
    }
}

#[tokio::test]
async fn a_mirror_follows_a_file_that_becomes_a_folder_and_a_file_again() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    std::fs::write(folder.join("letter"), "one").unwrap();
    let mirror = here(folder, TWO_NODES)
        .replace("{ folder = \"in\" }", "{ folder = { into = \"in\", on_conflict = \"replace\" } }")
        .replace("to = \"paris", "schedule = \"change\"\nto = \"paris");
    let topology = write(folder, &mirror);
    let (paris, lyon) = (start(&topology, "paris").await, start(&topology, "lyon").await);
    let arrives = async |path: &str, text: &str| {
        let arrived = async {
            while std::fs::read_to_string(folder.join(path)).ok().as_deref() != Some(text) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(HANGS, arrived).await.unwrap_or_else(|_| panic!("{path}"));
    };
    arrives("in/letter", "one").await;
    std::fs::remove_file(folder.join("letter")).unwrap();
    std::fs::create_dir(folder.join("letter")).unwrap();
    std::fs::write(folder.join("letter/two"), "two").unwrap();
    arrives("in/letter/two", "two").await;
    // And back.
    std::fs::remove_dir_all(folder.join("letter")).unwrap();
    std::fs::write(folder.join("letter"), "three").unwrap();
    arrives("in/letter", "three").await;
    lyon.shutdown().await;
    paris.shutdown().await;
}

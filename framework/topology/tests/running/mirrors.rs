//! Mirrors: nothing of them is lost with a source that is empty for a while, and nothing waits for a
//! file that is written to without end.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use estafette::node::OutboxState;
use estafette_topology::{RouteNews, RunningNode, waiting_routes};

use crate::harness::{HANGS, here, read, start, takes, write};

const MIRROR: &str = r#"
    state = "state"

    [node.lyon]

    [node.paris]
    listen = "unix:{here}/paris.sock"

    [inbox.letters]
    node = "paris"
    sink = { folder = { into = "in", on_conflict = "replace" } }

    [route.post]
    from = "lyon"
    source = { paths = {paths} }
    to = "paris/letters"
    schedule = "change"
    {more}
"#;

fn mirror(folder: &Path, paths: &str, more: &str) -> String {
    here(folder, MIRROR).replace("{paths}", paths).replace("{more}", more)
}

/// Waits until the route says why it sends nothing.
async fn fails(node: &mut RunningNode, why: &str) {
    let mut events = node.events();
    let said = async {
        loop {
            if let RouteNews::Failed { why: said, .. } = events.recv().await.unwrap().news
                && said.contains(why)
            {
                return;
            }
        }
    };
    tokio::time::timeout(HANGS, said).await.expect("it is told");
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waits = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(HANGS, waits).await.unwrap_or_else(|_| panic!("{what}"));
}

fn waits(folder: &Path) -> Option<String> {
    waiting_routes(&folder.join("state/lyon/routes")).unwrap().remove("post")
}

#[tokio::test]
async fn a_source_that_has_become_empty_is_held_back_by_every_run_until_it_is_meant() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    // One is the tree itself, and one is a part of it.
    for (paths, mirrored) in
        [("\"out\"", "in/out/letter"), ("[\"out\", \"b\"]", "in/delivery/out/letter")]
    {
        let _ = fs::remove_dir_all(folder.join("state"));
        for name in ["out", "b"] {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        fs::write(folder.join("b/file"), "b").unwrap();
        fs::write(folder.join("out/letter"), "Dear Paris").unwrap();
        let topology = write(folder, &mirror(folder, paths, ""));
        let (mut lyon, paris) = (start(&topology, "lyon").await, start(&topology, "paris").await);
        takes(&paris, 1).await;
        // As a folder is below a disk that is not mounted.
        fs::rename(folder.join("out"), folder.join("away")).unwrap();
        fs::create_dir(folder.join("out")).unwrap();
        fails(&mut lyon, "not mounted").await;
        let pending = lyon.pending().await.unwrap();
        assert_eq!((pending.open, pending.held), (0, 1));
        assert!(waits(folder).unwrap().contains("`empties = true`"));
        lyon.shutdown().await;
        let mut lyon = start(&topology, "lyon").await;
        fails(&mut lyon, "not mounted").await;
        assert_eq!(read(folder, mirrored), "Dear Paris");
        // It is mounted again, and has changed.
        fs::remove_dir(folder.join("out")).unwrap();
        fs::rename(folder.join("away"), folder.join("out")).unwrap();
        fs::write(folder.join("out/more"), "and more").unwrap();
        takes(&paris, 1).await;
        until("it waits no more", async || {
            lyon.pending().await.unwrap().held == 0 && waits(folder).is_none()
        })
        .await;
        // All of it is removed, as it was meant.
        for name in ["letter", "more"] {
            fs::remove_file(folder.join("out").join(name)).unwrap();
        }
        fails(&mut lyon, "all at once").await;
        assert_eq!(read(folder, mirrored), "Dear Paris");
        let topology = write(folder, &mirror(folder, paths, "empties = true"));
        lyon.reload(&topology).await.unwrap();
        takes(&paris, 1).await;
        assert!(!folder.join(mirrored).exists());
        lyon.shutdown().await;
        paris.shutdown().await;
        fs::remove_dir_all(folder.join("in")).unwrap();
    }
}

#[tokio::test]
async fn a_route_that_a_reload_does_not_touch_is_held_as_before() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    fs::create_dir(folder.join("out")).unwrap();
    for name in ["out/letter", "extra"] {
        fs::write(folder.join(name), name).unwrap();
    }
    let old = mirror(folder, "\"out\"", "");
    let topology = write(folder, &old);
    let (mut lyon, paris) = (start(&topology, "lyon").await, start(&topology, "paris").await);
    takes(&paris, 1).await;
    fs::remove_file(folder.join("out/letter")).unwrap();
    fails(&mut lyon, "all at once").await;
    let mut text = old;
    for name in ["extra", "further"] {
        text += &format!(
            "[route.{name}]\nfrom = \"lyon\"\nsource = {{ paths = \"extra\" }}\n\
             to = \"paris/letters\"\n"
        );
        let reload = lyon.reload(&write(folder, &text)).await.unwrap();
        assert!(reload.routes.contains_key(name) && !reload.routes.contains_key("post"));
        assert_eq!(lyon.pending().await.unwrap().held, 1);
    }
    // It hears of it, too, when that is over.
    fs::write(folder.join("out/more"), "and more").unwrap();
    until("it is held no more", async || lyon.pending().await.unwrap().held == 0).await;
    until("all is sent", async || lyon.pending().await.unwrap().open == 0).await;
    assert_eq!(read(folder, "in/out/more"), "and more");
    lyon.shutdown().await;
    paris.shutdown().await;
}

#[tokio::test]
async fn another_folder_with_something_in_it_and_one_that_was_empty_are_sent() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    fs::create_dir(folder.join("out")).unwrap();
    let topology = write(folder, &mirror(folder, "\"out\"", ""));
    let (lyon, paris) = (start(&topology, "lyon").await, start(&topology, "paris").await);
    takes(&paris, 1).await;
    for name in ["first", "second"] {
        fs::rename(folder.join("out"), folder.join(format!("not-{name}"))).unwrap();
        fs::create_dir(folder.join("out")).unwrap();
        fs::write(folder.join("out").join(name), name).unwrap();
        takes(&paris, 1).await;
        assert_eq!(read(folder, &format!("in/out/{name}")), name);
    }
    assert!(!folder.join("in/out/first").exists());
    lyon.shutdown().await;
    paris.shutdown().await;
}

#[tokio::test]
async fn a_version_that_waits_for_its_receiver_is_not_read_as_an_empty_one() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    fs::create_dir(folder.join("out")).unwrap();
    fs::write(folder.join("out/letter"), "one").unwrap();
    let topology = write(folder, &mirror(folder, "\"out\"", ""));
    let (mut lyon, paris) = (start(&topology, "lyon").await, start(&topology, "paris").await);
    takes(&paris, 1).await;
    paris.shutdown().await;
    let mut events = lyon.events();
    fs::write(folder.join("out/letter"), "another one").unwrap();
    let stored = async {
        let mut sent = 0;
        // The first is told from the start on.
        while sent < 2 {
            sent += u32::from(matches!(events.recv().await.unwrap().news, RouteNews::Sent { .. }));
        }
    };
    tokio::time::timeout(HANGS, stored).await.expect("it is stored");
    fs::rename(folder.join("out"), folder.join("away")).unwrap();
    fs::create_dir(folder.join("out")).unwrap();
    let paris = start(&topology, "paris").await;
    until("it is given up", async || {
        let list = lyon.node().outbox().list().await.unwrap();
        list.iter().any(|(_, entry)| match &entry.state {
            OutboxState::Dead { failure, .. } => failure.message.contains("is empty now"),
            _ => false,
        })
    })
    .await;
    assert_eq!(read(folder, "in/out/letter"), "one");
    lyon.shutdown().await;
    // Mounted again: it goes, by the next run.
    fs::remove_dir(folder.join("out")).unwrap();
    fs::rename(folder.join("away"), folder.join("out")).unwrap();
    let lyon = start(&topology, "lyon").await;
    takes(&paris, 1).await;
    assert_eq!(read(folder, "in/out/letter"), "another one");
    lyon.shutdown().await;
    paris.shutdown().await;
}

/// Writes to a file without end, until it is told to end.
fn writer(file: PathBuf) -> (Arc<AtomicBool>, JoinHandle<()>) {
    let ends = Arc::<AtomicBool>::default();
    let is_over = Arc::clone(&ends);
    let writes = move || {
        for line in 0_u64.. {
            if is_over.load(Ordering::Relaxed) {
                return;
            }
            fs::write(&file, line.to_string()).unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    (ends, std::thread::spawn(writes))
}

#[tokio::test]
async fn what_is_quiet_is_sent_without_a_file_that_is_written_to_without_end() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    fs::create_dir(folder.join("out")).unwrap();
    for name in ["letter", "log"] {
        fs::write(folder.join("out").join(name), name).unwrap();
    }
    let topology = write(folder, &mirror(folder, "\"out\"", "patience = \"3s\""));
    let (lyon, paris) = (start(&topology, "lyon").await, start(&topology, "paris").await);
    takes(&paris, 1).await;
    let (ends, writes) = writer(folder.join("out/log"));
    fs::write(folder.join("out/letter"), "Dear Paris").unwrap();
    fs::write(folder.join("out/more"), "and more").unwrap();
    takes(&paris, 1).await;
    let came = ["letter", "more", "log"].map(|name| read(folder, &format!("in/out/{name}")));
    assert_eq!(came, ["Dear Paris", "and more", "log"], "and the log stays as it was");
    until("it is noted why", async || waits(folder).is_some()).await;
    let why = waits(folder).unwrap();
    assert!(why.contains("out/log is being written, at each look for 3s"), "{why}");
    // What is removed is removed meanwhile.
    fs::remove_file(folder.join("out/more")).unwrap();
    takes(&paris, 1).await;
    assert!(!folder.join("in/out/more").exists() && folder.join("in/out/log").exists());
    until("it does not wait for the end", async || lyon.pending().await.unwrap().open == 0).await;
    ends.store(true, Ordering::Relaxed);
    writes.join().unwrap();
    takes(&paris, 1).await;
    assert_eq!(read(folder, "in/out/log"), read(folder, "out/log"));
    until("it waits no more", async || waits(folder).is_none()).await;
    lyon.shutdown().await;
    paris.shutdown().await;
}

#[tokio::test]
async fn of_a_file_that_is_written_to_without_end_it_is_said_that_nothing_is_sent() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let (ends, writes) = writer(folder.join("log"));
    until("it is there", async || folder.join("log").exists()).await;
    let topology = write(folder, &mirror(folder, "\"log\"", "patience = \"1s\""));
    let (mut lyon, paris) = (start(&topology, "lyon").await, start(&topology, "paris").await);
    fails(&mut lyon, "log is being written, at each look for 1s: nothing is sent").await;
    assert!(waits(folder).is_some());
    ends.store(true, Ordering::Relaxed);
    writes.join().unwrap();
    takes(&paris, 1).await;
    lyon.shutdown().await;
    paris.shutdown().await;
}

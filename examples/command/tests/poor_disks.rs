//! Tests of the command on file systems that can do less than a POSIX one: their errors are put in
//! by a shim, whatever they are asked for.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use support::faults::failing;
use support::process::Process;
use support::{Ran, World, text};

/// The calls that FAT, shares and folders by FUSE may not know, and sandboxes may not allow.
const UNKNOWN: &str = "linkat,?link,renameat2,fchmod,fchmodat,utimensat,symlinkat,?symlink,\
                       fallocate,setxattr,fsetxattr";
/// The errors that they answer.
const ERRORS: [&str; 4] = ["EPERM", "EOPNOTSUPP", "EINVAL", "ENOSYS"];

fn tree(world: &World) -> std::path::PathBuf {
    let tree = world.path("tree");
    fs::create_dir_all(tree.join("deep")).unwrap();
    fs::write(tree.join("deep/file"), "deep").unwrap();
    fs::write(tree.join("one"), "one").unwrap();
    fs::hard_link(tree.join("one"), tree.join("two")).unwrap();
    symlink("one", tree.join("link")).unwrap();
    tree
}

fn paris(world: &World, arguments: &[&str]) -> Command {
    let mut command = world.command("paris");
    command.args(["node", "--name", "paris", "--listen", "127.0.0.1:0", "--into"]);
    command.arg(world.path("in")).args(arguments);
    command
}

fn remarks(ran: &Ran) -> String {
    let said = ran.events.iter().filter(|event| event["event"] == "remark");
    said.map(|event| text(event, "message")).collect::<Vec<_>>().join("\n")
}

fn send(world: &World, path: &Path, ticket: &str) -> Ran {
    let ran = world.run("lyon", [Path::new("send"), path, Path::new(ticket)]);
    assert_eq!(ran.code, 0, "{:?}", ran.events);
    ran
}

#[test]
fn what_arrives_stays_where_links_modes_times_and_careful_renames_are_unknown() {
    for error in ERRORS {
        let world = World::new();
        let (file, tree) = (world.file("file", 100_000), tree(&world));
        for policy in ["refuse", "replace", "merge"] {
            let paris = paris(&world, &["--on-conflict", policy]);
            let Some(mut paris) = failing(&paris, UNKNOWN, error, &[]) else { return };
            let paris = Process::start(&mut paris);
            let ticket = text(&paris.wait_for("ticket"), "ticket");
            let said = remarks(&send(&world, &file, &ticket));
            assert!(
                said.contains("permissions of file") && said.contains("times of file"),
                "{said}"
            );
            let said = remarks(&send(&world, &tree, &ticket));
            assert!(said.contains("two is a file of its own"), "{error}, {policy}: {said}");
            assert!(said.contains("link was left out"), "{error}, {policy}: {said}");
            assert!(world.has_arrived("file"), "{error}, {policy}");
            let there = |name: &str| fs::read_to_string(world.path("in/tree").join(name)).unwrap();
            assert_eq!([there("deep/file"), there("one"), there("two")], ["deep", "one", "one"]);
            assert_eq!(world.arrived(), ["file", "tree"], "{error}, {policy}");
            if policy == "refuse" {
                let again = [Path::new("send"), &file, Path::new(&ticket)];
                assert_eq!(world.run("lyon", again).code, 3, "{error}: nothing is replaced");
                fs::remove_dir_all(world.path("in")).unwrap();
                fs::create_dir(world.path("in")).unwrap();
            }
            assert_eq!(paris.terminate(), 0);
        }
    }
}

#[test]
fn keys_trust_and_what_is_stored_are_kept_where_these_and_syncs_of_folders_are_unknown() {
    for error in ERRORS {
        let world = World::new();
        let (file, away) = (world.file("file", 100_000), world.path("away"));
        fs::create_dir(&away).unwrap();
        fs::rename(&file, away.join("file")).unwrap();
        let (mut paris, ticket) = world.paris();
        let ticket = text(&ticket, "ticket");
        let shim = |arguments: &[&str]| {
            let mut lyon = world.command("lyon");
            lyon.args(arguments);
            failing(&lyon, UNKNOWN, error, &[])
        };
        let Some(mut id) = shim(&["id"]) else { return };
        assert_eq!(Ran::from(id.output().unwrap()).code, 0, "{error}");
        let path = away.join("file").display().to_string();
        let store = ["send", "--detach", "--copy", &path, &ticket];
        let stored = Ran::from(shim(&store).unwrap().output().unwrap());
        assert_eq!(stored.code, 0, "{error}: {:?}", stored.events);
        fs::remove_file(&path).unwrap();

        // Folders that can't be synced, of a spool and of what is trusted.
        let folders = ["lyon.key.spool", "lyon.key.spool/bulk", "lyon.key.trust"];
        let folders = folders.map(|name| world.path(name));
        let folders: Vec<&Path> = folders.iter().map(|folder| &**folder).collect();
        let letter = world.file("letter", 10).display().to_string();
        let mut lyon = world.command("lyon");
        lyon.args(["send", "--detach", "--copy", &letter, &ticket]);
        let stored = failing(&lyon, "fsync,fdatasync", error, &folders).unwrap().output().unwrap();
        let (stored, refuses) = (Ran::from(stored), error == "EPERM");
        assert_eq!(stored.code == 0, !refuses, "{error}: {:?}", stored.events);

        let mut node = Process::start(&mut shim(&["node", "--name", "lyon"]).unwrap());
        node.wait_for("delivered");
        if !refuses {
            node.wait_for("delivered");
            assert!(world.has_arrived("letter"));
        }
        assert!(node.ended().is_none() && paris.ended().is_none());
        assert_eq!(fs::metadata(world.path("in/file")).unwrap().len(), 100_000);
        assert_eq!((node.terminate(), paris.terminate()), (0, 0), "{error}");
    }
}

#[test]
fn a_file_that_would_be_longer_than_one_may_be_ends_no_node() {
    let world = World::new();
    let paris = Process::start(&mut world.limited("-f 1024", &paris(&world, &[])));
    let ticket = text(&paris.wait_for("ticket"), "ticket");
    let long = world.file("long", 3 << 20);
    let mut lyon = world.command("lyon");
    let copy = ["send", "--detach", "--copy", long.to_str().unwrap(), &ticket];
    let stored = Ran::from(world.limited("-f 1024", lyon.args(copy)).output().unwrap());
    assert_eq!(stored.code, 6, "{:?}", stored.events);
    let said = text(stored.event("error"), "message");
    assert!(said.contains("too large"), "{said}");
    // What the receiver may not write is refused, and named.
    let kept = ["send", "--detach", long.to_str().unwrap(), &ticket];
    assert_eq!(world.run("lyon", kept).code, 0);
    let mut node = world.lyon();
    let said = text(&node.wait_for("error"), "message");
    assert!(said.contains("in/long: File too large"), "{said}");
    send(&world, &world.file("short", 1000), &ticket);
    assert!(world.has_arrived("short") && node.ended().is_none());
    assert_eq!((node.terminate(), paris.terminate()), (0, 0));
}

#[test]
fn a_spool_that_can_not_be_locked_is_refused_with_the_reason() {
    for error in ["EOPNOTSUPP", "ENOLCK", "ENOSYS", "EINVAL"] {
        let world = World::new();
        let paris = paris(&world, &[]);
        let Some(mut paris) = failing(&paris, "flock", error, &[]) else { return };
        let ran = Ran::from(paris.output().unwrap());
        assert_eq!(ran.code, 6, "{:?}", ran.events);
        let said = text(ran.event("error"), "message");
        assert!(said.contains("can't be locked") && said.contains("another file system"), "{said}");
    }
}

//! A mirror of a disk that is not mounted for a while.

use std::fs;

use super::disk::Disk;
use super::{TWO_NODES, run, text, world};

#[test]
fn a_disk_that_is_not_mounted_empties_no_mirror() {
    let mirror = TWO_NODES.replace("sink = { folder = \"in\" }", INTO) + "schedule = \"change\"\n";
    let (_place, folder) = world(&mirror);
    let letter = folder.join("in/out/letter");
    fs::remove_file(folder.join("out/letter")).unwrap();
    let Some(disk) = Disk::mount(&folder.join("out")) else { return };
    fs::write(folder.join("out/letter"), "Dear Paris").unwrap();
    let once = || run(&folder, &["run", "topology.toml", "--once"]);
    assert!(once().status.success() && letter.exists());
    drop(disk);
    // By all nodes in processes of their own, and once more.
    for _ in 0..2 {
        let output = once();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(6), "{said}");
        assert!(said.contains("its disk is most likely not mounted"), "{said}");
        assert!(said.contains("1 route holds its source back"), "{said}");
    }
    let listed = text(&run(&folder, &["list", "topology.toml"]).stdout);
    assert!(listed.contains("route post waits: its source is another folder"), "{listed}");
    let listed = text(&run(&folder, &["--json", "list", "topology.toml"]).stdout);
    assert!(listed.contains("\"waits\":\"its source is another folder"), "{listed}");
    let key = ["--key", ".estafette/topology/lyon/node.key", "doctor"];
    let found = text(&run(&folder, &key).stdout);
    assert!(found.contains("the route post waits: its source is another folder"), "{found}");
    assert_eq!(fs::read_to_string(&letter).unwrap(), "Dear Paris");
    // As it is meant.
    let empties = mirror + "empties = true\n";
    let empties = empties.replace("{here}", folder.to_str().unwrap());
    fs::write(folder.join("topology.toml"), empties).unwrap();
    let output = once();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!letter.exists());
    let listed = text(&run(&folder, &["list", "topology.toml"]).stdout);
    assert!(!listed.contains("waits"), "{listed}");
}

/// An inbox in which what is gone is removed.
const INTO: &str = "sink = { folder = { into = \"in\", on_conflict = \"replace\" } }";

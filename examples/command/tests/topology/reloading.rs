//! `estafette reload`, and reloads that can't be done: nothing is changed, and it is told.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStdin, Stdio};

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use super::reload::{runs, save};
use super::{Running, TWO_NODES, child_of, estafette, run, text, world};

const PROGRAM: &str = env!("CARGO_BIN_EXE_estafette");

/// The exit code of `estafette reload`, and what it says.
pub(super) fn reload(folder: &Path) -> (Option<i32>, String) {
    let output = run(folder, &["reload", "topology.toml"]);
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

/// A topology of all nodes, which are up.
pub(super) fn up(folder: &Path) -> (Running, impl Iterator<Item = Value> + use<>) {
    let (running, mut events) = runs(Path::new(PROGRAM), folder, &["topology.toml"]);
    Running::wait_for(&mut events, "delivered", "paris");
    (running, events)
}

#[test]
fn a_reload_is_waited_for_and_what_was_refused_is_tried_again() {
    let (_place, folder) = world(TWO_NODES);
    let (_running, mut events) = up(&folder);
    assert_eq!(reload(&folder), (Some(0), "nothing changes\n".into()));
    // Another address, which something else has: paris goes on at the one before, and so does lyon.
    let moved = folder.join("moved.sock");
    fs::write(&moved, "no socket").unwrap();
    save(&folder, &(TWO_NODES.replace("paris.sock", "moved.sock") + "expires = \"3h\"\n"));
    let (code, said) = reload(&folder);
    assert_eq!(code, Some(6), "{said}");
    let told = format!("paris: not reloaded: can't listen at unix:{}", moved.display());
    assert!(said.contains(&told) && said.contains("nothing is changed"), "{said}");
    let refused = events.find(|event| event["event"] == "reloaded").unwrap();
    assert_eq!((&refused["node"], &refused["kind"]), (&"paris".into(), &"io".into()));
    assert_eq!(refused["failed"], true);
    assert!(folder.join("paris.sock").exists());
    let planned = text(&run(&folder, &["plan", "topology.toml"]).stdout);
    assert!(planned.contains("lyon: peer `paris` changes, route `post` changes"), "{planned}");
    // It is free now, of which no file tells.
    fs::remove_file(&moved).unwrap();
    let output = run(&folder, &["--json", "reload", "topology.toml"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = text(&output.stdout);
    let told: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let change = |node: &str| {
        let of =
            told.iter().find(|event| event["node"] == node).unwrap_or_else(|| panic!("{said}"));
        assert_eq!((&of["event"], &of["failed"]), (&"reloaded".into(), &false.into()));
        of["change"].as_str().unwrap().to_owned()
    };
    assert_eq!(change("paris"), "starts again, for its listen to take effect");
    assert!(change("lyon").contains("route `post` changes"), "{said}");
    // All of it is done.
    let planned = text(&run(&folder, &["plan", "topology.toml"]).stdout);
    assert_eq!(planned, "nothing changes\n");
    assert!(!folder.join("paris.sock").exists());
}

#[test]
fn one_node_in_its_own_process_reloads_when_it_is_told_to() {
    let (_place, folder) = world(TWO_NODES);
    let (_paris, mut events) =
        runs(Path::new(PROGRAM), &folder, &["topology.toml", "--node", "paris"]);
    events.find(|event| event["event"] == "ready").unwrap();
    save(&folder, &TWO_NODES.replace("\"in\"", "\"no/such/folder\""));
    let (code, said) = reload(&folder);
    assert!(code == Some(6) && said.contains("paris: not reloaded: the inbox `letters`"), "{said}");
    fs::create_dir_all(folder.join("no/such")).unwrap();
    let (code, said) = reload(&folder);
    assert_eq!((code, &*said), (Some(0), "paris: inbox `letters` changes\n"));
    // Its process alone can't be started again.
    save(&folder, &TWO_NODES.replace("paris.sock", "moved.sock"));
    let (code, said) = reload(&folder);
    assert!(code == Some(3) && said.contains("when it is started again"), "{said}");
}

#[test]
fn who_can_not_be_told_is_named() {
    let (_place, folder) = world(TWO_NODES);
    let (code, said) = reload(&folder);
    assert!(code == Some(2) && said.contains("nobody runs topology.toml here"), "{said}");
    let (_running, mut events) = up(&folder);
    // At fault: nothing changes, and one that dies is started as it was.
    save(&folder, &TWO_NODES.replace("to = \"paris", "to = \"pariss"));
    let (code, said) = reload(&folder);
    assert!(code == Some(2) && said.contains("error[unknown-node]"), "{said}");
    events.find(|event| event["event"] == "fault").unwrap();
    let paris = child_of(_running.0.id(), "--node\0paris\0");
    kill_process(paris, Signal::KILL).unwrap();
    Running::wait_for(&mut events, "node_ended", "paris");
    Running::wait_for(&mut events, "ready", "paris");
    save(&folder, TWO_NODES);
    assert_eq!(reload(&folder).0, Some(0));
    // Somebody else may not.
    if rustix::process::geteuid().is_root() {
        fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).unwrap();
        let mut other = estafette(&folder);
        other.args(["reload", "topology.toml"]).uid(65_534).gid(65_534);
        let said = text(&other.output().unwrap().stderr);
        let code = other.status().unwrap().code();
        assert!(code == Some(6) && said.contains("ask as the user who runs"), "{code:?} {said}");
    }
}

#[test]
fn a_process_that_says_nothing_hides_no_outcome_and_one_of_another_topology_is_passed_over() {
    let (_place, folder) = world(TWO_NODES);
    let (_running, _events) = up(&folder);
    let silent = |node: &str| {
        let place = folder.join(format!(".estafette/topology/{node}/run"));
        fs::create_dir_all(&place).unwrap();
        let listener = UnixListener::bind(place.join("control.sock")).unwrap();
        std::thread::spawn(move || listener.incoming().for_each(drop));
    };
    silent("brest");
    assert_eq!(reload(&folder), (Some(0), "nothing changes\n".into()));
    // One of the nodes that the file names may be of it.
    silent("paris");
    save(&folder, &(TWO_NODES.to_owned() + "expires = \"3h\"\n"));
    let (code, said) = reload(&folder);
    assert!(code == Some(6) && said.contains("has not told to the end"), "{said}");
    assert!(said.contains("lyon: ") && said.contains("route `post` changes"), "{said}");
}

const WITH_PAGE: &str = "paris.sock\"\nhttp = { listen = \"127.0.0.1:0\", token_file = \"token\" }";

#[test]
fn a_token_that_others_can_read_ends_no_node_that_runs() {
    let (_place, folder) = world(TWO_NODES);
    let (running, mut events) = up(&folder);
    let token = folder.join("token");
    fs::write(&token, "0123456789abcdef0123456789abcdef").unwrap();
    fs::set_permissions(&token, PermissionsExt::from_mode(0o644)).unwrap();
    let before = child_of(running.0.id(), "--node\0paris\0");
    save(&folder, &TWO_NODES.replace("paris.sock\"", WITH_PAGE));
    let (code, said) = reload(&folder);
    assert!(
        code == Some(6) && said.contains("chmod 600") && said.contains("nothing is changed"),
        "{said}"
    );
    assert_eq!(child_of(running.0.id(), "--node\0paris\0"), before);
    fs::set_permissions(&token, PermissionsExt::from_mode(0o600)).unwrap();
    let (code, said) = reload(&folder);
    assert_eq!((code, &*said), (Some(0), "paris: starts again, for its http to take effect\n"));
    Running::wait_for(&mut events, "page", "paris");
    // A node that dies while it is so waits for it to be mended.
    fs::set_permissions(&token, PermissionsExt::from_mode(0o644)).unwrap();
    let paris = child_of(running.0.id(), "--node\0paris\0");
    kill_process(paris, Signal::KILL).unwrap();
    let ended = |event: &Value| event["event"] == "node_ended" && event["code"] == 6;
    assert_eq!(events.find(ended).unwrap()["seconds"], Value::Null);
    fs::set_permissions(&token, PermissionsExt::from_mode(0o600)).unwrap();
    Running::wait_for(&mut events, "page", "paris");
}

#[test]
fn a_key_that_can_not_be_read_changes_nothing() {
    let (_place, folder) = world(TWO_NODES);
    let (_running, _events) = up(&folder);
    fs::write(folder.join("bad.key"), "no key").unwrap();
    fs::set_permissions(folder.join("bad.key"), PermissionsExt::from_mode(0o600)).unwrap();
    let with_key = TWO_NODES.replace("[node.paris]", "[node.paris]\nkey = \"bad.key\"");
    save(&folder, &(with_key + "expires = \"3h\"\n"));
    let (code, said) = reload(&folder);
    let told = "paris: not reloaded: the key of the node `paris`";
    assert!(code == Some(6) && said.contains(told), "{said}");
    assert!(!said.contains("lyon"), "{said}");
}

#[test]
fn a_node_that_can_not_start_as_it_is_now_goes_on_as_it_was() {
    let (_place, folder) = world(TWO_NODES);
    let (running, mut events) = up(&folder);
    let before = child_of(running.0.id(), "--node\0paris\0");
    // What a door needs is known when it is opened. Nobody else takes ports of this address.
    let held = TcpListener::bind("127.8.15.1:0").unwrap();
    let door = format!(
        "\n[door.web]\nnode = \"paris\"\ndoor = {{ http = \"{}\" }}\nto = \"lyon/letters\"\n",
        held.local_addr().unwrap()
    );
    let inbox = TWO_NODES.replace("node = \"paris\"\n", "node = [\"paris\", \"lyon\"]\n");
    let new = inbox.replace("paris.sock", "moved.sock").replace("\"in\"", "\"in-{node}\"") + &door;
    save(&folder, &new);
    let (code, said) = reload(&folder);
    assert!(code == Some(6) && said.contains("it goes on as before"), "{said}");
    let ready = events.find(|event: &Value| {
        event["event"] == "ready" && event["node"] == "paris" && is_old(event)
    });
    assert!(ready.is_some());
    assert_ne!(child_of(running.0.id(), "--node\0paris\0"), before);
    // Mended, it is as the file says.
    drop(held);
    let (code, said) = reload(&folder);
    assert!(code == Some(0) && said.contains("paris: starts again, for its listen"), "{said}");
}

fn is_old(ready: &Value) -> bool {
    ready["addrs"][0].as_str().unwrap().ends_with("paris.sock")
}

#[test]
fn what_another_node_is_not_told_of_yet_is_put_off_and_is_no_error() {
    let (_place, folder) = world(TWO_NODES);
    let here = |text: &str| text.replace("{here}", folder.to_str().unwrap());
    let state = "state = \".estafette\"\n".to_owned();
    fs::write(folder.join("lyon.toml"), here(&(state.clone() + TWO_NODES))).unwrap();
    let before = here(&(state + TWO_NODES.split("[inbox").next().unwrap()));
    fs::write(folder.join("paris.toml"), before + "trust = [\"lyon\"]\n").unwrap();
    let (_paris, mut paris) = runs(Path::new(PROGRAM), &folder, &["paris.toml", "--node", "paris"]);
    paris.find(|event| event["event"] == "ready").unwrap();
    let (_lyon, mut lyon) = runs(Path::new(PROGRAM), &folder, &["lyon.toml", "--node", "lyon"]);
    let told = lyon.find(|event| event["event"] == "deferred" || event["event"] == "error");
    let told = told.unwrap();
    assert_eq!((&told["event"], &told["kind"]), (&"deferred".into(), &"refused".into()), "{told}");
    fs::copy(folder.join("lyon.toml"), folder.join("paris.toml")).unwrap();
    let next = lyon.find(|event| event["event"] == "delivered" || event["event"] == "error");
    assert_eq!(next.unwrap()["event"], "delivered");
}

const RELAYED: &str = r#"
[node.lyon]
[node.dijon]
listen = "unix:{here}/dijon.sock"
relay = true
[node.paris]
id = "{paris}"
listen = "unix:{here}/paris.sock"
[inbox.letters]
node = "paris"
sink = { folder = "in" }
[route.post]
from = "lyon"
source = { paths = "out" }
to = "paris/letters"
"#;

#[test]
fn a_relay_that_keeps_something_ends_and_gets_another_key_when_it_is_empty() {
    let (_place, folder) = world("");
    let id = run(&folder, &["id", "--key", "away/paris.key"]);
    let id = text(&id.stdout);
    let written = RELAYED.replace("{paris}", id.trim());
    let by_relay = written.clone() + "via = \"dijon\"\n";
    save(&folder, &by_relay);
    let (running, mut events) = runs(Path::new(PROGRAM), &folder, &["topology.toml"]);
    Running::wait_for(&mut events, "relayed", "lyon");
    // Paris is away. Neither is the relay ended, nor does it get another key.
    let out =
        written.replace("[node.dijon]\nlisten = \"unix:{here}/dijon.sock\"\nrelay = true\n", "");
    assert!(!out.contains("dijon"));
    let with_key = by_relay.replace("[node.dijon]", "[node.dijon]\nkey = \"new.key\"");
    let refused = |text: &str| {
        save(&folder, text);
        let (code, said) = reload(&folder);
        let told = "dijon: not reloaded: 1 delivery that it keeps as a relay would be lost";
        assert!(code == Some(3) && said.contains(told), "{said}");
        assert!(!said.contains("lyon"), "{said}");
    };
    let planned = |text: &str, told: &str| {
        save(&folder, text);
        let said = super::text(&run(&folder, &["plan", "topology.toml"]).stdout);
        assert!(said.contains(told), "{said}");
    };
    refused(&out);
    planned(&out, "dijon: ends; refused while it keeps 1 delivery for others");
    refused(&with_key);
    // It is refused as well: that is no key.
    let limited = by_relay.replace("relay = true", "relay = { packages = 9 }");
    planned(
        &(limited + "[node.nice]\nkey = \"out/letter\"\n"),
        "for its relay to take effect; what it keeps for others (1 delivery) stays there",
    );
    // Also of one that does not run, as something else is where it would listen.
    drop((running, events));
    save(&folder, &by_relay.replace("dijon.sock", "out/letter"));
    let (_running, mut events) = runs(Path::new(PROGRAM), &folder, &["topology.toml"]);
    Running::wait_for(&mut events, "node_ended", "dijon");
    refused(&out);
    save(&folder, &by_relay);
    assert_eq!(reload(&folder).0, Some(0));
    // Paris comes, and takes it.
    let by_itself = by_relay.replace("[node.paris]", "[node.paris]\nkey = \"away/paris.key\"");
    let by_itself = by_itself.replace("{here}", folder.to_str().unwrap());
    let by_itself = by_itself
        .replace("[node.dijon]", &format!("[node.dijon]\nid = \"{}\"", id_of(&folder, "dijon")));
    let by_itself = by_itself
        .replace("[node.lyon]", &format!("[node.lyon]\nid = \"{}\"", id_of(&folder, "lyon")));
    fs::write(folder.join("paris.toml"), by_itself).unwrap();
    let (_paris, _) = runs(Path::new(PROGRAM), &folder, &["paris.toml", "--node", "paris"]);
    Running::wait_for(&mut events, "delivered", "lyon");
    // When lyon has heard of it, nothing is left.
    save(&folder, &out);
    while reload(&folder).0 == Some(3) {}
    let planned = text(&run(&folder, &["plan", "topology.toml"]).stdout);
    assert!(planned.ends_with("nothing changes\n"), "{planned}");
    assert_eq!(fs::read_to_string(folder.join("in/out/letter")).unwrap(), "Dear Paris");
}

#[test]
fn what_a_relay_keeps_when_it_has_ended_has_it_start_again() {
    let (_place, folder) = world("");
    let id = text(&run(&folder, &["id", "--key", "away/paris.key"]).stdout);
    let written = RELAYED.replace("{paris}", id.trim());
    let by_relay = written.clone() + "via = \"dijon\"\n";
    save(&folder, &by_relay);
    let (running, mut events) = runs(Path::new(PROGRAM), &folder, &["topology.toml"]);
    Running::wait_for(&mut events, "relayed", "lyon");
    drop((running, events));
    // What it keeps is put aside, and all begins anew, with a delivery that takes longer than any
    // test.
    let spool = |node: &str| folder.join(format!(".estafette/topology/{node}/node.key.spool"));
    for node in ["lyon", "dijon"] {
        let lock = fs::File::open(spool(node).join("lock")).unwrap();
        lock.lock().unwrap();
        fs::rename(spool(node), folder.join(format!("{node}.spool"))).unwrap();
    }
    fs::write(folder.join("slow"), vec![7; 100 << 20]).unwrap();
    let slow = by_relay.replace("\"out\"", "\"slow\"") + "rate = \"1KiB\"\n";
    save(&folder, &slow);
    let (running, mut events) = runs(Path::new(PROGRAM), &folder, &["topology.toml"]);
    Running::wait_for(&mut events, "progress", "lyon");
    let dijon = child_of(running.0.id(), "--node\0dijon\0");
    let relay = "[node.dijon]\nlisten = \"unix:{here}/dijon.sock\"\nrelay = true\n";
    save(&folder, &written.replace(relay, ""));
    let reloading = std::thread::spawn({
        let folder = folder.clone();
        move || reload(&folder)
    });
    let told = events.find(|event| event["event"] == "reloaded" && event["node"] == "dijon");
    assert_eq!(told.unwrap()["failed"], false);
    // Asked while it ran, it had nothing.
    fs::rename(spool("dijon"), folder.join("before")).unwrap();
    fs::rename(folder.join("dijon.spool"), spool("dijon")).unwrap();
    kill_process(dijon, Signal::KILL).unwrap();
    let told = events.find(|event| event["event"] == "reloaded" && event["node"] == "dijon");
    let told = told.unwrap();
    let why = told["change"].as_str().unwrap();
    assert!(why.contains("1 delivery that it keeps") && why.contains("as before"), "{told}");
    Running::wait_for(&mut events, "ready", "dijon");
    let (code, said) = reloading.join().unwrap();
    assert!(code == Some(6) && said.contains("1 delivery that it keeps"), "{said}");
}

fn id_of(folder: &Path, node: &str) -> String {
    let key = format!(".estafette/topology/{node}/node.key");
    text(&run(folder, &["id", "--key", &key]).stdout).trim().to_owned()
}

#[test]
fn nodes_that_swap_their_addresses_wait_for_each_other() {
    let slow = r#"
[node.brest]
listen = "unix:{here}/brest.sock"
[inbox.slow]
node = "paris"
sink = { folder = "slow-in" }
[route.slow]
from = "lyon"
source = { paths = "slow" }
to = "paris/slow"
rate = "1KiB"
"#;
    let before = TWO_NODES.to_owned() + slow;
    let (_place, folder) = world(&before);
    fs::write(folder.join("slow"), vec![7; 1 << 20]).unwrap();
    let arguments = ["topology.toml", "--drain", "3s"];
    let (_running, mut events) = runs(Path::new(PROGRAM), &folder, &arguments);
    Running::wait_for(&mut events, "progress", "lyon");
    // Brest ends at once, and paris when its time for what it receives is over.
    let swapped = before.replace("paris.sock", "other.sock").replace("brest.sock", "paris.sock");
    save(&folder, &swapped.replace("other.sock", "brest.sock"));
    let (code, said) = reload(&folder);
    assert_eq!(code, Some(0), "{said}");
    for node in ["brest", "paris"] {
        assert!(said.contains(&format!("{node}: starts again, for its listen")), "{said}");
    }
    // A new one takes the address of one that ends.
    let taken = before.replace("paris.sock", "new.sock");
    save(
        &folder,
        &taken.replace("[node.brest]", "[node.nice]").replace("brest.sock", "paris.sock"),
    );
    let (code, said) = reload(&folder);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("nice: starts") && said.contains("brest: ends"), "{said}");
    let planned = text(&run(&folder, &["plan", "topology.toml"]).stdout);
    assert!(planned.ends_with("nothing changes\n"), "{planned}");
}

#[test]
fn what_was_accepted_is_there_though_the_folder_of_the_first_node_is_gone() {
    let (_place, folder) = world(&(TWO_NODES.to_owned() + "[node.brest]\n"));
    let (_running, mut events) = runs(Path::new(PROGRAM), &folder, &["topology.toml"]);
    Running::wait_for(&mut events, "routed", "lyon");
    save(&folder, TWO_NODES);
    let (code, said) = reload(&folder);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("brest: ends"), "{said}");
    fs::remove_dir_all(folder.join(".estafette/topology/brest")).unwrap();
    fs::write(folder.join("more"), "and more").unwrap();
    let more =
        "[route.more]\nfrom = \"lyon\"\nsource = { paths = \"more\" }\nto = \"paris/letters\"\n";
    save(&folder, &(TWO_NODES.to_owned() + more));
    // The socket by which it is asked went with that folder: it looks by itself.
    let told = Running::wait_for(&mut events, "reloaded", "lyon");
    assert_eq!(told["failed"], false, "{told}");
    Running::wait_for(&mut events, "routed", "lyon");
}

#[test]
fn a_node_reads_the_text_that_its_parent_accepted_whatever_the_file_says() {
    let (_place, folder) = world(TWO_NODES);
    let accepted = folder.join("accepted.toml");
    let accept = |text: &str| {
        fs::write(&accepted, text.replace("{here}", folder.to_str().unwrap())).unwrap();
    };
    accept(TWO_NODES);
    save(&folder, "at fault");
    let mut command = estafette(&folder);
    command.args(["--json", "run", "topology.toml", "--node", "paris", "--with-parent"]);
    command.arg("--accepted").arg(&accepted).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = Running(command.spawn().unwrap());
    let mut stdin = running.0.stdin.take().unwrap();
    let stdout = BufReader::new(running.0.stdout.take().unwrap()).lines();
    let mut events = stdout.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let mut reloaded = |stdin: Option<&mut ChildStdin>| {
        if let Some(stdin) = stdin {
            stdin.write_all(b"reload\n").unwrap();
        }
        let event = events.find(|event| event["event"] == "reloaded").unwrap();
        (event["change"].as_str().unwrap().to_owned(), event["failed"] == true)
    };
    // It is up.
    assert_eq!(reloaded(None), (String::new(), false));
    accept(&TWO_NODES.replace("\"in\"", "\"in-2\""));
    assert_eq!(reloaded(Some(&mut stdin)), ("inbox `letters` changes".into(), false));
    // What takes a start is told to its parent, who begins it again.
    accept(&TWO_NODES.replace("paris.sock", "moved.sock"));
    assert_eq!(reloaded(Some(&mut stdin)), (String::new(), true));
    fs::remove_file(&accepted).unwrap();
    let (change, failed) = reloaded(Some(&mut stdin));
    assert!(failed && change.contains("accepted.toml can't be read"), "{change}");
    drop(stdin);
    assert!(running.0.wait().unwrap().success());
}

#[cfg(feature = "webhooks")]
#[test]
fn a_node_that_lacks_a_secret_says_so_once_and_starts_when_it_is_there() {
    let webhook = r#"
[door.orders]
node = "paris"
door = { webhook = { url = "https://127.0.0.1:1/", secret_file = "orders.secret" } }
from = "lyon"
"#;
    let (_place, folder) = world(&(TWO_NODES.to_owned() + webhook));
    let checked = run(&folder, &["validate", "topology.toml"]);
    let said = text(&checked.stderr);
    assert!(checked.status.success() && said.contains("orders.secret is not there yet"), "{said}");
    let (_running, mut events) = runs(Path::new(PROGRAM), &folder, &["topology.toml"]);
    let ended = Running::wait_for(&mut events, "node_ended", "paris");
    assert_eq!((&ended["code"], &ended["seconds"]), (&6.into(), &Value::Null));
    let secret = folder.join("orders.secret");
    fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    // Others can read it: it waits for that, too, without another word.
    fs::set_permissions(&secret, PermissionsExt::from_mode(0o644)).unwrap();
    let checked = run(&folder, &["validate", "topology.toml"]);
    let said = text(&checked.stderr);
    assert_eq!(checked.status.code(), Some(2), "{said}");
    for told in ["error[exposed]", "secret_file = \"orders.secret\"", "chmod 600"] {
        assert!(said.contains(told), "{said}");
    }
    fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
    let next = |event: &Value| {
        event["node"] == "paris"
            && ["ready", "node_ended"].iter().any(|kind| event["event"] == *kind)
    };
    assert_eq!(events.find(next).unwrap()["event"], "ready");
    Running::wait_for(&mut events, "delivered", "paris");
}

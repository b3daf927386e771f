//! The page of a node, in a real browser: what happens to two processes is seen there.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use support::browser::Browser;
use support::process::Process;
use support::{World, text};

/// Lyon, which is linked with paris, and whose page is open.
struct Scene {
    world: World,
    paris: Process,
    lyon: Process,
    browser: Browser,
}

fn trust(world: &World, who: &str, id: &str, name: &str, address: Option<&str>) {
    let address = address.map(|address| ["--addr", address]).into_iter().flatten();
    let arguments = ["trust", "add", id, "--name", name].into_iter().chain(address);
    assert_eq!(world.run(who, arguments).code, 0);
}

fn scene() -> Option<Scene> {
    let browser = Browser::start()?;
    let world = World::new();
    let (paris, ticket) = world.paris();
    let lyon_id = text(world.run("lyon", ["id"]).event("id"), "peer");
    trust(&world, "lyon", &text(&ticket, "peer"), "paris", Some(&text(&ticket, "addr")));
    trust(&world, "paris", &lyon_id, "lyon", None);
    let lyon = world.lyon_with(&["--http", "127.0.0.1:0", "--connect", "paris"]);
    browser.resize(1280, 900);
    browser.open(&text(&lyon.wait_for("page"), "url"));
    browser.wait_for("document.querySelector('#live').textContent === 'live'");
    browser.wait_for("document.querySelector('#graph').textContent.includes('linked')");
    Some(Scene { world, paris, lyon, browser })
}

const ROW: &str = "document.querySelector('#transfer-rows tr')";
const VERDICT: &str = "document.querySelector('#verdict').dataset.state";

#[test]
fn a_transfer_is_seen_to_move_and_to_end_and_a_peer_that_is_killed_is_seen_to_be_gone() {
    let Some(Scene { world, paris, lyon, browser }) = scene() else { return };
    browser.wait_for(&format!("{VERDICT} === 'good'"));
    assert_eq!(browser.value("document.querySelector('#name').textContent"), "lyon");
    let file = world.file("<img src=x onerror=alert(1)> holiday.tar", 6_000_000);
    let mut send: Command = world.command("lyon");
    let sending =
        Process::start(send.args(["send", "--limit", "2M"]).arg(&file).arg("paris/files"));
    browser.wait_for(&format!("{ROW}?.textContent.includes('holiday.tar')"));
    browser.wait_for(&format!("{ROW}?.querySelector('.phase').textContent === 'running'"));
    let bar = format!("{ROW}?.querySelector('progress').value");
    browser.wait_for(&format!("{bar} > 0.1 && {bar} < 1"));
    browser.wait_for(&format!(
        "/[1-9].* [kM]B\\/s/.test({ROW}?.querySelector('.number').textContent)"
    ));
    browser.wait_for("document.querySelector('#graph .flows') !== null");
    browser.picture("moving");
    browser.wait_for(&format!("{ROW}?.querySelector('.phase').textContent === 'delivered'"));
    browser.wait_for(&format!("{bar} === 1"));
    assert_eq!(sending.code(), 0);
    browser.wait_for(
        "[...document.querySelectorAll('#happenings [data-state=good]')]\
         .some((told) => told.textContent.includes('holiday.tar'))",
    );
    assert_eq!(browser.value(VERDICT), "good");
    paris.kill();
    browser.wait_for(&format!("{VERDICT} === 'bad'"));
    browser.wait_for(
        "document.querySelector('#troubles').textContent.includes('paris can\\'t be reached')",
    );
    browser.wait_for("document.querySelector('#graph [data-of^=links]').dataset.state === 'bad'");
    browser.picture("killed");
    assert_eq!(browser.errors(), Vec::<String>::new());
    lyon.kill();
    browser.wait_for("document.querySelector('#live').dataset.state === 'lost'");
}

#[test]
fn the_page_fits_a_narrow_window_is_dark_where_that_is_wanted_and_goes_by_keyboard() {
    let Some(Scene { world, browser, paris: _paris, lyon: _lyon }) = scene() else { return };
    let file = world.file("holiday.tar", 4_000_000);
    let mut send: Command = world.command("lyon");
    let _sending =
        Process::start(send.args(["send", "--limit", "500k"]).arg(&file).arg("paris/files"));
    browser.wait_for(&format!("{ROW}?.querySelector('progress').value > 0.05"));
    let ground = || browser.value("getComputedStyle(document.documentElement).backgroundColor");
    let mut grounds = Vec::new();
    for scheme in ["light", "dark"] {
        browser.prefer(scheme);
        for (size, (width, height)) in [("wide", (1280, 900)), ("narrow", (420, 900))] {
            browser.resize(width, height);
            let room =
                "document.documentElement.scrollWidth <= document.documentElement.clientWidth";
            browser.wait_for(room);
            browser.picture(&format!("{scheme}-{size}"));
        }
        grounds.push(ground());
    }
    assert_ne!(grounds[0], grounds[1]);
    browser.value("document.activeElement.blur()");
    let tab = "\u{e004}";
    browser.press(tab);
    assert_eq!(browser.value("document.activeElement.className"), "skip", "the first of all");
    browser.wait_for("document.activeElement.getBoundingClientRect().left > 0");
    // On to the button that shows faults alone, by way of the boxes.
    for _ in 0..20 {
        browser.press(tab);
        if browser.value("document.activeElement.dataset.show ?? ''") == "fault" {
            break;
        }
    }
    browser.press(" ");
    assert_eq!(browser.value("document.querySelector('#happenings').dataset.show"), "fault");
    assert_eq!(browser.errors(), Vec::<String>::new());
}

#[test]
fn a_browser_gives_the_token_as_a_password_for_the_page_and_for_its_stream() {
    let Some(browser) = Browser::start() else { return };
    let world = World::new();
    let token = world.path("token");
    fs::write(&token, "0123456789abcdef").unwrap();
    fs::set_permissions(&token, Permissions::from_mode(0o600)).unwrap();
    let lyon =
        world.lyon_with(&["--http", "127.0.0.1:0", "--http-token-file", token.to_str().unwrap()]);
    let url = text(&lyon.wait_for("page"), "url");
    browser.open(&url.replace("http://", "http://me:wrong-wrong-wrong@"));
    assert_eq!(browser.value("document.querySelector('#live')"), serde_json::Value::Null);
    browser.open(&url.replace("http://", "http://me:0123456789abcdef@"));
    browser.wait_for("document.querySelector('#live').textContent === 'live'");
    browser.wait_for("document.querySelector('#name').textContent === 'lyon'");
}

/// A topology that has a page, and whose lines are slow enough to be looked at.
const TOPOLOGY: &str = r#"
[node.lyon]
http = "127.0.0.1:0"
line = "1MiB"
[node.paris]
listen = "unix:{here}/paris.sock"
observe = "lyon"
[node.brest]
listen = "unix:{here}/brest.sock"
[inbox.letters]
node = ["paris", "brest"]
sink = { folder = "in-{node}" }
[route.post]
from = "lyon"
source = { each = "out" }
to = ["paris/letters", "brest/letters"]
rate = "1MiB"
[route.onward]
from = "paris"
source = { inbox = "letters" }
to = "brest/letters"
"#;

#[test]
fn a_topology_is_drawn_with_what_goes_by_its_routes_and_what_was_calculated() {
    let Some(browser) = Browser::start() else { return };
    let world = World::new();
    let topology = TOPOLOGY.replace("{here}", world.path("").to_str().unwrap());
    fs::write(world.path("t.toml"), topology).unwrap();
    fs::create_dir(world.path("out")).unwrap();
    let node = |name: &str| {
        let mut run = world.command(name);
        run.args(["run", "--node", name]).arg(world.path("t.toml"));
        Process::start(&mut run)
    };
    let paris = node("paris");
    paris.wait_for("ready");
    let lyon = node("lyon");
    browser.resize(1280, 1000);
    browser.open(&text(&lyon.wait_for("page"), "url"));
    // Each node and part is a box, that of this node a good one.
    let part = |id: &str| format!("document.querySelector('#topology-box [data-id=\"{id}\"]')");
    browser.wait_for(&format!("{}?.dataset.state === 'good'", part("node:lyon")));
    browser.wait_for(&format!("{}?.dataset.state === 'idle'", part("route:post")));
    // Paris is seen by the sealed link, and the route that begins there.
    let seen = "document.querySelector('#node-rows')?.textContent";
    browser.wait_for(&format!("/paris.*up \\d/.test({seen})"));
    browser.wait_for(&format!("{}?.dataset.state === 'good'", part("node:paris")));
    let file = world.file("out/holiday.tar", 6 << 20);
    let row = |way: &str| {
        let rows = "[...document.querySelectorAll('#route-rows tr')]";
        format!("{rows}.find((row) => row.textContent.includes('{way}'))")
    };
    let edge = "document.querySelector('#topology-box [data-route=post].crosses.flows .words')";
    browser.wait_for(&format!("/post · [0-9.]+ [kM]B\\/s/.test({edge}?.textContent)"));
    let under_way = format!("{}?.textContent.includes('1 under way')", row("post → paris"));
    browser.wait_for(&under_way);
    browser.wait_for(&format!("{ROW}?.textContent.includes('of 6.0 s calculated')"));
    for scheme in ["light", "dark"] {
        browser.prefer(scheme);
        for (size, (width, height)) in [("wide", (1280, 1000)), ("narrow", (420, 1000))] {
            browser.resize(width, height);
            let room =
                "document.documentElement.scrollWidth <= document.documentElement.clientWidth";
            browser.wait_for(room);
            browser.picture(&format!("topology-{scheme}-{size}"));
        }
    }
    browser.resize(1280, 1000);
    // It took about as long as was calculated, which the row says: took / T.
    browser.wait_for(&format!("/ s \\/ 6\\.0 s/.test({}?.textContent)", row("post → paris")));
    browser.wait_for(&format!(
        "{}?.textContent.includes('its rate') || {}?.textContent.includes('line')",
        row("post → paris"),
        row("post → paris")
    ));
    assert!(file.exists());
    // Who does not run is seen to be gone, and said at the top.
    browser.wait_for(&format!("['bad', 'warn'].includes({}?.dataset.state)", part("node:brest")));
    browser.wait_for("document.querySelector('#troubles').textContent.includes('post to brest')");
    browser.picture("topology-brest-is-away");
    // However often it is tried, it is one transfer.
    let waits = "[...document.querySelectorAll('#transfer-rows tr')]
        .filter((row) => row.textContent.includes('brest')).length";
    assert_eq!(browser.value(waits), 1);
    assert_eq!(browser.errors(), Vec::<String>::new());
    drop(paris);
}

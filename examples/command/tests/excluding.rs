//! Tests of what is left out of folders by patterns.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use std::fs;
use std::process::Command;

use support::{World, text};

#[test]
fn what_is_to_stay_at_home_stays_or_it_is_said() {
    let world = World::new();
    let (_paris, ticket) = world.paris_with(&["--on-conflict", "rename"]);
    let ticket = text(&ticket, "ticket");
    let tree = world.path("x");
    fs::create_dir_all(tree.join("sub")).unwrap();
    fs::write(tree.join("key.pem"), "secret").unwrap();
    fs::write(tree.join("keep"), "kept").unwrap();
    let send = |pattern: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_estafette"));
        command.env_clear().env("HOME", world.path("lyon")).args(["send", "--exclude", pattern]);
        let ended = command.arg(&tree).arg(&ticket).output().unwrap();
        let name = fs::read_dir(world.path("in")).unwrap().next();
        let arrived = name.map(|name| name.unwrap().path());
        let is_sent = arrived.as_ref().is_some_and(|tree| tree.join("key.pem").exists());
        if let Some(arrived) = arrived {
            fs::remove_dir_all(arrived).unwrap();
        }
        (ended.status.code(), is_sent, String::from_utf8(ended.stderr).unwrap())
    };
    for pattern in ["key.pem", "/key.pem", "./key.pem", "*.pem", "**/*.pem"] {
        let (code, is_sent, said) = send(pattern);
        assert!((code, is_sent) == (Some(0), false), "{pattern}: {said}");
        assert!(!said.contains("nothing is left out"), "{pattern}: {said}");
    }
    for pattern in ["[k]ey.pem", "{key.pem,z}", "!keep", "sub/../key.pem", ""] {
        let (code, is_sent, said) = send(pattern);
        assert!((code, is_sent) == (Some(2), false), "{pattern}: {said}");
    }
    for pattern in ["x/key.pem", tree.join("key.pem").to_str().unwrap(), "/gone"] {
        let (code, is_sent, said) = send(pattern);
        assert!((code, is_sent) == (Some(0), true), "{pattern}: {said}");
        assert!(said.contains("nothing is left out by --exclude"), "{pattern}: {said}");
    }
}

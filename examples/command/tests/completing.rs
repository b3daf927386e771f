//! Tests of what a shell is told when somebody presses Tab: by the scripts of the command, in bash
//! and zsh themselves, and as the others ask.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use std::fs;
use std::process::Command;

use support::{World, text};

/// The words offered for the last of these, by who waits so long for a peer.
fn offered(world: &World, within: &str, words: &[&str]) -> Vec<String> {
    let mut command = world.command("lyon");
    let words = ["--", "estafette"].iter().chain(words);
    let output = command
        .args(words)
        .current_dir(world.path(""))
        .env("ESTAFETTE_KEY", world.path("lyon.key"))
        .env("ESTAFETTE_COMPLETE", "fish")
        .env("ESTAFETTE_COMPLETE_WITHIN", within)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    // Behind a tab is what it is.
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

/// Of those, the ones that are no flags; however long it takes.
fn names(world: &World, words: &[&str]) -> Vec<String> {
    names_within(world, "5m", words)
}

fn names_within(world: &World, within: &str, words: &[&str]) -> Vec<String> {
    offered(world, within, words).into_iter().filter(|name| !name.starts_with('-')).collect()
}

#[test]
fn peers_are_offered_by_name_wherever_one_is_meant_and_nothing_is_made() {
    let world = World::new();
    assert_eq!(names(&world, &["send", "--via", ""]), [""; 0]);
    let made: Vec<_> = ["lyon", "lyon.key", "lyon.key.trust", "lyon.key.spool"]
        .into_iter()
        .filter(|name| world.path(name).exists())
        .collect();
    assert_eq!(made, [""; 0], "a Tab has made something");

    let id = |who: &str| text(world.run(who, ["id"]).event("id"), "peer");
    for (name, id) in [("dijon", id("dijon")), ("paris", id("paris"))] {
        assert_eq!(world.run("lyon", ["trust", "add", &id, "--name", name]).code, 0);
    }
    for words in [
        &["send", "--via", ""][..],
        &["node", "--connect", ""],
        &["describe", ""],
        &["trust", "remove", ""],
    ] {
        assert_eq!(names(&world, words), ["dijon", "paris"], "{words:?}");
    }
    assert_eq!(names(&world, &["describe", "pa"]), ["paris"]);
    assert_eq!(names(&world, &["ask", "d"]), ["dijon/"]);
    // Paths, and where they go.
    fs::write(world.path("photo"), "").unwrap();
    assert_eq!(names(&world, &["send", "p"]), ["paris.key", "photo", "paris/"]);
    assert_eq!(names(&world, &["send", "photo", "pa"]), ["paris.key", "paris/"]);
}

#[test]
fn what_a_peer_has_is_offered_as_it_describes_itself() {
    let world = World::new();
    let (paris, ticket) = world.paris();
    let file = world.file("a", 10).display().to_string();
    assert_eq!(world.run("lyon", ["send", &file, &text(&ticket, "ticket")]).code, 0);
    let [id, address] = ["peer", "addr"].map(|field| text(&ticket, field));
    let added = world.run("lyon", ["trust", "add", &id, "--name", "paris", "--addr", &address]);
    assert_eq!(added.code, 0, "{:?}", added.events);
    assert_eq!(names(&world, &["send", &file, "paris/f"]), ["paris/files"]);
    assert_eq!(names(&world, &["ask", "paris/"]), [""; 0], "no inbox is asked");
    assert_eq!(names(&world, &["describe", "nobody/"]), [""; 0]);
    assert_eq!(paris.terminate(), 0);
    // Nobody is there any more: nothing is offered, and nobody is waited for.
    assert_eq!(names_within(&world, "100ms", &["send", &file, "paris/"]), [""; 0]);
}

#[test]
fn what_a_topology_names_is_offered_and_files_that_are_one() {
    let world = World::new();
    let file = "[node.lyon]\n[node.paris]\nlisten = \"127.0.0.1:7411\"\n\n\
                [inbox.letters]\nnode = \"paris\"\nsink = { folder = \"in\" }\n\n\
                [route.post]\nfrom = \"lyon\"\nsource = { paths = \"out\" }\nto = \"paris/letters\"\n";
    fs::write(world.path("two.toml"), file).unwrap();
    fs::write(world.path("two.txt"), file).unwrap();
    assert_eq!(names(&world, &["run", "tw"]), ["two.toml"]);
    assert_eq!(names(&world, &["run", "two.toml", "--node", ""]), ["lyon", "paris"]);
    assert_eq!(names(&world, &["trace", "two.toml", ""]), ["lyon", "paris"]);
    assert_eq!(names(&world, &["tap", "two.toml", "p"]), ["post"]);
    assert_eq!(names(&world, &["tap", "nothing.toml", ""]), [""; 0]);
    assert!(names(&world, &["send", "--compress", ""]).contains(&"snappy".into()));
}

#[test]
fn a_shell_completes_by_the_script_that_it_reads() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = world.command("lyon").args(["completions", shell]).output().unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && script.contains("ESTAFETTE_COMPLETE"), "{shell}");
    }
    let id = text(world.run("paris", ["id"]).event("id"), "peer");
    assert_eq!(world.run("lyon", ["trust", "add", &id, "--name", "paris"]).code, 0);

    let lyon = world.command("lyon");
    let this = lyon.get_program().to_str().unwrap();
    let typed = format!(
        "source <('{this}' completions bash); COMP_WORDS=(estafette send --via p); COMP_CWORD=3; \
         COMP_TYPE=9; COMP_LINE='estafette send --via p'; COMP_POINT=22; \
         $(complete -p estafette | sed 's/.*-F \\([^ ]*\\).*/\\1/') estafette p --via; \
         printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let mut bash = Command::new("bash");
    bash.args(["--norc", "--noprofile", "-c", &typed]).env("ESTAFETTE_KEY", world.path("lyon.key"));
    lyon.get_envs().for_each(|(name, value)| match value {
        Some(value) => _ = bash.env(name, value),
        None => _ = bash.env_remove(name),
    });
    let output = bash.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "paris", "{output:?}");
}

/// The keys of somebody who uses zsh: each Tab when all before it was taken.
const TYPED: &str = r#"
zmodload zsh/zpty || exit
zpty shell zsh -f -i
zpty -w shell "PS1=; autoload -U compinit; compinit -u -D; source <('$1' completions zsh); \
    print -r -- set''-up"
zpty -r shell said '*set-up*'
zpty -w -n shell $'estafette send --via p\t'
zpty -r shell said '*--via paris*' && print -r -- completed
zpty -w -n shell $'\nestafette describe d\t'
zpty -r shell said '*describe dijon*' && print -r -- completed
zpty -d shell
"#;

#[test]
fn zsh_completes_by_the_script_that_it_reads() {
    if Command::new("zsh").arg("--version").output().is_err() {
        assert!(
            std::env::var_os("ESTAFETTE_ZSH").is_none(),
            "zsh is not there, and ESTAFETTE_ZSH says that it must be"
        );
        eprintln!("SKIPPED: completion in zsh, which is not installed");
        return;
    }
    let world = World::new();
    for name in ["dijon", "paris"] {
        let id = text(world.run(name, ["id"]).event("id"), "peer");
        assert_eq!(world.run("lyon", ["trust", "add", &id, "--name", name]).code, 0);
    }
    let lyon = world.command("lyon");
    // A shell that waits for what never comes is ended.
    let mut zsh = Command::new("timeout");
    zsh.args(["180", "zsh", "-f", "-c", TYPED, "zsh"]).arg(lyon.get_program());
    zsh.env("ESTAFETTE_KEY", world.path("lyon.key")).env("TERM", "dumb");
    lyon.get_envs().for_each(|(name, value)| match value {
        Some(value) => _ = zsh.env(name, value),
        None => _ = zsh.env_remove(name),
    });
    let output = zsh.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "completed\ncompleted\n", "{output:?}");
}

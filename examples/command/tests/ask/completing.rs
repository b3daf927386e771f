//! The actors of a peer, and the types that they take, as a shell is told them and the peer itself
//! describes them.

use super::town::{Town, both_ways};

/// The names offered for the last of these words, however long it takes, without flags.
fn names(town: &Town, words: &[&str]) -> Vec<String> {
    let mut command = town.plain();
    let output = command
        .args(["--", "estafette"].iter().chain(words))
        .env("ESTAFETTE_KEY", town.world.path("lyon").with_extension("key"))
        .env("ESTAFETTE_COMPLETE", "fish")
        .env("ESTAFETTE_COMPLETE_WITHIN", "5m")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let names = lines.lines().map(|line| line.split('\t').next().unwrap().to_owned());
    names.filter(|name| !name.starts_with('-')).collect()
}

#[test]
fn actors_of_a_peer_and_the_types_that_they_take_are_offered() {
    both_ways(|town| {
        for command in ["ask", "tell", "deliver", "download", "upload", "open"] {
            assert_eq!(
                names(town, &[command, "paris/"]),
                ["paris/bomb", "paris/shop"],
                "{command}"
            );
            assert_eq!(names(town, &[command, "paris/s"]), ["paris/shop"], "{command}");
            assert_eq!(
                names(town, &[command, "paris/shop", "shop.O"]),
                ["shop.Order", "shop.Order@2"]
            );
            assert_eq!(names(town, &[command, "paris/bomb", ""]), ["shop.Panic"], "{command}");
        }
        assert_eq!(names(town, &["describe", "paris/b"]), ["paris/bomb"]);
        // Nobody has that, and it is no inbox.
        assert_eq!(names(town, &["ask", "paris/nobody", ""]), [""; 0]);
        assert_eq!(names(town, &["send", "letter", "paris/"]), [""; 0]);
    });
}

//! Files of secrets and keys that others can read, each told at its place.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use estafette_actors::standard;
use estafette_topology::Document;

const WHOLE: &str = r#"[node.lyon]
[node.paris]
listen = "127.0.0.1:7411"
[inbox.letters]
node = "paris"
sink = { folder = "received" }
[route.post]
from = "lyon"
source = { paths = "out" }
to = "paris/letters"
"#;

#[test]
fn files_of_secrets_and_keys_that_others_can_read_are_faults_of_those_who_look() {
    let place = tempfile::tempdir().unwrap();
    let text = WHOLE.replace(
        "[node.lyon]",
        "[node.lyon]\nkey = \"a.key\"\nhttp = { listen = \"127.0.0.1:1\", token_file = \"token\" }",
    ) + "[door.out]\nnode = \"paris\"\nfrom = \"lyon\"\ndoor = { webhook = { url = \"https://a/\", \
         secret_file = [\"new\", \"old\"] } }\n";
    let registry = estafette_doors::with_kinds(standard());
    let file = place.path().join("topology.toml");
    let document = Document::parse(&file, text);
    // What is not there yet is no fault.
    assert!(document.check_with_files(&registry).is_empty());
    let private = document.topology().private_files(&registry);
    assert_eq!(private.iter().filter(|file| file.is_missing()).count(), 3);
    let set = |name: &str, mode| {
        let file = place.path().join(name);
        std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    estafette::Identity::load_or_create(place.path().join("a.key")).unwrap();
    for name in ["token", "new", "old"] {
        std::fs::write(place.path().join(name), "secret").unwrap();
        set(name, 0o600);
    }
    assert!(document.check_with_files(&registry).is_empty());
    for name in ["a.key", "token", "old"] {
        set(name, 0o640);
    }
    assert!(document.check(&registry).is_empty());
    let report = document.check_with_files(&registry);
    let told: Vec<_> = report.faults().iter().map(|fault| (fault.code, &*fault.at)).collect();
    let expected =
        ["node.lyon.key", "node.lyon.http.token_file", "door.out.door.webhook.secret_file"];
    assert_eq!(told, expected.map(|at| ("exposed", at)));
    let lines: Vec<_> =
        report.faults().iter().map(|fault| report.position(fault).unwrap().0).collect();
    assert_eq!(lines, [2, 3, 16], "{report}");
    let help = report.faults()[2].help.as_deref().unwrap();
    assert!(help.starts_with("chmod 600 ") && help.ends_with("/old"), "{help}");
}

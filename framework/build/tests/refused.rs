//! Protos of which no actors can be made, and the words for it.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use std::fs;

use estafette_build::Builder;

fn refused_by(proto: &str, build: impl FnOnce(Builder) -> Builder) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("it.proto");
    fs::write(&file, proto).unwrap();
    let builder = build(Builder::new().out_dir(folder.path()));
    let error = builder.compile([file], [folder.path()]).unwrap_err();
    assert!(!folder.path().join("protos.rs").exists(), "nothing is made");
    assert_eq!(format!("{error:?}"), error.to_string(), "as `main` prints it");
    // A file is named as it is on the disk.
    error.to_string().replace(&format!("{}/", folder.path().display()), "DIR/")
}

fn refused(body: &str) -> String {
    let head = "syntax = \"proto3\";\npackage shop;\nimport \"google/protobuf/empty.proto\";\n";
    refused_by(&format!("{head}{body}"), |builder| builder)
}

#[test]
fn a_request_of_two_rpcs_is_named_with_both_and_what_to_do() {
    let text = refused(
        "message Item {}\nservice Shop {\n  rpc Get(Item) returns (Item);\n  rpc Drop(Item) returns \
         (google.protobuf.Empty);\n}",
    );
    let expected = "estafette-build: DIR/it.proto:7: rpc shop.Shop.Drop is asked with shop.Item, as Get \
                    is (DIR/it.proto:6): an actor knows by the type of a message what is asked, and \
                    answers it in one way; give it one of its own (`message DropRequest { … }`, \
                    with the same fields), in the proto or by `Builder::own_request`: clients that \
                    know the old proto go on as they are, since the bytes are the same";
    assert_eq!(text, expected);
}

#[test]
fn a_request_that_is_everybodys_is_refused_as_a_reply_it_is_not() {
    let text = refused(
        "message Item {}\nservice Shop {\n  rpc List(google.protobuf.Empty) returns (stream Item);\n\
         \x20 rpc Drop(Item) returns (google.protobuf.Empty);\n}",
    );
    let expected = "DIR/it.proto:6: rpc shop.Shop.List is asked with google.protobuf.Empty, which is \
                    everybody's: ";
    assert!(text.contains(expected) && text.contains("`message ListRequest { … }`"), "{text}");
    assert!(!text.contains("Shop.Drop"), "{text}");
}

#[test]
fn names_that_are_one_in_rust_are_told_with_both_places() {
    let service = "message Ask {}\nservice Shop { rpc Get(Ask) returns (Ask); }\n";
    for (with, told) in [
        (
            "message one_two {}\nmessage OneTwo {}",
            "DIR/it.proto:7: the message OneTwo is called OneTwo in Rust, as the message one_two is \
             (DIR/it.proto:6): call one of them otherwise",
        ),
        (
            "enum shop { NONE = 0; }",
            "it.proto:5: the service Shop is called Shop in Rust, as the enum shop is (DIR/it.proto:6)",
        ),
        (
            "message a_b { enum E { N = 0; } }\nmessage aB { oneof o { string s = 1; } }",
            "the module of what is in the message aB is called a_b in Rust, as the module of what \
             is in the message a_b is",
        ),
        (
            "message M {\n  message N {\n    message a_b {}\n    enum aB { Z = 0; }\n  }\n}",
            "DIR/it.proto:8: the message a_b is called AB in Rust, as the enum aB is \
             (DIR/it.proto:9): call one of them otherwise",
        ),
        (
            "message M {\n  message a_b {}\n  message aB {}\n}",
            "DIR/it.proto:8: the message aB is called AB in Rust, as the message a_b is \
             (DIR/it.proto:7)",
        ),
    ] {
        let text = refused(&format!("{service}{with}"));
        assert!(text.contains(told), "{text}");
    }
    // As prost has it, `optional` and maps make no module.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("it.proto");
    let fine = "message c_d { optional string s = 1; map<string, string> m = 2; }\n\
                message C { message D { string s = 1; } message C {} }
                message E { message D {} oneof d { string s = 1; } }";
    fs::write(&file, format!("syntax = \"proto3\";\n{service}{fine}")).unwrap();
    Builder::new().out_dir(folder.path()).compile([file], [folder.path()]).unwrap();
}

#[test]
fn a_package_and_a_message_that_are_one_module_in_rust_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one.proto"), folder.path().join("two.proto"));
    fs::write(
        &one,
        "syntax = \"proto3\"; package shop; message Order { enum E { N = 0; } }
         service Shop { rpc Get(Order) returns (Order); }",
    )
    .unwrap();
    fs::write(&two, "syntax = \"proto3\"; package shop.order; message Part {}").unwrap();
    for files in [[&one, &two], [&two, &one]] {
        let builder = Builder::new().out_dir(folder.path());
        let text = builder.compile(files, [folder.path()]).unwrap_err().to_string();
        assert!(
            text.contains("the package shop.order") && text.contains("message Order"),
            "{text}"
        );
    }
}

#[test]
fn a_package_and_a_message_without_one_that_are_one_module_in_rust_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one.proto"), folder.path().join("two.proto"));
    fs::write(
        &one,
        "syntax = \"proto3\"; message Hello { message Inner {} }
         service Shop { rpc Get(Hello) returns (Hello); }",
    )
    .unwrap();
    fs::write(&two, "syntax = \"proto3\"; package hello.v1; message Part {}").unwrap();
    for files in [[&one, &two], [&two, &one]] {
        let builder = Builder::new().out_dir(folder.path());
        let text = builder.compile(files, [folder.path()]).unwrap_err().to_string();
        assert!(
            text.contains("the package hello.v1") && text.contains("in the message Hello"),
            "{text}"
        );
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let long = "L".repeat(124);
    let text = refused(&format!(
        "message Ask {{}}\nmessage {long} {{}}\nservice Shop {{\n  rpc One(Ask) returns (Ask);\n  \
         rpc Two(Ask) returns (Ask);\n  rpc Three({long}) returns (Ask);\n}}\nenum ask {{ N = 0; }}"
    ));
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.contains("a name of 129 bytes: 128 are allowed between nodes"), "{text}");
}

#[test]
fn what_is_no_proto_or_is_not_there_is_told_with_its_place() {
    let text = refused("message Ask {\n  strong name = 1;\n}");
    assert!(text.contains("it.proto:5:") && text.contains("'strong' is not defined"), "{text}");
    let text = refused("message Ask {");
    assert!(text.contains("it.proto: ") && text.contains("end of file"), "{text}");
    let text = refused("import \"nowhere.proto\";");
    assert!(text.contains("it.proto:4:") && text.contains("nowhere.proto"), "{text}");
    let folder = tempfile::tempdir().unwrap();
    let builder = Builder::new().out_dir(folder.path());
    let text = builder.compile(["none.proto"], [folder.path()]).unwrap_err().to_string();
    assert!(text.contains("none.proto") && text.contains("below the folders"), "{text}");
    let text = refused("message Alone {}");
    assert!(text.contains("there is no rpc in these protos"), "{text}");
}

#[test]
fn a_request_of_its_own_that_can_not_be_is_told() {
    let proto = "syntax = \"proto3\"; message Ask {} message Other {}
                 service Shop { rpc Get(Ask) returns (Ask); }";
    let told = |rpc: &str, name: &str| refused_by(proto, |builder| builder.own_request(rpc, name));
    assert!(told("Shop.Got", "GetRequest").contains("\"Shop.Got\", which is not in these protos"));
    assert!(told("Shop.Get", "shop.Get").contains("which is no name of a message"));
    let text = told("Shop.Get", "Other");
    assert!(text.contains("the message Other is called Other in Rust, as"), "{text}");
}

#[test]
fn a_folder_that_is_not_there_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("it.proto");
    fs::write(&file, include_str!("four.proto")).unwrap();
    let builder = Builder::new().out_dir(folder.path().join("none"));
    let text = builder.compile([file], [folder.path()]).unwrap_err().to_string();
    assert!(text.contains("estafette-build can't write") && text.contains("none"), "{text}");
}

//! The Rust that is made of protos.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use std::fs;
use std::path::Path;

use estafette_build::Builder;

/// Returns the file that is made of a text.
fn made(proto: &str, build: impl FnOnce(Builder) -> Builder) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("it.proto");
    fs::write(&file, proto).unwrap();
    build(Builder::new().out_dir(folder.path())).compile([file], [folder.path()]).unwrap();
    fs::read_to_string(folder.path().join("protos.rs")).unwrap()
}

#[test]
fn each_shape_of_an_rpc_becomes_a_way_to_an_actor() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let text = made(&fs::read_to_string(here.join("four.proto")).unwrap(), |builder| builder);
    // What stands before is prost's.
    let ours = text.find("impl ::estafette::").unwrap();
    let expected = fs::read_to_string(here.join("four.expected")).unwrap();
    assert!(
        text[ours..] == expected,
        "tests/four.expected is not what is made of tests/four.proto:\n{}",
        &text[ours..]
    );
}

#[test]
fn a_program_without_a_door_has_nothing_of_one() {
    let proto = include_str!("four.proto");
    assert!(made(proto, |builder| builder).contains("estafette_doors"));
    let text = made(proto, Builder::without_door);
    assert!(!text.contains("estafette_doors") && text.contains("pub fn taken_by"), "{text}");
}

const SHARED: &str = "syntax = \"proto3\"; package shop;
import \"google/protobuf/empty.proto\";
message Item { message Part { string name = 1; } Part part = 1; map<string, Part> all = 2; Item in = 3; }
service Shop {
  rpc Get(Item) returns (Item);
  rpc Drop(Item) returns (google.protobuf.Empty);
  rpc List(google.protobuf.Empty) returns (stream Item);
}";

#[test]
fn a_request_that_others_have_becomes_one_of_its_own() {
    let text = made(SHARED, |builder| {
        builder.own_request("shop.Shop.Drop", "DropRequest").own_request("shop.Shop.List", "All")
    });
    for (request, part) in [("Item", "item"), ("DropRequest", "drop_request"), ("All", "")] {
        assert!(text.contains(&format!("NAME: &'static str = \"shop.{request}\"")), "{text}");
        let part = format!("Option<{part}::Part>");
        assert_eq!(text.contains(&part), request != "All", "{text}");
    }
    assert!(text.contains("message: \"shop.DropRequest\""), "{text}");
    assert_eq!(text.matches("pub struct Part").count(), 2, "{text}");
}

#[test]
fn a_request_of_its_own_is_read_by_the_rules_of_the_file_it_is_copied_from() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one.proto"), folder.path().join("two.proto"));
    fs::write(&one, "syntax = \"proto2\"; package one; message Ask { optional int32 a = 1; }")
        .unwrap();
    fs::write(
        &two,
        "syntax = \"proto3\"; package two; import \"one.proto\";
         service Two { rpc Get(one.Ask) returns (one.Ask); rpc Put(one.Ask) returns (one.Ask); }",
    )
    .unwrap();
    let builder = Builder::new().out_dir(folder.path()).own_request("two.Two.Put", "PutRequest");
    builder.compile([two], [folder.path()]).unwrap();
    let text = fs::read_to_string(folder.path().join("protos.rs")).unwrap();
    assert!(text.contains("NAME: &'static str = \"two.PutRequest\""), "{text}");
    assert_eq!(text.matches("pub a: ::core::option::Option<i32>").count(), 2, "{text}");
}

#[test]
fn services_of_imported_files_are_left_to_others() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one.proto"), folder.path().join("two.proto"));
    fs::write(&one, SHARED).unwrap();
    fs::write(
        &two,
        "syntax = \"proto3\"; package two; import \"one.proto\"; message Ask { shop.Item item = 1; }
         service Two { rpc Asked(Ask) returns (shop.Item); }",
    )
    .unwrap();
    let builder = Builder::new().out_dir(folder.path()).name("two");
    builder.compile([two], [folder.path()]).unwrap();
    let text = fs::read_to_string(folder.path().join("two.rs")).unwrap();
    assert!(!text.contains("struct Shop") && text.contains("struct Two"), "{text}");
    assert!(text.contains("include_bytes!(\"two.bin\")"), "{text}");
    assert!(text.contains("Serialize for super::shop::Item"), "{text}");
    assert!(fs::read(folder.path().join("two.bin")).unwrap().starts_with(b"\n"));
}

#[test]
fn prost_is_told_what_it_is_to_know() {
    let text = made(include_str!("four.proto"), |builder| {
        builder.prost(|prost| _ = prost.message_attribute("four.v1.Answer", "#[derive(Copied)]"))
    });
    assert_eq!(text.matches("#[derive(Copied)]").count(), 1, "{text}");
}

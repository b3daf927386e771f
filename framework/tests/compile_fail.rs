//! Types are the wiring diagram: a pipeline that is wired wrongly does not compile, and the
//! compiler says what does not fit.

#[test]
fn a_wrong_order_of_stages_does_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/right_order.rs");
    cases.compile_fail("tests/ui/seal_before_compress.rs");
    cases.compile_fail("tests/ui/wrong_type.rs");
    cases.compile_fail("tests/ui/coder_changes_type.rs");
    cases.compile_fail("tests/ui/no_transform.rs");
}

#[test]
fn what_is_no_message_for_other_nodes_does_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/message.rs");
    cases.compile_fail("tests/ui/message_generic.rs");
    cases.compile_fail("tests/ui/message_lifetime.rs");
    cases.compile_fail("tests/ui/message_unknown_attribute.rs");
    cases.compile_fail("tests/ui/message_name.rs");
    cases.compile_fail("tests/ui/message_attributes.rs");
}

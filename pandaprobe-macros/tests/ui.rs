//! What does not compile, with the words that say why. What compiles is in `compiles`.

#[test]
fn ui() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/fail/*.rs");
}

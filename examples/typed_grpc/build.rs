//! Makes `protos.rs` of the protos; `hello.proto` is that of the README of `estafette-build`.

fn main() -> Result<(), estafette_build::Error> {
    estafette_build::Builder::new()
        // The proto has `Empty` there, by which no actor could tell what is asked.
        .own_request("town.v1.Greeter.Forget", "ForgetRequest")
        .compile(["proto/greeter.proto", "proto/hello.proto"], ["proto"])?;
    // For the tests.
    estafette_build::Builder::new().name("odd").compile(["tests/odd.proto"], ["tests"])
}

#![no_implicit_prelude]

#[::pandaprobe::trace(user_id = user)]
fn job(user: &str) -> ::core::result::Result<u8, ::std::string::String> {
    let _ = user;
    ::core::result::Result::Ok(step(1))
}

#[::pandaprobe::span(kind = "TOOL")]
fn step(n: u8) -> u8 {
    n
}

#[test]
fn compiles_and_runs() {
    ::std::assert!(job("ada").is_ok());
}

#[pandaprobe::span]
fn step(text: &str) -> Result<u8, std::num::ParseIntError> {
    let n: u8 = text.parse()?;
    Ok(n)
}

#[test]
fn compiles_and_runs() {
    let captured = crate::support::recorded(|| async {
        pandaprobe::trace("t")
            .scope(async |_| {
                assert!(step("1").is_ok() && step("x").is_err());
            })
            .await;
    });
    captured.assert_tree(
        "t COMPLETED|├─ OTHER step OK|└─ OTHER step ERROR: invalid digit found in string|"
            .replace('|', "\n")
            .as_str(),
    );
}

use pandaprobe as probe;

mod reexported {
    pub use pandaprobe::*;
}

#[probe::span(crate = crate::renamed::reexported)]
fn step() {}

#[test]
fn compiles_and_runs() {
    step();
}

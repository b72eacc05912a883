use pandaprobe as probe;

mod reexported {
    pub use pandaprobe::*;
}

#[probe::span(crate = crate::reexported)]
fn step() {}

fn main() {
    step();
}

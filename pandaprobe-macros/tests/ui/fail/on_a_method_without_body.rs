trait Job {
    #[pandaprobe::span]
    fn job(&self);
}

fn main() {}

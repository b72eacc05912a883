struct Agent;

impl Agent {
    #[pandaprobe::trace(skip(self))]
    fn run(&self, _question: &str) {}
}

fn main() {}

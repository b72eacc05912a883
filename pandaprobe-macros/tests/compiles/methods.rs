struct Counter(u8);

impl Counter {
    #[pandaprobe::span]
    fn get(&self) -> &u8 {
        &self.0
    }

    #[pandaprobe::span]
    async fn add(&mut self, n: u8) -> &mut Self {
        self.0 += n;
        self
    }

    #[pandaprobe::span]
    fn into(self) -> u8 {
        self.0
    }
}

#[test]
fn compiles_and_runs() {
    let captured = crate::support::recorded(|| async {
        pandaprobe::trace("t")
            .scope(async |_| {
                let mut counter = Counter(1);
                counter.add(2).await.add(3).await;
                assert_eq!(*counter.get(), 6);
                assert_eq!(counter.into(), 6);
            })
            .await;
    });
    captured.assert_tree(
        "t COMPLETED|├─ OTHER add OK|├─ OTHER add OK|├─ OTHER get OK|└─ OTHER into OK|"
            .replace('|', "\n")
            .as_str(),
    );
}

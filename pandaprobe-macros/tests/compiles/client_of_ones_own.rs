use pandaprobe::{Client, Config, MemoryExporter};

#[pandaprobe::trace(client = client.clone(), skip(client))]
fn job(client: &Client, n: u8) -> u8 {
    let _ = client;
    n
}

#[test]
fn compiles_and_runs() {
    let captured = crate::support::recorded(|| async {
        let kept = MemoryExporter::default();
        let client = Client::new(Config::new().exporter(kept.clone())).unwrap();
        job(&client, 1);
        client.flush(std::time::Duration::from_secs(5)).unwrap();
        assert_eq!(kept.traces()[0].input.as_ref().unwrap()["n"], 1);
    });
    captured.assert_tree("".replace('|', "\n").as_str());
}

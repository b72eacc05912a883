//! Two users who talk to the service at the same time.

use reqwest::Client;
use serde_json::json;

type Outcome = Result<(), reqwest::Error>;

pub(crate) async fn run(url: &str) -> Outcome {
    tokio::try_join!(talk(url, "ada", "Lisbon"), talk(url, "grace", "Porto"))?;
    Ok(())
}

async fn talk(url: &str, user: &str, city: &str) -> Outcome {
    let http = Client::new();
    for (stream, message) in
        [(false, format!("What is there to see in {city}?")), (true, format!("When should I go to {city}?"))]
    {
        let request = http.post(url).header("x-user-id", user).header("x-session-id", format!("{user}-1"));
        let response = request.json(&json!({"message": message, "stream": stream})).send().await?;
        let answer = response.error_for_status()?.text().await?;
        println!("{user}: {message}\n  {answer}");
    }
    Ok(())
}

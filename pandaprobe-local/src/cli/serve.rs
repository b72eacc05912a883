//! The server, and the viewer in a browser.

use std::{
    io::{self, Write},
    net::IpAddr,
    path::PathBuf,
};

use clap::Args;
use serde_json::json;
use tracing::Level;

use super::{Done, looking::find, prune::Old};
use crate::{LocalServer, ServerConfig};

#[derive(Debug, Args)]
pub(super) struct Serve {
    /// The port; the next free one if it is taken. 4100 if none is given.
    #[arg(long)]
    port: Option<u16>,
    /// The address to listen on. One that other machines can reach needs a token.
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// What clients must show as their API key: 16 characters or more. Better in the environment than on the command line.
    #[arg(long, env = "PANDAPROBE_LOCAL_TOKEN", hide_env_values = true)]
    token: Option<String>,
    #[command(flatten)]
    old: Old,
    /// Where the server is, as one line of JSON.
    #[arg(long)]
    json: bool,
}

impl Serve {
    pub(super) fn run(self, store: PathBuf) -> Done {
        let server = self.start(store)?;
        let url = server.url();
        if self.json {
            say(&json!({"url": url}).to_string());
        } else {
            let key = if self.token.is_some() { "the token" } else { "local" };
            say(&format!("The viewer is at {url}"));
            self.say_token();
            say("Point an SDK here:");
            say(&format!("  PANDAPROBE_ENDPOINT={url}"));
            say(&format!("  PANDAPROBE_API_KEY={key}"));
            say("  PANDAPROBE_PROJECT_NAME=default");
        }
        server.wait();
        Ok(())
    }

    /// Says how a browser shows the token, if there is one.
    fn say_token(&self) {
        if self.token.is_some() {
            say("Open it the first time with ?token= and the token; then a cookie knows it.");
        }
    }

    fn start(&self, store: PathBuf) -> Result<LocalServer, crate::ServerError> {
        // What goes wrong while it serves, such as a full disk, is told here and not to clients.
        tracing_subscriber::fmt().with_max_level(Level::WARN).with_writer(io::stderr).init();
        let mut config = ServerConfig::new(store).address(self.host).retention(self.old.retention());
        if let Some(port) = self.port {
            config = config.port(port);
        }
        if let Some(token) = &self.token {
            config = config.token(token);
        }
        LocalServer::start_with(config)
    }
}

#[derive(Debug, Args)]
pub(super) struct Open {
    /// The trace to show first: its id, or the beginning of it that no other has.
    trace: Option<String>,
    /// Prints the address, and opens no browser.
    #[arg(long)]
    no_browser: bool,
    #[command(flatten)]
    serve: Serve,
}

impl Open {
    pub(super) fn run(self, store: PathBuf) -> Done {
        let server = self.serve.start(store)?;
        let mut address = match self.trace {
            Some(trace) => format!("{}/ui/traces/{}", server.url(), find(server.store(), &trace)?),
            None => server.url(),
        };
        match self.serve.json {
            true => say(&json!({"url": server.url(), "viewer": address}).to_string()),
            false => {
                say(&format!("The viewer is at {address}"));
                if self.no_browser {
                    self.serve.say_token();
                }
            }
        }
        if let Some(token) = &self.serve.token {
            let token: String = form_urlencoded::byte_serialize(token.as_bytes()).collect();
            address = format!("{address}?token={token}");
        }
        if !self.no_browser && open::that_detached(&address).is_err() {
            eprintln!("No browser could be opened: open the address yourself.");
        }
        server.wait();
        Ok(())
    }
}

/// A line on the terminal. A server goes on when nobody listens to what it says.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

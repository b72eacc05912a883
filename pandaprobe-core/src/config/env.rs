//! `PANDAPROBE_*`: the one place that reads the environment.

use std::time::Duration;

use super::{Config, ConfigError, Endpoint, Secret, project_name};

/// Overlays the defaults with what `variable` knows.
pub(super) fn read(variable: impl Fn(&'static str) -> Option<String>) -> Result<Config, ConfigError> {
    let text = |name| variable(name).filter(|value| !value.is_empty());
    let mut config = Config { from_environment: true, ..Config::new() };
    if let Some(key) = text("PANDAPROBE_API_KEY") {
        config.api_key = Some(Secret(key).checked("PANDAPROBE_API_KEY")?);
    }
    if let Some(name) = text("PANDAPROBE_PROJECT_NAME") {
        config.project_name = Some(project_name("PANDAPROBE_PROJECT_NAME", &name)?);
    }
    if let Some(url) = text("PANDAPROBE_ENDPOINT") {
        config.endpoint = Endpoint::parse("PANDAPROBE_ENDPOINT", &url)?;
    }
    config.environment = text("PANDAPROBE_ENVIRONMENT");
    config.release = text("PANDAPROBE_RELEASE");
    if let Some(value) = text("PANDAPROBE_ENABLED") {
        config.enabled = truth(&value);
    }
    if let Some(value) = text("PANDAPROBE_DEBUG") {
        config.debug = truth(&value);
    }
    if let Some(items) = number("PANDAPROBE_BATCH_SIZE", text, positive) {
        config.batch_size = items;
    }
    if let Some(items) = number("PANDAPROBE_MAX_QUEUE_SIZE", text, positive) {
        config.max_queue_size = items;
    }
    if let Some(interval) = number("PANDAPROBE_FLUSH_INTERVAL", text, seconds) {
        config.flush_interval = interval;
    }
    Ok(config)
}

/// `true`, `1`, `yes` and `on` in any case are true, everything else is false.
fn truth(value: &str) -> bool {
    matches!(value.trim().to_ascii_lowercase().as_str(), "true" | "1" | "yes" | "on")
}

fn number<T>(
    name: &'static str,
    text: impl Fn(&'static str) -> Option<String>,
    parse: fn(&str) -> Option<T>,
) -> Option<T> {
    let value = text(name)?;
    let parsed = parse(value.trim());
    if parsed.is_none() {
        tracing::warn!(target: "pandaprobe", "{name}={value:?} is not a number that can be used here, so the default is");
    }
    parsed
}

fn positive(value: &str) -> Option<usize> {
    value.parse().ok().filter(|n| *n > 0)
}

fn seconds(value: &str) -> Option<Duration> {
    let seconds = value.parse::<f64>().ok().filter(|s| *s > 0.0)?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::*;

    fn with(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let found = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        read(found)
    }

    #[test]
    fn nothing_set_gives_the_documented_defaults() {
        let config = with(&[("PANDAPROBE_API_KEY", ""), ("PANDAPROBE_ENDPOINT", "")]).unwrap();
        assert!(config.api_key.is_none() && config.enabled && !config.debug);
        assert_eq!(config.endpoint.as_str(), DEFAULT_ENDPOINT);
        assert_eq!(config.batch_size, 10);
        assert_eq!(config.flush_interval, Duration::from_secs(5));
        assert_eq!(config.max_queue_size, 100_000);
    }

    #[test]
    fn every_variable_is_read() {
        let config = with(&[
            ("PANDAPROBE_API_KEY", "sk_pp_1"),
            ("PANDAPROBE_PROJECT_NAME", " My project "),
            ("PANDAPROBE_ENDPOINT", "http://localhost:8000//"),
            ("PANDAPROBE_ENVIRONMENT", "prod"),
            ("PANDAPROBE_RELEASE", "1.2"),
            ("PANDAPROBE_ENABLED", "off"),
            ("PANDAPROBE_BATCH_SIZE", "7"),
            ("PANDAPROBE_FLUSH_INTERVAL", "0.25"),
            ("PANDAPROBE_MAX_QUEUE_SIZE", "12"),
            ("PANDAPROBE_DEBUG", "YES"),
        ])
        .unwrap();
        assert_eq!(config.api_key.as_ref().unwrap().expose(), "sk_pp_1");
        assert_eq!(config.project_name.as_deref(), Some("My project"));
        assert_eq!(config.endpoint.as_str(), "http://localhost:8000");
        assert_eq!((config.environment.as_deref(), config.release.as_deref()), (Some("prod"), Some("1.2")));
        assert_eq!((config.enabled, config.debug), (false, true));
        assert_eq!((config.batch_size, config.max_queue_size), (7, 12));
        assert_eq!(config.flush_interval, Duration::from_millis(250));
    }

    #[test]
    fn bad_numbers_fall_back_to_their_defaults() {
        for bad in ["ten", "-1", "0", "1e999", "NaN", " "] {
            let config = with(&[("PANDAPROBE_BATCH_SIZE", bad), ("PANDAPROBE_FLUSH_INTERVAL", bad)]).unwrap();
            assert_eq!(config.batch_size, DEFAULT_BATCH_SIZE, "{bad}");
            assert_eq!(config.flush_interval, DEFAULT_FLUSH_INTERVAL, "{bad}");
        }
    }

    #[test]
    fn errors_name_the_variable_and_its_value_but_never_the_key() {
        let error = with(&[("PANDAPROBE_ENDPOINT", "localhost:8000")]).unwrap_err().to_string();
        assert!(error.contains("PANDAPROBE_ENDPOINT") && error.contains("localhost:8000"), "{error}");
        let error = with(&[("PANDAPROBE_PROJECT_NAME", "a/b")]).unwrap_err().to_string();
        assert!(error.contains("PANDAPROBE_PROJECT_NAME") && error.contains("a/b"), "{error}");
        let error = with(&[("PANDAPROBE_API_KEY", "sk_pp_geheim\n")]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("geheim"), "{error}");
        let config = with(&[("PANDAPROBE_API_KEY", "sk_pp_geheim")]).unwrap();
        assert!(!format!("{config:?}").contains("geheim"));
    }
}

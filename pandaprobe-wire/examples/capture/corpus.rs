//! A folder of recorded exchanges: YAML streams of `when` (method, path, body) and `then` (status, headers, body) documents.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::Value;

/// What works, or any error.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A recorded exchange.
#[derive(Debug)]
pub(crate) struct Recorded {
    /// The file below the folder, and which document of it: `path#index`.
    pub(crate) id: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) request: Vec<u8>,
    pub(crate) status: u16,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Vec<u8>,
}

#[derive(Deserialize)]
struct Document {
    when: When,
    then: Then,
}

#[derive(Deserialize)]
struct When {
    method: String,
    path: String,
    body: Option<String>,
}

#[derive(Deserialize)]
struct Then {
    status: u16,
    #[serde(default)]
    header: Vec<Header>,
    body: Option<String>,
    body_encoding: Option<String>,
}

#[derive(Deserialize)]
struct Header {
    name: String,
    value: Value,
}

/// All exchanges of a folder, file by file in order of their names.
pub(crate) fn load(root: &Path) -> Outcome<Vec<Recorded>> {
    let mut exchanges = Vec::new();
    for file in yaml_files(root)? {
        let text = fs::read_to_string(&file)?;
        let name = file.strip_prefix(root)?.display().to_string();
        for (index, document) in serde_yaml_ng::Deserializer::from_str(&text).enumerate() {
            exchanges.push(recorded(format!("{name}#{index}"), Document::deserialize(document)?)?);
        }
    }
    Ok(exchanges)
}

fn yaml_files(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(yaml_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn recorded(id: String, Document { when, then }: Document) -> Outcome<Recorded> {
    let content_type = then.header.iter().find(|header| header.name.eq_ignore_ascii_case("content-type"));
    let body = then.body.unwrap_or_default();
    Ok(Recorded {
        id,
        method: when.method,
        path: when.path,
        request: when.body.unwrap_or_default().into_bytes(),
        status: then.status,
        content_type: content_type.and_then(|header| header.value.as_str()).map(str::to_owned),
        body: match then.body_encoding.as_deref() {
            None => body.into_bytes(),
            Some("base64") => STANDARD.decode(body)?,
            Some(other) => return Err(format!("unknown encoding {other}").into()),
        },
    })
}

//! The files that pages are made of besides themselves.

use axum::{
    extract::Path,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::Miss;

struct Asset {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

macro_rules! assets {
    ($($name:literal: $kind:literal),* $(,)?) => {
        &[$(Asset { name: $name, kind: $kind, text: include_str!(concat!("assets/", $name)) }),*]
    };
}

const ASSETS: &[Asset] = assets! {
    "style.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "list.js": "text/javascript; charset=utf-8",
    "trace.js": "text/javascript; charset=utf-8",
    "tree.js": "text/javascript; charset=utf-8",
    "spans.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
};

/// Where an asset is.
pub(super) fn address(name: &str) -> String {
    format!("/ui/assets/{name}")
}

pub(super) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match ASSETS.iter().find(|asset| asset.name == name) {
        Some(asset) => asset.answer(&headers),
        None => Miss::Absent("file").into_response(),
    }
}

pub(super) async fn icon(headers: HeaderMap) -> Response {
    asset(Path("icon.svg".to_owned()), headers).await
}

impl Asset {
    /// The file, or that the browser has it. It asks each time: a new version of this program is seen at once.
    fn answer(&self, headers: &HeaderMap) -> Response {
        let tag = format!("\"{:016x}\"", hash(self.text));
        let has_it = headers.get(header::IF_NONE_MATCH).is_some_and(|tags| tags.as_bytes() == tag.as_bytes());
        let about = [(header::ETAG, tag), (header::CACHE_CONTROL, "no-cache".to_owned())];
        if has_it {
            return (StatusCode::NOT_MODIFIED, about).into_response();
        }
        (about, [(header::CONTENT_TYPE, self.kind)], self.text).into_response()
    }
}

/// FNV-1a.
fn hash(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::ASSETS;

    #[test]
    fn all_assets_together_are_small() {
        let size: usize = ASSETS.iter().map(|asset| asset.text.len()).sum();
        assert!(size < 150_000, "{size}");
    }

    #[test]
    fn no_asset_asks_elsewhere() {
        for asset in ASSETS {
            let text = asset.text.replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains("http://") && !text.contains("https://"), "{}", asset.name);
        }
    }
}

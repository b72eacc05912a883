//! The trace of a request.

use http::request::Parts;
use pandaprobe_core::{Trace, trace};

use crate::identity::{Look, asked};

/// Whether requests are traces, and what those say of them.
#[derive(Clone, Default)]
pub(crate) struct RootTrace {
    pub(crate) on: bool,
    pub(crate) name: Option<Look>,
    pub(crate) route: Option<Look>,
}

impl RootTrace {
    pub(crate) fn start(&self, parts: &Parts) -> Option<Trace> {
        if !self.on {
            return None;
        }
        let route = said(self.route.as_ref(), parts);
        let (key, place) = match &route {
            Some(route) => ("http.route", route.as_str()),
            None => ("http.path", parts.uri.path()),
        };
        let method = parts.method.as_str();
        let name = said(self.name.as_ref(), parts).unwrap_or_else(|| format!("{method} {place}"));
        Some(trace(name).metadata("http.method", method).metadata(key, place).start())
    }
}

fn said(look: Option<&Look>, parts: &Parts) -> Option<String> {
    asked(look?, parts).ok().flatten()
}

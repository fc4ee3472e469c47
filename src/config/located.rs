//! Where a stream's requests go, as it was found outside of the configuration.
//!
//! Knows what is completed by it. Does not know where it is looked for.

use std::sync::Arc;

use super::Stream;

/// Where a stream's requests go, once environment, profile and machine have completed what is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    pub region: String,
    /// What names the region.
    pub by: &'static str,
    /// The URL of the service, for one that is not the region's own.
    pub endpoint_url: Option<String>,
}

/// What was found of a stream; `None` where nothing is known yet. No part of what is configured: all are equal.
#[derive(Clone, Debug, Default, Eq)]
pub struct Found(pub Option<Arc<Located>>);

impl PartialEq for Found {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Stream {
    /// The region that requests go to, as far as it is known.
    pub fn region(&self) -> Option<&str> {
        self.region.as_deref().or(self.found.0.as_ref().map(|found| &*found.region))
    }

    /// The region as a person is told it: with what names it, where the configuration does not.
    pub(super) fn region_told(&self) -> Option<String> {
        let told = |found: &Arc<Located>| format!("{} ({})", found.region, found.by);
        self.region.clone().or_else(|| self.found.0.as_ref().map(told))
    }

    /// The URL that requests go to, where it is known not to be the region's own.
    pub fn endpoint(&self) -> Option<&str> {
        self.found.0.as_ref().map_or(&self.endpoint_url, |found| &found.endpoint_url).as_deref()
    }
}

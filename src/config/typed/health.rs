//! `[health]`, as typed.
//!
//! Knows what an address and a name are. Whether the port can be had shows when somebody listens.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::walk::{Section, Typed};

use super::DAY;

/// The longest name of a host, in characters, as DNS has it.
const MAX_NAME_CHARS: usize = 253;

#[derive(Debug, Default)]
pub(in crate::config) struct HealthTable {
    pub(in crate::config) listen: Option<Typed<Option<SocketAddr>>>,
    pub(in crate::config) max_lag: Option<Typed<Duration>>,
    pub(in crate::config) hosts: Option<Vec<Typed<String>>>,
}

pub(super) fn table(health: &mut Section<'_, '_, '_>) -> HealthTable {
    HealthTable {
        listen: health.parsed("listen", listen),
        max_lag: health.duration("max_lag", Duration::from_secs(1), 7 * DAY),
        hosts: health.list("hosts", host),
    }
}

fn listen(text: &str) -> Result<Option<SocketAddr>, String> {
    if text == "off" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        format!("`{text}` is not an address with a port; write it as \"127.0.0.1:9909\", or \"off\"")
    })
}

/// A name as browsers send it: in small letters, without a port.
fn host(text: &str) -> Result<String, String> {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "-._".contains(letter);
    match (1..=MAX_NAME_CHARS).contains(&text.len()) && text.chars().all(is_letter) {
        true => Ok(text.trim_end_matches('.').to_ascii_lowercase()),
        false => {
            Err(format!("`{text}` is not a host's name; write it without a port, like \"metrics.example\""))
        }
    }
}

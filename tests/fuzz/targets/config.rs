//! The configuration against any text: it is taken, and can be described, or each mistake names its place.

use std::path::Path;

use standpipe::config::Config;

pub(crate) fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let env = |name: &str| (!["UNSET", "STATE_DIRECTORY"].contains(&name)).then(|| name.to_lowercase());
    match Config::from_text(Path::new("a.toml"), &text, &env) {
        Ok(config) => {
            assert!(!config.sources.is_empty() && !config.streams.is_empty());
            assert!(config.describe().lines().count() > 5);
        }
        Err(faults) => {
            let said = faults.to_string();
            assert!(!said.trim().is_empty(), "a mistake is told");
            let is_placed =
                |line: &str| line.starts_with("a.toml") || line.starts_with(' ') || line.starts_with('$');
            assert!(said.lines().next().is_some_and(is_placed), "a mistake has a place: {said}");
        }
    }
}

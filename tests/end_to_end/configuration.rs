//! Where a configuration comes from.

use std::fs;

use crate::world::{finished, text};

#[test]
fn both_examples_are_printed_and_pass_the_check() {
    let dir = tempfile::tempdir().unwrap();
    let whole = include_str!("../../config.example.toml");
    for (args, is_whole) in [(&["example"][..], true), (&["example", "--minimal"], false)] {
        let (code, printed, said) = finished(args);
        assert_eq!((code, &*said), (0, ""), "{args:?}");
        assert_eq!(printed == whole, is_whole, "{args:?}");
        let path = dir.path().join("standpipe.toml");
        let state = dir.path().join("state");
        fs::write(&path, format!("state_dir = {state:?}\n{printed}")).unwrap();
        let (code, shown, said) = finished(&["check", text(&path)]);
        assert_eq!((code, &*said), (0, ""), "{args:?}");
        assert!(shown.contains(&format!("state directory {}\n", state.display())), "{shown}");
        assert!(shown.contains("source /var/log/app/*.log to stream app-logs\n"), "{shown}");
    }
}

#[test]
fn the_schema_is_printed_as_json() {
    let (code, printed, said) = finished(&["schema"]);
    assert_eq!((code, &*said), (0, ""));
    let schema: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(schema["additionalProperties"], false);
    assert!(schema["properties"]["source"].is_object(), "{printed}");
}

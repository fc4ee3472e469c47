//! Where a configuration comes from.

use std::fs;

use crate::world::{finished, standpipe, text};

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

#[test]
fn a_variable_names_the_configuration_where_no_flag_does() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, stream: &str| {
        let path = dir.path().join(name);
        let state = dir.path().join(stream);
        let config = format!("state_dir = {state:?}\n[[source]]\npaths = [\"/a\"]\nstream = {stream:?}\n");
        fs::write(&path, config).unwrap();
        path
    };
    let (of_variable, of_flag) = (write("a.toml", "by-variable"), write("b.toml", "by-flag"));
    let run = |args: &[&str], variable: &str| {
        let output = standpipe(args).env("STANDPIPE_CONFIG", variable).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(said).unwrap())
    };
    let variable = text(&of_variable);
    for (args, variable, stream) in [
        (&["check"][..], variable, "by-variable"),
        (&["check", "-c", text(&of_flag)], variable, "by-flag"),
        (&["check", text(&of_flag)], variable, "by-flag"),
        (&["check", "-c", text(&of_flag)], "", "by-flag"),
    ] {
        let (code, said) = run(args, variable);
        assert_eq!(code, 0, "{said}");
        assert!(said.contains(&format!("to stream {stream}\n")), "{args:?}: {said}");
    }
    // Where the state is, by commands that only look into it.
    for command in [&["checkpoints", "list"][..], &["shipped", "/a"], &["dead-letters", "list"]] {
        let (_, said) = run(command, variable);
        assert!(said.contains("/by-variable"), "{command:?}: {said}");
    }
    for command in [&["run"][..], &["preview", "/a"], &["check"]] {
        let (code, said) = run(command, "/nowhere.toml");
        assert_eq!(code, 78, "{said}");
        assert!(said.starts_with("/nowhere.toml: configuration: cannot be read: "), "{command:?}: {said}");
    }
    assert!(finished(&["check", "--help"]).1.contains("$STANDPIPE_CONFIG"));
}

//! Where a configuration comes from.

use std::fs;

use rustix::fs::{CWD, FileType, Mode};

use crate::world::{World, append, finished, standpipe, text};

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

#[test]
fn further_files_add_sources_and_their_faults_end_the_start() {
    let world = World::new();
    let conf = world.dir().join("conf.d");
    fs::create_dir(&conf).unwrap();
    let (config, main) = (world.dir().join("main.toml"), fs::read_to_string(world.config()).unwrap());
    fs::write(&config, format!("include = [\"conf.d/*.toml\", \"none/*.toml\"]\n{main}")).unwrap();
    let other = world.dir().join("other.txt");
    append(&other, "line\n");
    let included = conf.join("other.toml");
    let source = |keys: &str| format!("[[source]]\npaths = [{other:?}]\nstream = \"logs\"\n{keys}");
    fs::write(&included, source("")).unwrap();
    let (code, shown, _) = finished(&["check", text(&config)]);
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains(&format!("with {}\n", included.display())), "{shown}");
    assert!(shown.contains("no file is included by none/*.toml"), "{shown}");
    let (code, _, said) = finished(&["run", "--once", "-c", text(&config)]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("no file is included by this entry"), "{said}");
    assert_eq!(world.arrived("logs"), b"line\n");
    // Where files go is asked by other commands, too.
    let (code, shown, _) = finished(&["shipped", "-c", text(&config), text(&other)]);
    assert_eq!(code, 0, "{shown}");
    let fifo = conf.join("fifo.toml");
    for (wrong, told) in [
        (source("frequency = 3\n"), format!("{}:4:1: source.frequency: unknown key; ", included.display())),
        (
            "[log]\n".to_owned(),
            format!("{}:1:2: log: has no place in an included file; ", included.display()),
        ),
        (String::new(), format!("{}: include: is no regular file; ", fifo.display())),
    ] {
        if wrong.is_empty() {
            rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
        }
        fs::write(&included, wrong).unwrap();
        for args in [["check", "-c", text(&config)], ["run", "-c", text(&config)]] {
            let (code, _, said) = finished(&args);
            assert_eq!(code, 78, "{said}");
            assert!(said.starts_with(&told), "{told}\n{said}");
        }
    }
}

//! `standpipe check`, and with `--online` what the service says.

use std::fs;
use std::process::Stdio;

use crate::world::{World, append, finished, standpipe, text};

/// Exit code and standard output of `check --online`.
fn online(world: &World, without: &[&str]) -> (i32, String) {
    let mut command = standpipe(&["check", "--online", "-c", text(&world.config())]);
    without.iter().for_each(|name| {
        command.env_remove(name);
    });
    let output = command.output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

/// By globs, a link, and a hard link.
#[test]
fn sources_that_meet_in_a_file_are_refused_with_both_places() {
    for (second, make) in [("*-error.log", None), ("link.log", Some(false)), ("hard.log", Some(true))] {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("web-error.log"), "line\n").unwrap();
        match make {
            Some(true) => fs::hard_link(path("web-error.log"), path(second)).unwrap(),
            Some(false) => std::os::unix::fs::symlink(path("web-error.log"), path(second)).unwrap(),
            None => {}
        }
        let config = path("c.toml");
        let source = |glob: &str| {
            format!("[[source]]\npaths = [{:?}]\nstream = \"s\"\nfollow_symlinks = true\n", path(glob))
        };
        // Names that only a look at the files shows to be one.
        let second = second.replace("link.log", "lin?.log").replace("hard.log", "har?.log");
        let state = format!("state_dir = {:?}\n", path("state"));
        fs::write(&config, state + &source("web-*.log") + &source(&second)).unwrap();
        for args in [["check", "-c", text(&config)], ["run", "-c", text(&config)]] {
            let (code, _, said) = finished(&args);
            assert_eq!(code, 78, "{said}");
            assert!(said.contains("c.toml:7:10: source.paths: "), "{said}");
            assert!(said.contains("c.toml:3:10 both send "), "{said}");
        }
    }
}

/// What is said of each mistake is a file beside them; STANDPIPE_WRITE=1 writes it anew, to be looked at.
#[test]
fn every_mistake_of_a_configuration_is_told_at_once_with_its_place_and_what_to_do() {
    let file = "tests/mistakes/thirty.toml";
    let expected = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes/thirty.txt");
    let output = standpipe(&["check", "-c", file]).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8(output.stderr).unwrap();
    if std::env::var_os("STANDPIPE_WRITE").is_some() {
        fs::write(&expected, &said).unwrap();
    }
    assert!(said.lines().count() >= 30, "{said}");
    assert_eq!(said, fs::read_to_string(expected).unwrap());
}

/// The journal has the time of each line already.
#[test]
fn in_the_journal_lines_have_no_time_of_their_own() {
    use std::os::unix::fs::MetadataExt;
    let world = World::new();
    append(&world.file("a.log"), "line\n");
    let stderr = fs::File::create(world.dir().join("journal")).unwrap();
    let stat = stderr.metadata().unwrap();
    let named = format!("{}:{}", stat.dev(), stat.ino());
    for (stream, format, has_time) in
        [(&*named, "json", false), (&*named, "text", false), ("1:2", "json", true)]
    {
        let config = fs::read_to_string(world.config()).unwrap() + &format!("[log]\nformat = {format:?}\n");
        let path = world.dir().join("journal.toml");
        fs::write(&path, config).unwrap();
        let log = world.dir().join("journal");
        let file = fs::File::options().write(true).truncate(true).open(&log).unwrap();
        let mut command = standpipe(&["run", "--once", "-c", text(&path)]);
        assert!(
            command
                .env("JOURNAL_STREAM", stream)
                .stdout(Stdio::null())
                .stderr(file)
                .status()
                .unwrap()
                .success()
        );
        let said = fs::read_to_string(&log).unwrap();
        assert!(said.contains("starting"), "{said}");
        let timed = said.lines().any(|line| line.contains("\"timestamp\":") || line.starts_with("20"));
        assert_eq!(timed, has_time, "{format}: {said}");
    }
}

#[test]
fn man_pages_are_written_for_every_command() {
    let dir = tempfile::tempdir().unwrap();
    assert!(standpipe(&["manual", text(dir.path())]).status().unwrap().success());
    for name in ["standpipe", "standpipe-run", "standpipe-dead-letters-replay", "standpipe-local"] {
        let page = fs::read_to_string(dir.path().join(format!("{name}.1"))).unwrap();
        assert!(page.starts_with(".ie"), "{name}: {page}");
    }
    assert!(!dir.path().join("standpipe-manual.1").exists(), "it is hidden");
}

#[test]
fn a_stream_that_takes_records_is_told_with_who_signs() {
    let world = World::new();
    fs::write(world.file("a.log"), "line\n").unwrap();
    let (code, said) = online(&world, &[]);
    assert_eq!(code, 0, "{said}");
    for line in [
        "a.log (5 bytes): app",
        "signed with access key AKID for region us-east-1",
        "delivery stream logs is ACTIVE, of type DirectPut, encryption DISABLED",
    ] {
        assert!(said.contains(line), "{line:?} is not in\n{said}");
    }
    assert!(!said.contains("secret"));
}

#[test]
fn each_reason_why_a_stream_takes_none_is_told_with_what_to_do() {
    let other = World::with_service(&["--streams", "other"]);
    let plain = World::new().configured("require_encryption = true\n");
    let locked = World::with_service(&["--access-key", "AKID", "--secret-key", "another"]);
    let unsigned = World::new();
    let nowhere = World::new();
    for (world, without, words) in [
        (&other, &[][..], ["ResourceNotFoundException", "create the delivery stream"]),
        (&plain, &[], ["encryption DISABLED", "`require_encryption` is set"]),
        (&locked, &[], ["InvalidSignatureException", "correct or renew the credentials"]),
        (&unsigned, &["AWS_SECRET_ACCESS_KEY"], ["MissingCredentials", "no credentials: "]),
        (&nowhere, &["AWS_REGION"], ["MissingRegion", "AWS_REGION"]),
    ] {
        let (code, said) = online(world, without);
        assert_eq!(code, 1, "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{words:?} are not in\n{said}");
        assert!(said.contains("NOT READY"), "{said}");
    }
}

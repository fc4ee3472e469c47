use std::collections::BTreeMap;

use super::*;
use crate::config::{Config, Overrides, Routes};

/// Files by path; what cannot be read has the reason.
#[derive(Default)]
struct Known(BTreeMap<&'static str, Result<&'static str, &'static str>>);

impl Files for Known {
    fn names(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        if dir == Path::new("/denied") {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let inside = self.0.keys().filter(|path| Path::new(path).parent() == Some(dir));
        let names: Vec<_> =
            inside.filter_map(|path| Path::new(path).file_name()).map(OsString::from).rev().collect();
        if names.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(names) }
    }

    fn text(&self, path: &Path) -> Result<String, String> {
        self.0[path.to_str().expect("a text")].map(str::to_owned).map_err(str::to_owned)
    }

    fn why_denied(&self, path: &Path, _: &io::Error) -> Option<String> {
        (path == Path::new("/denied")).then(|| "uid 7 may not read it".to_owned())
    }
}

fn around<'a>(files: &'a dyn Files) -> ProcessEnvironment<'a> {
    ProcessEnvironment {
        env: &|name| (name == "NAME").then(|| "b".to_owned()),
        current_dir: Path::new("/srv"),
        host: "localhost",
        exists: &|_| false,
        files,
    }
}

fn build(
    name: &str,
    text: &str,
    files: &[(&'static str, Result<&'static str, &'static str>)],
) -> Result<Config, String> {
    let known = Known(files.iter().copied().collect());
    let config = Config::build(Some((Path::new(name), text)), &Overrides::default(), &around(&known));
    config.map_err(|faults| faults.to_string())
}

const A: &str = "[[source]]\npaths = [\"/a\"]\nstream = \"a\"\n[stream.a]\nmax_in_flight = 3\n";
const B: &str = "[[source]]\nname = \"${NAME}\"\npaths = [\"/b\"]\nstream = \"b\"\n";

#[test]
fn included_files_add_sources_and_streams_in_the_order_of_their_names() {
    let main = "include = [\"conf.d/*.toml\", \"/etc/s/conf.d/10-*\", \"extra.toml\", \"/none/*.toml\"]\n[stream.b]\napi = \"auto\"\n";
    let files = [
        ("/etc/s/conf.d/20-b.toml", Ok(B)),
        ("/etc/s/conf.d/10-a.toml", Ok(A)),
        ("/etc/s/conf.d/.#20-b.toml", Err("a lock")),
        ("/etc/s/conf.d/README", Ok("text")),
        ("/etc/s/extra.toml", Ok("")),
    ];
    let config = build("/etc/s/standpipe.toml", main, &files).expect("valid");
    let names: Vec<_> = config.sources.iter().map(|source| &*source.name).collect();
    assert_eq!(names, ["/a", "b"]);
    assert_eq!(config.settings.streams[0].max_in_flight.get(), 3);
    let read: Vec<_> = config.included.files.iter().map(|path| path.display().to_string()).collect();
    assert_eq!(read, ["/etc/s/conf.d/10-a.toml", "/etc/s/conf.d/20-b.toml", "/etc/s/extra.toml"]);
    assert_eq!(config.included.unmatched, ["/none/*.toml"]);
    let told = config.describe();
    assert!(told.starts_with("with /etc/s/conf.d/10-a.toml\n"), "{told}");
    assert!(told.contains("no file is included by /none/*.toml: none matches\n"), "{told}");
    // From the directory in which the process runs, when the configuration is named so.
    let config = build("s.toml", "include = [\"c/*\"]", &[("/srv/c/a", Ok(A))]).expect("valid");
    assert_eq!(config.included.files, [Path::new("/srv/c/a")]);
    let known = Known([("/srv/c/a", Ok(A))].into());
    let routes = Routes::read(Path::new("s.toml"), "include = [\"c/*\"]", &around(&known)).expect("valid");
    assert_eq!(
        routes.of(Path::new("/a"), Path::new("/a"), |_| false),
        ["a"],
        "where files go is said there, too"
    );
}

#[test]
fn what_is_wrong_in_an_included_file_is_told_with_its_place() {
    let confined = "has no place in an included file; write [[source]] and [stream.NAME] here, and the rest in the file that \
                    includes it";
    let table = [
        ("state_dir = \"/x\"", format!("/c/a:1:1: state_dir: {confined}")),
        ("\n  [memory]\nbuffer = 3", format!("/c/a:2:4: memory: {confined}")),
        ("include = [\"x\"]", format!("/c/a:1:1: include: {confined}")),
        ("[[sorce]]", format!("/c/a:1:3: sorce: {confined}")),
        (
            "[stream.m]\n[stream.s]\nordered = true",
            "/c/a:2:9: stream.s: [stream.s] stands at /c.toml:5:9, too; keep one of them".to_owned(),
        ),
        ("[[source]]\npaths = [\"/n\"]\nstream = 3", "/c/a:3:10: source.stream: expected a text in quotes, found 3".to_owned()),
        (
            "[[source]]\npaths = [\"/m\"]\nstream = \"s\"\nname = \"n\"",
            "/c/a:2:10: source.paths: `/m` and the source at /c.toml:3:10 send the same files into the same stream; leave \
             it out of one"
                .to_owned(),
        ),
        ("a = ", "/c/a:1:5: syntax: string values must be quoted, expected literal string; correct the TOML".to_owned()),
    ];
    for (text, told) in table {
        let main = "include = [\"/c/*\"]\n[[source]]\npaths = [\"/m\"]\nstream = \"s\"\n[stream.s]\n";
        let found = build("/c.toml", main, &[("/c/a", Ok(text))]).expect_err(text);
        if told.contains("syntax") {
            assert!(found.starts_with("/c/a:1:"), "{found}");
        } else {
            // A stream that no source names is one more mistake.
            assert!(found.lines().any(|line| line == told), "{told}\nis not in\n{found}");
        }
    }
    let found =
        build("/c.toml", "include = [\"/c/*\"]", &[("/c/a", Err("is no regular file; leave it out"))]);
    assert_eq!(found.expect_err("unreadable"), "/c/a: include: is no regular file; leave it out");
}

#[test]
fn an_entry_is_a_path_or_a_glob_over_the_names_in_a_directory() {
    let table = [
        ("", "is empty; write a path, or a glob such as \"conf.d/*.toml\""),
        ("/c/", "`/c/` is a directory; write `/c/*.toml` for the files in it"),
        ("/*/a.toml", "`/*/a.toml` has a glob in its directory; write out all but the files' names"),
        ("/denied/a", "/denied cannot be listed: permission denied; uid 7 may not read it"),
    ];
    for (entry, told) in table {
        let main = format!("{A}[[source]]\npaths = [\"/c\"]\nstream = \"c\"\n");
        let found = build("/c.toml", &format!("include = [{entry:?}]\n{main}"), &[]).expect_err(entry);
        assert_eq!(found, format!("/c.toml:1:12: include: {told}"));
    }
    build("/c.toml", &format!("include = [\"/c/[x\"]\n{A}"), &[]).expect_err("no glob");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "files are what is tested")]
fn only_regular_files_are_read_from_disk() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("a"), "text").expect("written");
    std::os::unix::fs::symlink("a", path("link")).expect("linked");
    rustix::fs::mknodat(rustix::fs::CWD, path("fifo"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .expect("made");
    let files = OnDisk { why_denied: |path| path.ends_with("a").then(|| "uid 7 may not read it".to_owned()) };
    let mut names = files.names(dir.path()).expect("it can be listed");
    names.sort();
    assert_eq!(names, ["a", "fifo", "link"]);
    for (name, found) in [
        ("a", Ok("text")),
        ("link", Ok("text")),
        ("fifo", Err("is no regular file; leave it out of `include`")),
        (".", Err("is no regular file; leave it out of `include`")),
        (
            "gone",
            Err(
                "cannot be read: No such file or directory (os error 2); make it readable, or leave it out of `include`",
            ),
        ),
    ] {
        assert_eq!(files.text(&path(name)).as_deref().map_err(String::as_str), found, "{name}");
    }
    for (name, why, told) in [
        ("a", io::ErrorKind::PermissionDenied, Some("uid 7 may not read it")),
        ("a", io::ErrorKind::NotFound, None),
        ("b", io::ErrorKind::PermissionDenied, None),
    ] {
        assert_eq!(files.why_denied(&path(name), &why.into()).as_deref(), told, "{name}, {why}");
    }
}

#[test]
fn contents_are_those_of_every_file_right_or_wrong() {
    let main = "include = [\"/c/*.toml\"]\n";
    let of = |main: &str, files: &[(&'static str, Result<&'static str, &'static str>)]| {
        let known = Known(files.iter().copied().collect());
        contents((Path::new("/c.toml"), main), &around(&known))
    };
    let base = of(main, &[("/c/a.toml", Ok(A))]);
    let loaded = build("/c.toml", main, &[("/c/a.toml", Ok(A))]).expect("valid");
    assert_eq!(loaded.included.contents, base, "a configuration knows what it was read from");
    let others = [
        of(main, &[]),
        of(main, &[("/c/a.toml", Ok(B))]),
        of(main, &[("/c/a.toml", Err("unreadable"))]),
        of(main, &[("/c/a.toml", Ok("wrong = "))]),
        of(main, &[("/c/b.toml", Ok(A))]),
        of(main, &[("/c/a.toml", Ok(A)), ("/c/b.toml", Ok(""))]),
        of("include = [\"/c/*.toml\"]\n# comment\n", &[("/c/a.toml", Ok(A))]),
        of("include = ", &[("/c/a.toml", Ok(A))]),
    ];
    for (index, other) in others.iter().enumerate() {
        assert_ne!(*other, base, "{index}");
        assert!(!others[..index].contains(other), "{index}");
    }
    assert_eq!(of(main, &[("/c/a.toml", Ok(A)), ("/c/README", Ok("another"))]), base, "nobody includes it");
    // Hosts with other processors and other builds are compared by it.
    assert_eq!(base.to_string(), "6d2dd72ca40b5ab0");
}

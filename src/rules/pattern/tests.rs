use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use proptest::prelude::*;

use super::*;

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).expect(text)
}

fn argument(text: &str, current_dir: &str) -> Result<Pattern, PatternError> {
    let exists = |path: &Path| path == Path::new("/home/me/a[1].log");
    Pattern::parse_argument(Path::new(text), Path::new(current_dir), &exists)
}

fn exclude(globs: &[&str]) -> Exclude {
    Exclude::new(globs.iter().map(|text| ExcludeGlob::parse(text).expect(text)).collect())
}

#[test]
fn a_pattern_matches_whole_paths_and_a_star_no_slash() {
    let table = [
        ("/var/log/*.log", "/var/log/a.log", true),
        ("/var/log/*.log", "/var/log/.log", true),
        ("/var/log/*.log", "/var/log/app/a.log", false),
        ("/var/log/*.log", "/var/log/a.log.1", false),
        ("/var/log/*.log", "/var/log", false),
        ("/var/log/*.log", "var/log/a.log", false),
        ("/var/log/*.log", "/var/log/x/../a.log", false),
        ("/var/log/**/*.log", "/var/log/a.log", true),
        ("/var/log/**/*.log", "/var/log/a/b/c.log", true),
        ("/var/log/**", "/var/log/a/b", true),
        ("/var/log/**", "/var/log", false),
        ("/var/**/log/**/a", "/var/log/a", true),
        ("/var/**/log/**/a", "/var/x/log/log/y/a", true),
        ("/var/**/log/**/a", "/var/x/a", false),
        ("/var/log/a**z", "/var/log/a-z", true),
        ("/var/log/a**z", "/var/log/a/z", false),
        ("/var/log/*/a.log", "/var/log/x/a.log", true),
        ("/var/log/*/a.log", "/var/log/x/y/a.log", false),
        ("/var/log/?.log", "/var/log/a.log", true),
        ("/var/log/?.log", "/var/log/.log", false),
        ("/var/log/[ab].log", "/var/log/c.log", false),
        ("/var/log/a.log", "/var/log/a.log", true),
        ("/var/log/a.log", "/var/log/b.log", false),
        ("/var//log/./*.log", "/var/log/a.log", true),
        ("//var/log/a.log", "/var/log/a.log", true),
        ("/srv/\\*.log", "/srv/\\*.log", false),
        ("/srv/\\*[.]log", "/srv/*.log", true),
        ("/srv/*.l+g", "/srv/a.l+g", true),
        ("/srv/*.l+g", "/srv/a.llg", false),
    ];
    for (text, path, matches) in table {
        assert_eq!(pattern(text).matches(Path::new(path)), matches, "{text} {path}");
    }
}

#[test]
fn braces_hold_alternatives_that_may_be_empty_nested_or_several_names() {
    let table = [
        ("/var/log/app{,.1}", "/var/log/app", true),
        ("/var/log/app{,.1}", "/var/log/app.1", true),
        ("/var/log/app{,.1}", "/var/log/app.2", false),
        ("/var/log/a{b,c{d,}}e", "/var/log/abe", true),
        ("/var/log/a{b,c{d,}}e", "/var/log/acde", true),
        ("/var/log/a{b,c{d,}}e", "/var/log/ace", true),
        ("/var/log/a{b,c{d,}}e", "/var/log/ae", false),
        ("/var/log/a{b}c,d", "/var/log/abc,d", true),
        ("/srv/{a/b,c}/x", "/srv/a/b/x", true),
        ("/srv/{a/b,c}/x", "/srv/c/x", true),
        ("/srv/{a/b,c}/x", "/srv/a/x", false),
        ("/srv/{a/,}x", "/srv/a/x", true),
        ("/srv/{a/,}x", "/srv/x", true),
        ("/srv/a{/b,}c", "/srv/a/bc", true),
        ("/srv/a{/b,}c", "/srv/ac", true),
        ("/srv/{a,**}/x", "/srv/b/c/x", true),
        ("/srv/{a/{b,c/d},e}/x", "/srv/a/c/d/x", true),
        ("/srv/{a/{b,c/d},e}/x", "/srv/a/c/x", false),
        ("/srv/[{]a[}]*", "/srv/{a}1", true),
    ];
    for (text, path, matches) in table {
        assert_eq!(pattern(text).matches(Path::new(path)), matches, "{text} {path}");
    }
}

#[test]
fn a_question_mark_and_a_class_are_one_character() {
    let table = [
        ("/l/caf?.log", "/l/café.log", true),
        ("/l/caf??.log", "/l/café.log", false),
        ("/l/[äö].log", "/l/ö.log", true),
        ("/l/[ä-ö].log", "/l/é.log", true),
        ("/l/[ä-ö].log", "/l/z.log", false),
        ("/l/[!ä].log", "/l/ö.log", true),
        ("/l/[!ä].log", "/l/ä.log", false),
        ("/l/[^a-c]", "/l/日", true),
        ("/l/x[!a]y", "/l/x/y", false),
        ("/l/[]]", "/l/]", true),
        ("/l/[!]]", "/l/]", false),
        ("/l/[]a]", "/l/a", true),
        ("/l/[a-]", "/l/-", true),
        ("/l/[-a]", "/l/-", true),
        ("/l/[+--]", "/l/,", true),
        ("/l/[\\]", "/l/\\", true),
        ("/l/[{,}]", "/l/,", true),
        ("/l/[[:a]", "/l/:", true),
        ("/l/[&&a]", "/l/&", true),
        ("/l/?", "/l/\n", true),
    ];
    for (text, path, matches) in table {
        assert_eq!(pattern(text).matches(Path::new(path)), matches, "{text} {path}");
    }
}

#[test]
fn names_that_are_no_text_match_stars_and_what_is_spelled_out() {
    let path = |bytes| Path::new(OsStr::from_bytes(bytes));
    let name = path(b"/l/\xff\xe4.log");
    for (text, matches) in [("/l/*.log", true), ("/l/**", true), ("/l/??.log", false), ("/l/[!a]*", false)] {
        assert_eq!(pattern(text).matches(name), matches, "{text}");
    }
    assert!(Pattern::parse_argument(name, Path::new("/"), &|_| false).expect("a file").matches(name));
    let here = path(b"/l/\xff");
    let below = Pattern::parse_argument(Path::new("*.log"), here, &|_| false).expect("a glob");
    assert!(below.matches(path(b"/l/\xff/a.log")));
}

#[test]
fn a_pattern_knows_where_to_begin_and_whether_it_is_one_file() {
    let table = [
        ("/var/log/a.log", "/var/log", Some("/var/log/a.log"), false),
        ("/var/log/a\\b", "/var/log", Some("/var/log/a\\b"), false),
        ("/a.log", "/", Some("/a.log"), false),
        ("/srv/\\*{}.log", "/srv", None, false),
        ("/srv/l\\og/\\*[x]", "/srv/log", None, false),
        ("/srv/{l/a,l/b}", "/srv/l", None, false),
        ("/srv/{a/b,a/b}", "/srv/a", Some("/srv/a/b"), false),
        ("/*.log", "/", None, false),
        ("/var/log/*.log", "/var/log", None, false),
        ("//var/./log//*.log", "/var/log", None, false),
        ("/var/log/app-*/a.log", "/var/log", None, false),
        ("/var/{log,tmp}/a.log", "/var", None, false),
        ("/srv/x/{a/b,c}/y", "/srv/x", None, false),
        ("/srv/x/{,y}/z/{a/,}b", "/srv/x", None, false),
        ("/var/log/**/*.log", "/var/log", None, true),
    ];
    for (text, base, file, recurses) in table {
        let pattern = pattern(text);
        assert_eq!(pattern.text(), text);
        assert_eq!(pattern.base(), Path::new(base), "{text}");
        assert_eq!(pattern.file(), file.map(Path::new), "{text}");
        assert_eq!(pattern.recurses(), recurses, "{text}");
    }
}

#[test]
fn an_argument_is_taken_from_the_current_directory() {
    let table = [
        ("a.log", "/home/me/a.log"),
        ("./a.log", "/home/me/a.log"),
        ("../you/a.log", "/home/you/a.log"),
        ("/var/log/../a.log", "/var/a.log"),
        ("/var/log/../*.log", "/var/*.log"),
        ("*.log", "/home/me/*.log"),
        ("../*/a.log", "/home/*/a.log"),
        ("logs/**/*.log", "/home/me/logs/**/*.log"),
        ("/var/log/*.log", "/var/log/*.log"),
    ];
    for (text, meant) in table {
        let argument = argument(text, "/home/me").expect(text);
        assert_eq!(argument.text(), meant, "{text}");
        assert!(argument.is_same_as(&pattern(meant)), "{text}");
    }
}

#[test]
fn an_argument_that_exists_is_that_file_although_it_looks_like_a_glob() {
    let file = |text| argument(text, "/home/me").expect(text).file().map(Path::to_owned);
    assert_eq!(file("a[1].log").as_deref(), Some(Path::new("/home/me/a[1].log")));
    assert_eq!(file("a[2].log"), None);
}

#[test]
fn the_current_directory_means_its_characters() {
    let pattern = argument("*.log", "/srv/[x]{y}\\").expect("a glob");
    assert!(pattern.matches(Path::new("/srv/[x]{y}\\/a.log")));
    assert!(!pattern.matches(Path::new("/srv/xy/a.log")));
    assert_eq!(pattern.base(), Path::new("/srv/[x]{y}\\"));
}

#[test]
fn patterns_are_the_same_by_what_they_mean() {
    let table = [
        ("/l/a.log", "//l/./a.log", true),
        ("/l/*.log", "/l//*.log", true),
        ("/l/{a,b}*", "/l/{b,a,b}*", true),
        ("/l/{a/x,b}*", "/l/{b,a/x}*", true),
        ("/l/**", "/l/**/**/*", true),
        ("/l/a*", "/l/a**", true),
        ("/l/[ab]", "/l/[ba]", true),
        ("/l/\\a*", "/l/a*", true),
        ("/l/a*", "/l/b*", false),
        ("/l/*", "/l/*/*", false),
        ("/l/a?", "/l/a*", false),
        ("/l/[a]", "/l/[!a]", false),
    ];
    for (one, other, same) in table {
        assert_eq!(pattern(one).is_same_as(&pattern(other)), same, "{one} {other}");
        assert_ne!(pattern(one), pattern(other), "other words: {one} {other}");
    }
}

#[test]
fn what_could_never_match_is_refused_with_what_to_write() {
    let told = |text: &str| Pattern::parse(text).expect_err(text).to_string();
    let table = [
        ("", "`` is not absolute; write the whole path, from / on"),
        ("*.log", "`*.log` is not absolute; write the whole path, from / on"),
        ("/var/log/", "`/var/log/` is a directory; write `/var/log/*` for the files in it"),
        ("/.", "`/.` is a directory; write `/*` for the files in it"),
        (
            "/var/{log/,a}",
            "`/var/{log/,a}` has an alternative that is a directory; write a `*` behind its last `/`",
        ),
        ("/var/../a", "`/var/../a` has a `..`; write the path without it"),
        ("/var/*/../a", "`/var/*/../a` has a `..`; write the path without it"),
        ("/var/{../a,b}", "`/var/{../a,b}` has a `..`; write the path without it"),
        ("/a[", "`/a[` is not a glob: unclosed character class; missing ']'; correct it"),
        ("/a[]", "`/a[]` is not a glob: unclosed character class; missing ']'; correct it"),
        ("/[z-a]", "`/[z-a]` is not a glob: invalid range; 'z' > 'a'; correct it"),
        (
            "/a{b",
            "`/a{b` is not a glob: unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?); correct it",
        ),
        (
            "/*}",
            "`/*}` is not a glob: unopened alternate group; missing '{' (maybe escape '}' with '[}]'?); correct it",
        ),
        ("/*\\", "`/*\\` is not a glob: a '\\' at the end escapes nothing; correct it"),
    ];
    for (text, expected) in table {
        assert_eq!(told(text), expected);
    }
    let huge = [
        format!("/{}", "{a,b/c}".repeat(9)),
        format!("/{}{}", "{".repeat(17), "}".repeat(17)),
        format!("/{}", "?".repeat(10_000)),
    ];
    for text in huge {
        assert!(told(&text).ends_with("; correct it"), "{text}");
    }
    for name in ["?", "[!a]", "[ä-ö]"] {
        let longest = format!("/{}", name.repeat(255));
        assert!(Pattern::parse(&longest).is_ok(), "a kernel's longest name, {name}");
    }
    for text in ["", "logs/", "a*/../b", "*/../b", "a[", "/"] {
        argument(text, "/home/me").expect_err(text);
    }
    argument(".", "/").expect_err("the root is no file");
    Pattern::parse_argument(Path::new(OsStr::from_bytes(b"\xff*")), Path::new("/"), &|_| false)
        .expect_err("a glob that is no text");
}

#[test]
fn an_exclude_looks_at_the_name_or_with_a_slash_at_the_whole_path() {
    let globs = ["*.gz", "/var/log/debug-*", "**/old/**", "/l/a.log{,.1}", "{*.bz2,/tmp/*}", "/l/[ä]"];
    let exclude_all = exclude(&globs);
    let table = [
        ("/var/log/a.gz", true),
        ("/var/log/app/a.log.gz", true),
        ("/var/gz.d/a", false),
        ("/var/a.gz/app.log", false),
        ("/var/log/debug-1", true),
        ("/var/log/app/debug-1", false),
        ("/var/log/old/a.log", true),
        ("/var/log/old", false),
        ("/old/x/y", true),
        ("/l/a.log", true),
        ("/l/a.log.1", true),
        ("/l/a.log.2", false),
        ("/l/ä", true),
        ("/x/y.bz2", true),
        ("/tmp/y", true),
        ("/tmp/x/y", false),
        ("/var/log/a.log", false),
    ];
    for (path, matches) in table {
        assert_eq!(exclude_all.matches(Path::new(path)), matches, "{path}");
    }
    let deep = format!("/old/{}a", "d/".repeat(2 * MAX_DEPTH));
    assert!(exclude_all.matches(Path::new(&deep)), "no depth is too deep to be left out");
    assert_eq!(exclude_all.texts(), globs);
    assert!(!Exclude::default().matches(Path::new("/var/log/a")));
}

#[test]
fn an_exclude_says_when_a_whole_directory_is_left_out() {
    let table = [
        ("/var/log/pods/kube-system_*/**", "/var/log/pods/kube-system_a", true),
        ("/var/log/pods/kube-system_*/**", "/var/log/pods/kube-system_a/x/y", true),
        ("/var/log/pods/kube-system_*/**", "/var/log/pods", false),
        ("/var/log/pods/kube-system_*/**", "/var/log/pods/default_a", false),
        ("**/node_modules/**", "/srv/app/node_modules", true),
        ("**/node_modules/**", "/srv/app/node_modules/x", true),
        ("**/node_modules/**", "/srv/app", false),
        ("/srv/{a/b,c}/**/*", "/srv/a/b", true),
        ("/srv/{a/b,c}/**/*", "/srv/a", false),
        ("**", "/", true),
        ("*", "/srv", true),
        ("*.gz", "/srv", false),
        ("/srv/*", "/srv", false),
        ("/srv/**/*.log", "/srv", false),
        ("/srv", "/srv", false),
    ];
    for (glob, directory, covers) in table {
        assert_eq!(exclude(&[glob]).covers(Path::new(directory)), covers, "{glob} {directory}");
    }
    assert!(!Exclude::default().covers(Path::new("/")));
}

#[test]
fn an_exclude_that_can_match_nothing_is_refused() {
    let table = [
        ("", "is empty; write a glob"),
        ("old/*.log", "`old/*.log` can match no whole path; begin it with `/` or `**/`"),
        ("{a/b,c}", "`{a/b,c}` can match no whole path; begin it with `/` or `**/`"),
        ("**/old/", "`**/old/` is a directory; write `**/old/**` for the files in it"),
        ("/a/../b", "`/a/../b` has a `..`; write the path without it"),
        ("[", "`[` is not a glob: unclosed character class; missing ']'; correct it"),
    ];
    for (text, expected) in table {
        assert_eq!(ExcludeGlob::parse(text).expect_err(text).to_string(), expected);
    }
}

#[test]
fn a_walk_is_told_which_names_it_needs_and_where_a_recursion_ends() {
    let names =
        |stage: &Stage<'_>| stage.names().map(|names| names.into_iter().map(OsStr::to_owned).collect());
    let exactly = |all: &[&str]| Some(all.iter().map(Into::into).collect::<Vec<_>>());
    let pattern_of_names = pattern("/srv/{a/x/*.log,b/y}");
    let begin = pattern_of_names.begin();
    assert_eq!(names(&begin), exactly(&["a", "b"]));
    assert_eq!(names(&begin.enter(OsStr::new("a")).stage), exactly(&["x"]));
    assert!(begin.enter(OsStr::new("c")).stage.is_empty());

    let deep = pattern("/srv/**/*.log");
    let mut step = deep.begin().enter(OsStr::new("d"));
    for _ in 1..MAX_DEPTH {
        assert!(!step.too_deep && !step.named && names(&step.stage).is_none());
        step = step.stage.enter(OsStr::new("d"));
    }
    assert!(!step.too_deep && step.stage.takes(OsStr::new("a.log")));
    let step = step.stage.enter(OsStr::new("d"));
    assert!(step.too_deep && step.stage.is_empty());

    let mut seen = BTreeSet::new();
    let mut stage = deep.begin();
    stage.retain(|mark| seen.insert(mark));
    assert!(!stage.is_empty());
    stage.retain(|mark| seen.insert(mark));
    assert!(stage.is_empty(), "been there");
}

/// Names of few characters, so that random patterns match some.
const NAME: &str = "[abä.]{1,3}";

fn glob() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[abä.]".boxed(),
        2 => Just("*".to_owned()).boxed(),
        1 => Just("?".to_owned()).boxed(),
        1 => Just("[aä]".to_owned()).boxed(),
        1 => Just("[!b]".to_owned()).boxed(),
        1 => Just("{a,}".to_owned()).boxed(),
        1 => Just("{b/a,ä}".to_owned()).boxed(),
        1 => Just("{a*,b/{?,**/a}}".to_owned()).boxed(),
    ];
    let name = prop_oneof![
        3 => prop::collection::vec(piece, 1..4).prop_map(|pieces| pieces.concat()).boxed(),
        1 => Just("**".to_owned()).boxed(),
        1 => NAME.boxed(),
    ];
    prop::collection::vec(name, 1..4).prop_map(|names| format!("/{}", names.join("/")))
}

fn path() -> impl Strategy<Value = PathBuf> {
    prop::collection::vec(NAME, 1..5)
        .prop_map(|names| PathBuf::from(format!("/{}", names.join("/"))))
        .prop_filter("a surveyed path", |path| !path.iter().any(|name| name == "." || name == ".."))
}

/// The files that a walk along the pattern reaches in a tree of these files: as the survey walks, in memory.
fn reached(pattern: &Pattern, files: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut places = vec![(pattern.base().to_owned(), pattern.begin())];
    while let Some((directory, stage)) = places.pop() {
        let listed = || files.iter().filter_map(|file| file.strip_prefix(&directory).ok()?.iter().next());
        let names = stage.names().unwrap_or_else(|| listed().collect());
        for name in names {
            let path = directory.join(name);
            if files.contains(&path) && stage.takes(name) {
                found.insert(path.clone());
            }
            let step = stage.enter(name);
            if !step.stage.is_empty() && files.iter().any(|file| file.starts_with(&path) && *file != path) {
                places.push((path, step.stage));
            }
        }
    }
    found
}

proptest! {
    #[test]
    fn a_walk_reaches_what_the_whole_path_says(
        text in glob(),
        files in prop::collection::btree_set(path(), 1..12),
    ) {
        let Ok(pattern) = Pattern::parse(&text) else { return Ok(()) };
        let meant = files.iter().filter(|file| pattern.matches(file)).cloned().collect();
        prop_assert_eq!(reached(&pattern, &files), meant);
    }

    #[test]
    fn a_covered_directory_holds_no_file_that_is_not_excluded(
        text in prop_oneof![glob(), glob().prop_map(|glob| glob + "/**")],
        file in path(),
    ) {
        let Ok(glob) = ExcludeGlob::parse(&text) else { return Ok(()) };
        let exclude = Exclude::new(vec![glob]);
        if file.ancestors().skip(1).any(|directory| exclude.covers(directory)) {
            prop_assert!(exclude.matches(&file));
        }
    }

    /// Where bytes are characters, a glob is what it is to ripgrep. Left out is what globset takes for a slash in
    /// a class, and `**` beside braces.
    #[test]
    fn a_glob_of_ascii_means_what_it_means_to_ripgrep(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "a", "b", ".", "*", "?", "[ab]", "[b-z]", "{a,}", "{a,b/a}", "{*b,{a,?}}", "\\*", "/", "/", "/**/",
            ]),
            0..8,
        ),
        names in prop::collection::vec("[ab.*]{1,3}", 1..5),
    ) {
        let text = format!("/{}a", pieces.concat());
        let names_of_globset = text.split('/').filter(|name| !name.is_empty()).collect::<Vec<_>>().join("/");
        let whole = format!("/{names_of_globset}");
        let braces_beside = ["}/**", "**/{"].iter().any(|beside| whole.contains(beside));
        let dots = |name: &str| name == "." || name == "..";
        prop_assume!(!braces_beside && !whole.split('/').any(dots) && !names.iter().any(|name| dots(name)));
        let path = PathBuf::from(format!("/{}", names.join("/")));
        if let Ok(pattern) = Pattern::parse(&whole) {
            let ripgreps = globset::GlobBuilder::new(&whole)
                .literal_separator(true)
                .empty_alternates(true)
                .build()
                .unwrap()
                .compile_matcher();
            prop_assert_eq!(pattern.matches(&path), ripgreps.is_match(&path), "{} {:?}", whole, path);
        }
    }
}

#![expect(clippy::disallowed_methods, reason = "the tests make the files that are surveyed")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{lchown, symlink};
use std::os::unix::net::UnixListener;

use rustix::fs::{CWD, Mode};

use super::*;
use crate::model::renamed::Renamed;
use crate::rules::pattern::{Exclude, ExcludeGlob};

/// A directory with a canonical path, so that targets of links can be compared.
struct Tree {
    root: PathBuf,
    _dir: tempfile::TempDir,
}

impl Tree {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { root: dir.path().canonicalize().unwrap(), _dir: dir }
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }

    fn dir(&self, name: &str) -> PathBuf {
        fs::create_dir_all(self.path(name)).unwrap();
        self.path(name)
    }

    fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "line\n").unwrap();
        path
    }

    fn link(&self, name: &str, target: impl AsRef<Path>) -> PathBuf {
        symlink(target, self.path(name)).unwrap();
        self.path(name)
    }

    /// A source of patterns relative to the tree.
    fn source(&self, patterns: &[&str]) -> SourceFiles {
        let pattern = |text: &&str| Pattern::parse(self.path(text).to_str().unwrap()).unwrap();
        SourceFiles {
            patterns: patterns.iter().map(pattern).collect(),
            rotated: Vec::new(),
            exclude: Exclude::default(),
            follow_symlinks: false,
            link_targets: Vec::new(),
            state_dir: std::path::PathBuf::new(),
        }
    }

    /// What these leave out: names as they are, paths relative to the tree.
    fn exclude(&self, globs: &[&str]) -> Exclude {
        let absolute = |glob: &str| match glob.contains('/') && !glob.starts_with("**/") {
            true => self.path(glob).to_str().unwrap().to_owned(),
            false => glob.to_owned(),
        };
        Exclude::new(globs.iter().map(|glob| ExcludeGlob::parse(&absolute(glob)).unwrap()).collect())
    }

    fn following(&self, patterns: &[&str]) -> SourceFiles {
        SourceFiles { follow_symlinks: true, ..self.source(patterns) }
    }

    fn survey(&self, sources: &[SourceFiles]) -> Shown {
        self.show(
            sources
                .iter()
                .enumerate()
                .map(|(place, files)| survey_source(files, SourceId(place), &[], Duration::ZERO)),
        )
    }

    /// What surveys of several sources show together: each file with the sources that match it.
    fn show(&self, surveys: impl IntoIterator<Item = Surveyed>) -> Shown {
        let relative = |path: &Path| path.strip_prefix(&self.root).unwrap().to_string_lossy().into_owned();
        let mut files: BTreeMap<String, (Option<String>, Vec<usize>)> = BTreeMap::new();
        let (mut directories, mut problems) = (BTreeSet::new(), BTreeSet::new());
        for surveyed in surveys {
            let source = surveyed.observation.source.0;
            for file in surveyed.observation.files {
                let target = file.target.as_deref().map(relative);
                let shown = files.entry(relative(&file.path)).or_insert((target, Vec::new()));
                shown.1.extend(file.is_matched.then_some(source));
            }
            directories.extend(surveyed.directories);
            problems.extend(surveyed.problems.named);
        }
        Shown {
            files: files.into_iter().map(|(name, (target, sources))| (name, target, sources)).collect(),
            directories: directories.iter().map(|directory| relative(directory)).collect(),
            problems: problems.iter().map(|at: &Problem| (relative(&at.path), at.reason.clone())).collect(),
        }
    }
}

/// A survey's result, with paths relative to the tree.
#[derive(Debug)]
struct Shown {
    files: Vec<(String, Option<String>, Vec<usize>)>,
    directories: Vec<String>,
    problems: Vec<(String, Refusal)>,
}

impl Shown {
    fn names(&self) -> Vec<&str> {
        let matched = self.files.iter().filter(|(_, _, sources)| !sources.is_empty());
        matched.map(|(name, _, _)| name.as_str()).collect()
    }
}

#[test]
fn a_glob_finds_the_files_of_its_directory_and_no_others() {
    let tree = Tree::new();
    for name in ["log/a.log", "log/b.log", "log/b.txt", "log/deep/c.log", "other/d.log"] {
        tree.file(name);
    }
    let shown = tree.survey(&[tree.source(&["log/*.log"])]);
    assert_eq!(shown.names(), ["log/a.log", "log/b.log"]);
    assert_eq!(shown.directories, ["log"]);
    assert_eq!(shown.problems, []);
}

#[test]
fn an_observation_carries_what_the_kernel_says() {
    let tree = Tree::new();
    let path = tree.file("a.log");
    let found = survey_source(&tree.source(&["*.log"]), SourceId(0), &[], Duration::ZERO).observation.files;
    let look = Look::at(&path, Links::Keep).unwrap();
    let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
    let expected = Observed {
        path: path.into(),
        target: None,
        identity: look.identity,
        size: 5,
        owner: look.owner,
        modified: modified.duration_since(std::time::UNIX_EPOCH).ok(),
        is_matched: true,
        rotated_from: Vec::new(),
        is_told: false,
    };
    assert_eq!(found, [expected]);
}

#[test]
fn only_directories_that_can_match_are_entered() {
    let tree = Tree::new();
    for name in ["app-a/log/x.log", "app-b/log/x.log", "app-b/tmp/x.log", "db/log/x.log", "app-c/empty"] {
        tree.file(name);
    }
    let shown = tree.survey(&[tree.source(&["app-*/log/*.log"])]);
    assert_eq!(shown.names(), ["app-a/log/x.log", "app-b/log/x.log"]);
    assert_eq!(shown.directories, ["", "app-a", "app-a/log", "app-b", "app-b/log", "app-c"]);
}

#[test]
fn a_literal_path_is_found_and_its_directory_reported() {
    let tree = Tree::new();
    tree.file("log/a.log");
    tree.file("log/b.log");
    let shown = tree.survey(&[tree.source(&["log/a.log", "log/none.log"])]);
    assert_eq!(shown.names(), ["log/a.log"]);
    assert_eq!(shown.directories, ["log"]);
    assert_eq!(shown.problems, []);
}

#[test]
fn a_missing_directory_is_awaited_in_the_nearest_that_exists() {
    let tree = Tree::new();
    tree.dir("srv");
    let sources = [tree.source(&["srv/app/log/*.log", "srv/db/x.log", "none/*"])];
    assert_eq!(tree.survey(&sources).directories, ["", "srv"]);
    tree.dir("srv/app");
    assert_eq!(tree.survey(&sources).directories, ["", "srv", "srv/app"]);
    tree.file("srv/app/log/a.log");
    let shown = tree.survey(&sources);
    assert_eq!(shown.directories, ["", "srv", "srv/app/log"]);
    assert_eq!(shown.names(), ["srv/app/log/a.log"]);
}

#[test]
fn two_stars_recurse_and_zero_directories_count() {
    let tree = Tree::new();
    for name in ["a.log", "x/a.log", "x/y/z/a.log", "x/y/a.txt"] {
        tree.file(name);
    }
    let shown = tree.survey(&[tree.source(&["**/*.log"])]);
    assert_eq!(shown.names(), ["a.log", "x/a.log", "x/y/z/a.log"]);
    assert_eq!(shown.directories, ["", "x", "x/y", "x/y/z"]);
}

#[test]
fn two_stars_stop_at_a_depth_and_say_so() {
    let tree = Tree::new();
    let deep = |levels: usize| "d/".repeat(levels) + "a.log";
    tree.file(deep(MAX_DEPTH));
    tree.file(deep(MAX_DEPTH + 1));
    let shown = tree.survey(&[tree.source(&["**/a.log"])]);
    assert_eq!(shown.names(), [deep(MAX_DEPTH)]);
    let cut = deep(MAX_DEPTH + 1).strip_suffix("/a.log").unwrap().to_owned();
    assert_eq!(shown.problems, [(cut, Refusal::TooDeep(MAX_DEPTH))]);
}

#[test]
fn braces_may_hold_directories() {
    let tree = Tree::new();
    for name in ["a/b/x.log", "c/x.log", "c/d/x.log", "e/x.log", "a/b/c/x.log"] {
        tree.file(name);
    }
    let shown = tree.survey(&[tree.source(&["{a/b,c}/*.log"])]);
    assert_eq!(shown.names(), ["a/b/x.log", "c/x.log"]);
    assert!(!shown.directories.contains(&"a/b/c".to_owned()), "{shown:?}");
}

#[test]
fn a_file_of_several_sources_and_patterns_is_one_observation() {
    let tree = Tree::new();
    tree.file("a.log");
    tree.file("b.log");
    let sources =
        [tree.source(&["*.log", "a.*", "a.log"]), tree.source(&["b.log"]), tree.source(&["**/a.log"])];
    let shown = tree.survey(&sources);
    assert_eq!(shown.files, [("a.log".into(), None, vec![0, 2]), ("b.log".into(), None, vec![0, 1])]);
}

#[test]
fn excluded_names_are_left_out_for_their_source_only() {
    let tree = Tree::new();
    for name in ["a.log", "a.log.gz", "old/b.log"] {
        tree.file(name);
    }
    let mut sources = [tree.source(&["**"]), tree.source(&["*"])];
    sources[0].exclude = tree.exclude(&["*.gz", "old/*"]);
    let shown = tree.survey(&sources);
    assert_eq!(shown.files, [("a.log".into(), None, vec![0, 1]), ("a.log.gz".into(), None, vec![1])]);
}

#[test]
fn a_directory_of_which_everything_is_excluded_is_not_walked() {
    let tree = Tree::new();
    for name in
        ["a.log", "private/b.log", "private/x/c.log", "app/node_modules/d.log", "app/e.log", "old/f.log"]
    {
        tree.file(name);
    }
    let all = tree.source(&["**/*.log"]);
    let excluding = |globs: &[&str]| SourceFiles { exclude: tree.exclude(globs), ..all.clone() };

    let shown = tree.survey(&[excluding(&["private/**", "**/node_modules/**", "old/*"])]);
    assert_eq!(shown.names(), ["a.log", "app/e.log"]);
    assert_eq!(shown.directories, ["", "app", "old"], "old/* says nothing of directories in it");

    // What one source leaves out, another reads.
    let shown = tree.survey(&[excluding(&["private/**"]), tree.source(&["private/*.log"])]);
    assert!(shown.files.contains(&("private/b.log".into(), None, vec![1])), "{shown:?}");
    assert!(!shown.directories.contains(&"private/x".to_owned()), "{shown:?}");

    let excluded = SourceFiles {
        exclude: tree.exclude(&["private/**"]),
        ..tree.source(&["private/*.log", "private/x/none.log", "*/x/*.log", "{private,app}/*/none.log"])
    };
    assert_eq!(tree.survey(&[excluded]).directories, ["", "app", "app/node_modules", "old"]);
}

/// Also not as much as to say that it may not be looked at.
#[test]
fn nothing_is_said_of_links_below_what_is_excluded() {
    let tree = Tree::new();
    tree.file("data/a.log");
    tree.dir("srv");
    tree.link("srv/data", "../data");
    tree.link("srv/loop", "loop");
    let exclude = tree.exclude(&["srv/data/**", "srv/loop/**"]);
    for source in [tree.source(&["srv/*/*.log"]), tree.following(&["srv/*/*.log", "srv/loop/a/x*"])] {
        let shown = tree.survey(&[SourceFiles { exclude: exclude.clone(), ..source }]);
        assert_eq!((shown.names(), &*shown.problems), (vec![], &[][..]));
    }
}

#[test]
fn a_survey_finds_what_the_pattern_says_of_whole_paths() {
    let tree = Tree::new();
    let names = ["a", "b/a", "b/c/a", "b/c/d/a", "c/a", "c/b", "c/d/b", "{a}", "d/ä", "d/é/ä/b"];
    let paths = names.map(|name| tree.file(name));
    let patterns = [
        "*",
        "**",
        "**/a",
        "*/a",
        "*/**/a",
        "b/**/a",
        "**/c/**",
        "{b/c,c}/*",
        "{b/,}a",
        "{b/,**/}[ac]",
        "?",
        "d/?",
        "d/**/?",
        "**/?/b",
        "[!a]/*",
        "b/c/a",
        "{b/c/a,c/b}",
        "\\{a\\}*",
        "*/{c/**,d}/[a-b]",
    ];
    for text in patterns {
        let source = tree.source(&[text]);
        let meant: BTreeSet<&str> = names
            .iter()
            .zip(&paths)
            .filter(|(_, path)| source.patterns[0].matches(path))
            .map(|(name, _)| *name)
            .collect();
        assert!(!meant.is_empty(), "{text} matches something");
        let shown = tree.survey(&[source]);
        assert_eq!(shown.names(), Vec::from_iter(meant), "{text}");
    }
}

#[test]
fn a_class_and_a_question_mark_find_characters() {
    let tree = Tree::new();
    for name in ["café.log", "ä.log", "x.log"] {
        tree.file(name);
    }
    assert_eq!(tree.survey(&[tree.source(&["caf?.log", "[äö].log"])]).names(), ["café.log", "ä.log"]);
}

#[test]
fn an_empty_alternative_finds_the_name_without_it() {
    let tree = Tree::new();
    for name in ["access.log", "access.log.1", "access.log.2", "error.log"] {
        tree.file(name);
    }
    let shown = tree.survey(&[tree.source(&["access.log{,.1}"])]);
    assert_eq!(shown.names(), ["access.log", "access.log.1"]);
    let all = SourceFiles { exclude: tree.exclude(&["access.log{,.1}"]), ..tree.source(&["*"]) };
    assert_eq!(tree.survey(&[all]).names(), ["access.log.2", "error.log"]);
}

#[test]
fn a_current_directory_that_looks_like_a_glob_is_walked() {
    let tree = Tree::new();
    tree.file("[x]/a.log");
    tree.file("x/b.log");
    let pattern = Pattern::parse_argument(Path::new("*.log"), &tree.path("[x]"), &|_| false).unwrap();
    let source = SourceFiles { patterns: vec![pattern], ..SourceFiles::default() };
    assert_eq!(tree.survey(&[source]).names(), ["[x]/a.log"]);
}

#[test]
fn hard_links_are_two_observations_of_one_identity() {
    let tree = Tree::new();
    let file = tree.file("a.log");
    fs::hard_link(&file, tree.path("b.log")).unwrap();
    let files = survey_source(&tree.source(&["*.log"]), SourceId(0), &[], Duration::ZERO).observation.files;
    assert_eq!(files.len(), 2);
    assert_eq!(files[0].identity, files[1].identity);
}

#[test]
fn a_link_is_refused_unless_links_are_followed() {
    let tree = Tree::new();
    tree.file("pods/0.log");
    tree.dir("containers");
    tree.link("containers/app.log", "../pods/0.log");
    let shown = tree.survey(&[tree.source(&["containers/*.log"])]);
    assert_eq!(shown.names(), [""; 0]);
    assert_eq!(shown.problems, [("containers/app.log".into(), Refusal::Link)]);

    let shown = tree.survey(&[tree.following(&["containers/*.log"])]);
    assert_eq!(shown.files, [("containers/app.log".into(), Some("pods/0.log".into()), vec![0])]);
    assert_eq!(shown.directories, ["containers", "pods"], "hints come under the target's directory");
    assert_eq!(shown.problems, []);

    let shown = tree.survey(&[tree.following(&["containers/*.log"]), tree.source(&["containers/*.log"])]);
    assert_eq!(shown.files, [("containers/app.log".into(), Some("pods/0.log".into()), vec![0])]);
    assert_eq!(shown.problems, [("containers/app.log".into(), Refusal::Link)]);
}

#[test]
fn links_that_are_followed_lead_into_the_directories_that_are_named() {
    let tree = Tree::new();
    for name in ["pods/app/0.log", "secret/key.log", "logs/plain.log"] {
        tree.file(name);
    }
    tree.link("logs/app.log", "../pods/app/0.log");
    tree.link("logs/key.log", "../secret/key.log");
    tree.link("logs/pods", "../pods/app");
    tree.link("logs/all", "../secret");
    let link_targets = vec![tree.path("pods/")];
    let source = |glob: &str| SourceFiles { link_targets: link_targets.clone(), ..tree.following(&[glob]) };
    let shown = tree.survey(&[source("logs/*.log")]);
    assert_eq!(shown.names(), ["logs/app.log", "logs/plain.log"]);
    let elsewhere = |name: &str| Refusal::Elsewhere(tree.path(name));
    assert_eq!(shown.problems, [("logs/key.log".into(), elsewhere("secret/key.log"))]);
    let shown = tree.survey(&[source("logs/*/*.log")]);
    assert_eq!(shown.names(), ["logs/pods/0.log"]);
    assert_eq!(shown.problems, [("logs/all".into(), elsewhere("secret"))]);
    let shown = tree.survey(&[source("logs/all/*.log")]);
    assert_eq!(shown.names(), [""; 0], "the operator wrote this link's name, and where links may lead");
}

/// S13: loops, links to nowhere, to directories, FIFOs and sockets.
#[test]
fn links_that_lead_to_no_file_are_refused_with_their_reason() {
    let tree = Tree::new();
    tree.link("dangling", "nowhere");
    tree.link("turning", "turning");
    tree.link("device", "/dev/null");
    tree.link("directory", ".");
    let shown = tree.survey(&[tree.following(&["*"])]);
    assert_eq!(shown.names(), [""; 0]);
    let expected = [
        ("dangling".into(), Refusal::Dangling),
        ("device".into(), Refusal::NotRegular("a character device")),
        ("turning".into(), Refusal::Loop),
    ];
    assert_eq!(shown.problems, expected);
}

/// S12: between two generations a link leads nowhere; the next is to be seen as soon as it comes.
#[test]
fn the_directory_of_what_a_link_leads_to_is_watched_also_while_the_file_is_missing() {
    let tree = Tree::new();
    tree.file("pods/app/0.log.1");
    tree.dir("logs");
    tree.link("logs/app.log", "../pods/app/0.log");
    let shown = tree.survey(&[tree.following(&["logs/*.log"])]);
    assert_eq!(shown.problems, [("logs/app.log".into(), Refusal::Dangling)]);
    assert_eq!(shown.directories, ["logs", "pods/app"]);
}

#[test]
fn what_is_no_regular_file_is_refused_with_its_kind() {
    let tree = Tree::new();
    tree.dir("logs/directory");
    rustix::fs::mknodat(CWD, tree.path("logs/fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let _listener = UnixListener::bind(tree.path("logs/socket")).unwrap();
    let special = [
        ("logs/fifo".to_owned(), Refusal::NotRegular("a FIFO")),
        ("logs/socket".to_owned(), Refusal::NotRegular("a socket")),
    ];
    let shown = tree.survey(&[tree.source(&["logs/*"])]);
    assert_eq!(shown.names(), [""; 0]);
    assert_eq!(shown.problems, special, "a directory that a glob happens to match is nobody's mistake");

    let shown = tree.survey(&[tree.source(&["logs/directory", "logs/fifo"])]);
    let directory = ("logs/directory".to_owned(), Refusal::NotRegular("a directory"));
    assert_eq!(shown.problems, [directory, special[0].clone()]);
}

#[test]
fn directories_behind_links_are_entered_only_when_links_are_followed() {
    let tree = Tree::new();
    tree.file("data/app/a.log");
    tree.dir("srv");
    tree.link("srv/app", "../data/app");
    let glob = ["srv/*/*.log"];
    let shown = tree.survey(&[tree.source(&glob)]);
    assert_eq!(shown.names(), [""; 0]);
    assert_eq!(shown.problems, [("srv/app".into(), Refusal::Link)]);
    let shown = tree.survey(&[tree.following(&glob)]);
    assert_eq!(shown.files, [("srv/app/a.log".into(), Some("data/app/a.log".into()), vec![0])]);
    assert_eq!(shown.directories, ["srv", "srv/app"]);
    // The operator wrote this link's name.
    let shown = tree.survey(&[tree.source(&["srv/app/*.log"])]);
    assert_eq!(shown.names(), ["srv/app/a.log"]);

    let shown = tree.survey(&[tree.source(&["srv/**/*.log"])]);
    assert_eq!(shown.names(), [""; 0]);
    assert_eq!(shown.problems, []);
    let shown = tree.survey(&[tree.following(&["srv/**/*.log"])]);
    assert_eq!(shown.names(), ["srv/app/a.log"]);
}

/// A link on the way that a stranger made leads to what is not theirs: not even names are shown of it.
#[test]
fn a_strangers_link_on_the_way_shows_nothing_unless_links_are_followed() {
    let tree = Tree::new();
    tree.file("secret/a.log");
    let link = tree.link("app", "secret");
    // Only root can make another user's link.
    if lchown(&link, Some(1234), Some(1234)).is_err() {
        return;
    }
    for pattern in ["app/*.log", "app/a.log", "app/**/a.log"] {
        let shown = tree.survey(&[tree.source(&[pattern])]);
        assert_eq!(shown.names(), [""; 0], "{pattern}");
        assert_eq!(shown.problems, [("app".into(), Refusal::ForeignLink)], "{pattern}");
        assert_eq!(tree.survey(&[tree.following(&[pattern])]).names(), ["app/a.log"], "{pattern}");
    }
    let beside = survey_source(&tree.source(&["none"]), SourceId(0), &[link.into()], Duration::ZERO);
    assert_eq!(tree.show([beside]).problems, [("app".into(), Refusal::ForeignLink)]);
}

#[test]
fn loops_of_directory_links_end_and_real_names_win() {
    let tree = Tree::new();
    tree.file("z/a.log");
    tree.link("a", "z");
    tree.link("z/up", "..");
    tree.link("z/self", ".");
    let shown = tree.survey(&[tree.following(&["**/*.log"])]);
    assert_eq!(shown.names(), ["z/a.log"]);
    let shown = tree.survey(&[tree.following(&["*/*/*/*.log"])]);
    assert_eq!(shown.names().len(), 1, "a directory is entered once: {shown:?}");
}

#[test]
fn names_that_are_not_text_and_names_like_globs_are_found() {
    let tree = Tree::new();
    let odd = OsStr::from_bytes(b"\xff\xfe\n.log");
    let path = tree.file(odd);
    tree.file("[a]*{b}?.log");
    let files = survey_source(&tree.source(&["*.log"]), SourceId(0), &[], Duration::ZERO).observation.files;
    assert_eq!(files.len(), 2);
    assert!(files.iter().any(|file| *file.path == *path));

    let literal = Pattern::parse_argument(Path::new("[a]*{b}?.log"), &tree.root, &|_| true).unwrap();
    let source = SourceFiles { patterns: vec![literal], ..tree.source(&[]) };
    assert_eq!(tree.survey(&[source]).names(), ["[a]*{b}?.log"]);
}

#[test]
fn directories_asked_for_are_looked_into_but_not_below() {
    let tree = Tree::new();
    for name in ["log/a.log", "log/a.log.1", "log/deep/b", "gone/x"] {
        tree.file(name);
    }
    tree.link("log/link", "a.log");
    fs::remove_dir_all(tree.path("gone")).unwrap();
    let also = vec![tree.path("log").into(), tree.path("gone").into()];
    let shown = tree.show([survey_source(&tree.source(&["log/*.log"]), SourceId(0), &also, Duration::ZERO)]);
    assert_eq!(shown.files, [("log/a.log".into(), None, vec![0]), ("log/a.log.1".into(), None, vec![])]);
    assert_eq!(shown.problems, []);
}

/// Only for those whom permissions stop.
#[test]
fn what_may_not_be_looked_at_is_a_problem() {
    use std::os::unix::fs::PermissionsExt;
    if rustix::process::geteuid().is_root() {
        return;
    }
    let tree = Tree::new();
    tree.file("shut/a.log");
    let mode = |mode| fs::set_permissions(tree.path("shut"), PermissionsExt::from_mode(mode)).unwrap();
    mode(0o000);
    let shown = tree.survey(&[tree.source(&["shut/*.log", "shut/a.log"])]);
    mode(0o700);
    let is_told =
        |why: &Refusal| matches!(why, Refusal::Denied(told) if told.contains("shut (mode 0000, of uid "));
    let denied: Vec<_> = shown.problems.iter().map(|(path, why)| (&**path, is_told(why))).collect();
    assert_eq!(denied, [("shut", true), ("shut/a.log", true)]);
}

#[test]
fn a_path_through_a_file_is_awaited() {
    let tree = Tree::new();
    tree.file("srv/app");
    let shown = tree.survey(&[tree.source(&["srv/app/*.log", "srv/app/x.log"])]);
    assert_eq!(shown.directories, ["srv"]);
    assert_eq!(shown.names(), [""; 0]);
    assert_eq!(shown.problems, []);
}

/// What lies beside the files of a source, each with the names that it may have been rotated from.
fn generations(tree: &Tree, files: &SourceFiles) -> Vec<(String, Vec<String>)> {
    let relative = |path: &Path| path.strip_prefix(&tree.root).unwrap().to_string_lossy().into_owned();
    let files = survey_source(files, SourceId(0), &[], Duration::ZERO).observation.files;
    let beside = files.into_iter().filter(|file| !file.is_matched);
    beside
        .map(|file| (relative(&file.path), file.rotated_from.iter().map(|path| relative(path)).collect()))
        .collect()
}

fn generation(of: &str, name: &str) -> (String, Vec<String>) {
    (name.to_owned(), vec![of.to_owned()])
}

#[test]
fn what_rotators_make_of_a_name_is_looked_at_in_the_directory_that_holds_the_file() {
    let tree = Tree::new();
    for name in
        ["log/a.log", "log/a.log.1", "log/b.log-20261125", "log/a-audit.log", "log/c.log.gz", "log/d.err.1"]
    {
        tree.file(name);
    }
    let expected = [
        generation("log/a.log", "log/a.log.1"),
        generation("log/b.log", "log/b.log-20261125"),
        generation("log/c.log", "log/c.log.gz"),
    ];
    assert_eq!(generations(&tree, &tree.source(&["log/*.log"])), expected, "b.log and c.log are away");
    let expected = [generation("log/a.log", "log/a.log.1")];
    assert_eq!(generations(&tree, &tree.source(&["log/a.log"])), expected, "a name that is written out");
    assert_eq!(generations(&tree, &tree.source(&["*/a.log"])), expected);
    let source = SourceFiles { exclude: tree.exclude(&["*.log.1"]), ..tree.source(&["log/a.log"]) };
    assert_eq!(generations(&tree, &source), [], "what is excluded");

    tree.dir("links");
    tree.link("links/a.log", "../log/a.log");
    tree.link("linked", "log");
    assert_eq!(generations(&tree, &tree.following(&["links/*.log"])), expected, "behind a link");
    assert_eq!(generations(&tree, &tree.source(&["linked/a.log"])), expected, "behind a directory's link");
}

#[test]
fn rotated_files_are_looked_for_where_the_configuration_says() {
    let tree = Tree::new();
    for name in ["log/a.log", "old/a.log.1", "old/other.err.1", "old/other.log-20261109.gz", "old/a.log"] {
        tree.file(name);
    }
    tree.dir("log/below");
    let pattern = |glob: &str| Pattern::parse(tree.path(glob).to_str().unwrap()).unwrap();
    let source = SourceFiles { rotated: vec![pattern("old/*")], ..tree.source(&["log/*.log"]) };
    let expected = [
        generation("log/a.log", "old/a.log"),
        generation("log/a.log", "old/a.log.1"),
        ("old/other.err.1".to_owned(), vec![]),
        generation("log/other.log", "old/other.log-20261109.gz"),
    ];
    assert_eq!(generations(&tree, &source), expected, "other.log is away");
    let source = SourceFiles { rotated: vec![pattern("old/*")], ..tree.source(&["log/other.log"]) };
    assert!(generations(&tree, &source).contains(&expected[3]), "a name that is written out");
    let source = SourceFiles { rotated: vec![pattern("old/*")], ..tree.source(&["log/**/other.log"]) };
    let names = ["log/below/other.log", "log/other.log"].map(str::to_owned).to_vec();
    assert!(generations(&tree, &source).contains(&(expected[3].0.clone(), names)), "in either directory");
    let source = SourceFiles { rotated: vec![pattern("old/*")], ..tree.source(&["log/*.log"]) };
    let shown = tree.survey(&[source]);
    assert_eq!(shown.directories, ["log", "old"], "so that hints come");
}

#[test]
fn nothing_of_the_state_directory_is_shown_or_watched_however_a_pattern_comes_there() {
    let tree = Tree::new();
    tree.file("a.log");
    tree.file("state/standpipe.log");
    tree.file("state/aside/b.log");
    tree.link("c.log", "state/standpipe.log");
    let state_dir = tree.path("state");
    let base = tree.path("");
    let shown = |patterns: &[&str]| {
        let source = SourceFiles { state_dir: state_dir.clone(), ..tree.following(patterns) };
        let surveyed = survey_source(&source, SourceId(0), &[], Duration::ZERO);
        assert!(
            !surveyed.directories.iter().any(|path| path.starts_with(&state_dir)),
            "{:?}",
            surveyed.directories
        );
        let names =
            surveyed.observation.files.iter().map(|file| file.path.strip_prefix(&base).unwrap().to_owned());
        let refused = surveyed
            .problems
            .named
            .iter()
            .filter(|problem| problem.reason == Refusal::StateDirectory)
            .count();
        (names.collect::<Vec<_>>(), refused)
    };
    assert_eq!(
        shown(&["**/*.log"]),
        (vec![PathBuf::from("a.log")], 2),
        "the directory, and the link into it"
    );
    assert_eq!(shown(&["state/*.log"]), (vec![], 1));
    assert_eq!(shown(&["state/standpipe.log"]), (vec![], 1));
    assert_eq!(shown(&["state/aside/*"]), (vec![], 1));
}

#[test]
fn what_was_renamed_is_shown_under_whatever_name_with_the_one_that_it_had() {
    let tree = Tree::new();
    let paths = ["log/a.log", "log/a.log.1", "log/odd", "log/left", "elsewhere/odd", "elsewhere/other"];
    paths.iter().for_each(|name| drop(tree.file(name)));
    let from: Arc<Path> = tree.path("log/a.log").into();
    let to = |name: &str| Renamed { from: Arc::clone(&from), to: tree.path(name).into() };
    let renamed = ["log/a.log.1", "log/odd", "log/left", "log/gone", "log/a.log", "elsewhere/odd"].map(to);
    let files = SourceFiles { exclude: tree.exclude(&["left"]), ..tree.source(&["log/*.log"]) };
    let beside = Beside { also: &[], renamed: &renamed };
    let surveyed = survey_again(&files, SourceId(0), beside, (Duration::ZERO, &mut Listings::default()));
    let shown: Vec<_> =
        surveyed.observation.files.iter().map(|file| (&*file.path, &*file.rotated_from)).collect();
    let expected = [
        (tree.path("elsewhere/odd"), vec![Arc::clone(&from)]),
        (tree.path("log/a.log"), vec![]),
        (tree.path("log/a.log.1"), vec![Arc::clone(&from)]),
        (tree.path("log/odd"), vec![Arc::clone(&from)]),
    ];
    assert_eq!(shown, expected.iter().map(|(path, names)| (&**path, &**names)).collect::<Vec<_>>());
}

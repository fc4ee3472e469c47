//! Which files a source means: paths and globs.
//!
//! Knows spelling and matching; deliberately does not know which files there are. The shell that surveys files
//! walks from [`Pattern::base`] and asks [`Pattern::matches`] and [`Exclude::matches`].
//!
//! *Invariant:* a pattern is an absolute path without `.`, `..` or empty names, as surveyed paths are: one that
//! were not could never match, and its source would be silently empty.

use std::path::{Component, Path, PathBuf};

use globset::{Glob, GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};

/// What makes a path a glob.
const GLOB_CHARS: [char; 4] = ['*', '?', '[', '{'];

/// One entry of a source's `paths`.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    base: PathBuf,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    File(PathBuf),
    Glob { matcher: GlobMatcher, depth: Option<usize> },
}

impl Pattern {
    /// The pattern as it was typed, made absolute.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The deepest directory that holds every match, whatever its depth.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// Whether matches lie at any depth below the base (`**`).
    pub fn recurses(&self) -> bool {
        self.depth().is_none()
    }

    /// How many names below the base the deepest match has; `None` when it recurses.
    ///
    /// An upper bound where braces hold slashes.
    pub fn depth(&self) -> Option<usize> {
        match &self.kind {
            Kind::File(_) => Some(1),
            Kind::Glob { depth, .. } => *depth,
        }
    }

    /// The file, when the pattern means exactly one.
    pub fn file(&self) -> Option<&Path> {
        match &self.kind {
            Kind::File(file) => Some(file),
            Kind::Glob { .. } => None,
        }
    }

    /// Whether `path`, which is absolute, is meant.
    pub fn matches(&self, path: &Path) -> bool {
        match &self.kind {
            Kind::File(file) => path == file,
            Kind::Glob { matcher, .. } => matcher.is_match(path),
        }
    }

    /// The pattern of an absolute path or glob, or what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err(format!("`{text}` is not absolute; write the whole path, from / on"));
        }
        if text.ends_with('/') {
            return Err(format!("`{text}` is a directory; write `{text}*` for the files in it"));
        }
        if text.split('/').any(|name| name == "..") {
            return Err(format!("`{text}` has a `..`; write the path without it"));
        }
        let names = text.split('/').filter(|name| !name.is_empty() && *name != ".");
        if text.contains(GLOB_CHARS) {
            Self::glob(Path::new("/"), &names.collect::<Vec<_>>().join("/"))
        } else {
            Ok(Self::of_file(Path::new("/").join(names.collect::<PathBuf>())))
        }
    }

    /// The pattern of a path or glob on the command line, relative to `current_dir`.
    ///
    /// A file that exists under the very name is that file, whatever characters its name has.
    pub(super) fn parse_argument(
        argument: &Path,
        current_dir: &Path,
        exists: &dyn Fn(&Path) -> bool,
    ) -> Result<Self, String> {
        let shown = argument.display();
        if argument.as_os_str().is_empty() {
            return Err("is empty; write a path or a glob".to_owned());
        }
        if argument.as_os_str().as_encoded_bytes().ends_with(b"/") {
            return Err(format!("`{shown}` is a directory; write `{shown}*` for the files in it, in quotes"));
        }
        let path = absolute(argument, current_dir);
        if !argument.to_string_lossy().contains(GLOB_CHARS) || exists(&path) {
            return Ok(Self::of_file(path));
        }
        let Some(text) = argument.to_str() else {
            return Err(format!("`{shown}` is a glob that is not UTF-8; name the files one by one"));
        };
        if argument.is_absolute() {
            return Self::parse(&path.to_string_lossy());
        }
        // The current directory is a path, not a glob, whatever characters its name has; `..` before the first
        // glob character leads out of it.
        let (dirs, glob) = split_base(text);
        Self::glob(&absolute(Path::new(dirs), current_dir), glob)
    }

    fn of_file(file: PathBuf) -> Self {
        Self {
            text: file.display().to_string(),
            base: file.parent().unwrap_or(Path::new("/")).to_owned(),
            kind: Kind::File(file),
        }
    }

    /// The pattern `glob` below the directory `dir`, which is taken literally.
    fn glob(dir: &Path, glob: &str) -> Result<Self, String> {
        let shown = dir.join(glob);
        let Some(dir_text) = dir.to_str() else {
            return Err(format!("`{}` is not UTF-8; name the files one by one", shown.display()));
        };
        let (dirs, rest) = split_base(glob);
        if rest.split('/').any(|name| name == "..") {
            return Err(format!("`{glob}` has a `..` behind a glob; write the path without it"));
        }
        let whole = format!("{}/{glob}", globset::escape(dir_text.trim_end_matches('/')));
        let compiled = compile(&whole).map_err(|why| bad_glob(&shown.display().to_string(), &why))?;
        let depth = if rest.contains("**") { None } else { Some(rest.split('/').count()) };
        Ok(Self {
            text: shown.display().to_string(),
            base: dir.join(dirs),
            kind: Kind::Glob { matcher: compiled.compile_matcher(), depth },
        })
    }
}

/// Two patterns are the same when they mean the same files by the same text.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.base == other.base && self.file() == other.file()
    }
}

/// The files that a source leaves out although a pattern matches them.
#[derive(Clone, Debug, Default)]
pub struct Exclude {
    texts: Vec<String>,
    paths: GlobSet,
    names: GlobSet,
}

impl Exclude {
    /// The globs as they were typed.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Whether `path` is left out: its whole by a glob with a slash, or its last name by one without.
    pub fn matches(&self, path: &Path) -> bool {
        self.paths.is_match(path) || path.file_name().is_some_and(|name| self.names.is_match(name))
    }

    pub(super) fn new(globs: Vec<ExcludeGlob>) -> Self {
        let mut paths = GlobSetBuilder::new();
        let mut names = GlobSetBuilder::new();
        let mut texts = Vec::with_capacity(globs.len());
        for glob in globs {
            let text = glob.0.glob().to_owned();
            if text.contains('/') { &mut paths } else { &mut names }.add(glob.0);
            texts.push(text);
        }
        let why = "globs that compile one by one compile together";
        Self { texts, paths: paths.build().expect(why), names: names.build().expect(why) }
    }
}

impl PartialEq for Exclude {
    fn eq(&self, other: &Self) -> bool {
        self.texts == other.texts
    }
}

/// One entry of a source's `exclude`.
#[derive(Clone, Debug)]
pub(super) struct ExcludeGlob(Glob);

impl ExcludeGlob {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("is empty; write a glob".to_owned());
        }
        if text.contains('/') && !["/", "**/", "{"].iter().any(|start| text.starts_with(start)) {
            return Err(format!("`{text}` can match no whole path; begin it with `/` or `**/`"));
        }
        compile(text).map(Self).map_err(|why| bad_glob(text, &why))
    }
}

/// The globs of ripgrep, in which `*` and `?` do not cross a slash, and `{,.1}` may be nothing.
fn compile(text: &str) -> Result<Glob, globset::Error> {
    GlobBuilder::new(text).literal_separator(true).empty_alternates(true).build()
}

fn bad_glob(text: &str, why: &globset::Error) -> String {
    format!("`{text}` is not a glob: {}; correct it", why.kind())
}

/// The leading names without a glob character, and the rest. A backslash escapes in a glob, so it ends them too.
fn split_base(glob: &str) -> (&str, &str) {
    let end = glob.find(|c| GLOB_CHARS.contains(&c) || c == '\\').unwrap_or(glob.len());
    match glob[..end].rfind('/') {
        Some(slash) => (&glob[..slash], &glob[slash + 1..]),
        None => ("", glob),
    }
}

/// `path` from the root on, with `.` and `..` resolved by their spelling.
///
/// The kernel would resolve `..` behind a symbolic link elsewhere; the current directory is free of links.
pub(super) fn absolute(path: &Path, current_dir: &Path) -> PathBuf {
    let mut absolute = PathBuf::new();
    for component in current_dir.join(path).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                absolute.pop();
            }
            Component::RootDir | Component::Prefix(_) | Component::Normal(_) => absolute.push(component),
        }
    }
    absolute
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).expect(text)
    }

    fn argument(text: &str) -> Pattern {
        let exists = |path: &Path| path == Path::new("/home/me/a[1].log");
        Pattern::parse_argument(Path::new(text), Path::new("/home/me"), &exists).expect(text)
    }

    #[test]
    fn a_pattern_matches_whole_paths_and_a_star_no_slash() {
        let table = [
            ("/var/log/*.log", "/var/log/a.log", true),
            ("/var/log/*.log", "/var/log/.a.log", true),
            ("/var/log/*.log", "/var/log/app/a.log", false),
            ("/var/log/*.log", "/var/log/a.log.1", false),
            ("/var/log/**/*.log", "/var/log/a.log", true),
            ("/var/log/**/*.log", "/var/log/a/b/c.log", true),
            ("/var/log/**", "/var/log/a/b", true),
            ("/var/log/*/a.log", "/var/log/x/a.log", true),
            ("/var/log/*/a.log", "/var/log/x/y/a.log", false),
            ("/var/log/?.log", "/var/log/a.log", true),
            ("/var/log/app{,.1}", "/var/log/app", true),
            ("/var/log/app{,.1}", "/var/log/app.1", true),
            ("/var/log/[ab].log", "/var/log/c.log", false),
            ("/var/log/a.log", "/var/log/a.log", true),
            ("/var/log/a.log", "/var/log/b.log", false),
            ("/var//log/./*.log", "/var/log/a.log", true),
            ("//var/log/a.log", "/var/log/a.log", true),
        ];
        for (text, path, matches) in table {
            assert_eq!(pattern(text).matches(Path::new(path)), matches, "{text} {path}");
        }
    }

    #[test]
    fn a_pattern_knows_where_to_begin_and_how_deep_to_go() {
        let table = [
            ("/var/log/a.log", "/var/log", Some(1)),
            ("/a.log", "/", Some(1)),
            ("/*.log", "/", Some(1)),
            ("/var/log/*.log", "/var/log", Some(1)),
            ("/var/log/app-*/a.log", "/var/log", Some(2)),
            ("/var/{log,tmp}/a.log", "/var", Some(2)),
            ("/var/log/**/*.log", "/var/log", None),
            ("/var/l\\og/*.log", "/var", Some(2)),
        ];
        for (text, base, depth) in table {
            assert_eq!(pattern(text).base(), Path::new(base), "{text}");
            assert_eq!(pattern(text).depth(), depth, "{text}");
            assert_eq!(pattern(text).recurses(), depth.is_none(), "{text}");
        }
    }

    #[test]
    fn a_path_without_glob_characters_is_one_file() {
        assert_eq!(pattern("/var/log/a\\b.log").file(), Some(Path::new("/var/log/a\\b.log")));
        assert_eq!(pattern("/var/log/*.log").file(), None);
    }

    #[test]
    fn an_argument_is_taken_from_the_current_directory() {
        let table = [
            ("a.log", "/home/me/a.log"),
            ("./a.log", "/home/me/a.log"),
            ("../you/a.log", "/home/you/a.log"),
            ("/var/log/../a.log", "/var/a.log"),
            ("*.log", "/home/me/*.log"),
            ("../*/a.log", "/home/*/a.log"),
            ("logs/**/*.log", "/home/me/logs/**/*.log"),
            ("/var/log/*.log", "/var/log/*.log"),
        ];
        for (text, meant) in table {
            assert_eq!(argument(text).text(), meant, "{text}");
        }
    }

    #[test]
    fn an_argument_that_exists_is_that_file_although_it_looks_like_a_glob() {
        assert_eq!(argument("a[1].log").file(), Some(Path::new("/home/me/a[1].log")));
        assert_eq!(argument("a[2].log").file(), None);
    }

    #[test]
    fn glob_characters_of_the_current_directory_are_literal() {
        let here = Path::new("/srv/[x]");
        let pattern = Pattern::parse_argument(Path::new("*.log"), here, &|_| false).expect("a glob");
        assert!(pattern.matches(Path::new("/srv/[x]/a.log")));
        assert!(!pattern.matches(Path::new("/srv/x/a.log")));
        assert_eq!(pattern.base(), here);
    }

    #[test]
    fn what_could_never_match_is_refused() {
        for text in ["", "a.log", "*.log", "/var/log/", "/var/../log/a", "/var/*/../a", "/a[", "/a{b"] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
        for text in ["", "old/*.log", "a[", "*/old/*"] {
            assert!(ExcludeGlob::parse(text).is_err(), "{text}");
        }
        for text in ["", "logs/", "a*/../b", "a["] {
            let here = Path::new("/home/me");
            assert!(Pattern::parse_argument(Path::new(text), here, &|_| false).is_err(), "{text}");
        }
    }

    #[test]
    fn an_exclude_looks_at_the_name_or_with_a_slash_at_the_whole_path() {
        let globs = ["*.gz", "/var/log/debug-*", "**/old/**"];
        let exclude = Exclude::new(globs.map(|text| ExcludeGlob::parse(text).expect(text)).to_vec());
        let table = [
            ("/var/log/a.gz", true),
            ("/var/log/app/a.log.gz", true),
            ("/var/gz.d/a", false),
            ("/var/log/debug-1", true),
            ("/var/log/app/debug-1", false),
            ("/var/log/old/a.log", true),
            ("/var/log/a.log", false),
        ];
        for (path, matches) in table {
            assert_eq!(exclude.matches(Path::new(path)), matches, "{path}");
        }
        assert_eq!(exclude.texts(), globs);
        assert!(!Exclude::default().matches(Path::new("/var/log/a")));
    }
}

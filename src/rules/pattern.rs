//! What a glob means: which paths a source's `paths` match, and which its `exclude` leaves out.
//!
//! A pattern is compiled once, by the configuration, into *ways*: for each alternative, what each name from a base
//! directory to the file may be. The survey walks along the ways ([`Pattern::begin`], [`Stage::enter`],
//! [`Stage::takes`]) and so enters only directories in which something can match; [`Pattern::matches`] is the
//! same walk along one path. A pattern knows no file system: whether a name exists is asked through what is handed
//! in.
//!
//! *Invariant:* a pattern is about absolute paths without `.`, `..` or empty names, as surveyed paths are: one that
//! were not could never match, and its source would be silently empty.

mod names;
mod stage;
mod syntax;

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

pub use names::SourceNames;
pub use stage::{Mark, Stage, Step};
pub use syntax::SyntaxError;
use syntax::{Alternative, GLOB_CHARACTERS, Part, Way};

/// The deepest that `**` goes below where it stands, in directories. Deeper trees hold no logs, and who may make
/// directories must not be able to keep the survey walking.
pub const MAX_DEPTH: usize = 64;

/// Why a text is no pattern: what it is, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("is empty; write {0}")]
    Empty(&'static str),
    #[error("`{0}` is not absolute; write the whole path, from / on")]
    Relative(String),
    #[error("`{text}` is a directory; write `{instead}` for the files in it")]
    Directory { text: String, instead: String },
    /// On a command line, where the shell would expand the glob.
    #[error("`{text}` is a directory; write `{instead}` for the files in it, in quotes")]
    DirectoryArgument { text: String, instead: String },
    #[error("`{0}` has an alternative that is a directory; write a `*` behind its last `/`")]
    DirectoryAlternative(String),
    #[error("`{0}` has a `..`; write the path without it")]
    Parent(String),
    #[error("`{0}` has a `..` behind a glob; write the path without it")]
    ParentBehindGlob(String),
    #[error("`{0}` is a glob that is not UTF-8; name the files one by one")]
    NotText(String),
    #[error("`{0}` can match no whole path; begin it with `/` or `**/`")]
    NoWholePath(String),
    #[error("`{text}` is not a glob: {fault}; correct it")]
    Syntax { text: String, fault: SyntaxError },
}

/// One entry of a source's `paths`: a file, or a glob over files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    base: PathBuf,
    file: Option<PathBuf>,
    /// From the base on; at least one, each of at least one name.
    ways: Vec<Way>,
}

impl Pattern {
    /// Reads an absolute path or glob. A text without any of `*?[{` is the path itself, backslashes included.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if !text.starts_with('/') {
            return Err(PatternError::Relative(text.to_owned()));
        }
        if text.ends_with('/') {
            return Err(PatternError::Directory { text: text.to_owned(), instead: format!("{text}*") });
        }
        if text.split('/').any(|name| name == "..") {
            return Err(PatternError::Parent(text.to_owned()));
        }
        if text.contains(GLOB_CHARACTERS) {
            Self::glob(text.to_owned(), Path::new("/"), text)
        } else {
            Self::of_file(text.to_owned(), Path::new(text))
        }
    }

    /// Reads a path or glob on the command line, relative to `current_dir`, which is absolute and means its
    /// characters. A file that exists under the very name is that file, whatever characters its name has.
    pub fn parse_argument(
        argument: &Path,
        current_dir: &Path,
        exists: &dyn Fn(&Path) -> bool,
    ) -> Result<Self, PatternError> {
        let shown = argument.display().to_string();
        if argument.as_os_str().is_empty() {
            return Err(PatternError::Empty("a path or a glob"));
        }
        if argument.as_os_str().as_encoded_bytes().ends_with(b"/") {
            let instead = format!("{shown}*");
            return Err(PatternError::DirectoryArgument { text: shown, instead });
        }
        let path = absolute(argument, current_dir);
        if !argument.to_string_lossy().contains(GLOB_CHARACTERS) || exists(&path) {
            return Self::of_file(path.display().to_string(), &path);
        }
        let Some(text) = argument.to_str() else {
            return Err(PatternError::NotText(shown));
        };
        // A `..` before the first glob leads out of the current directory; one behind could lead anywhere.
        let (dirs, glob) = split_base(text);
        if glob.split('/').any(|name| name == "..") {
            return Err(PatternError::ParentBehindGlob(shown));
        }
        let dir = absolute(Path::new(dirs), current_dir);
        Self::glob(dir.join(glob).display().to_string(), &dir, glob)
    }

    /// What was configured, word for word; of an argument, what it comes to from the root on.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The deepest directory that holds every match, at whatever depth.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// The file, when the pattern means exactly one.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Whether matches lie at any depth (`**`).
    pub fn recurses(&self) -> bool {
        self.ways.iter().any(|way| way.contains(&Part::Below))
    }

    /// Whether `path`, which is absolute, is meant.
    pub fn matches(&self, path: &Path) -> bool {
        path.strip_prefix(&self.base).is_ok_and(|below| self.begin().takes_path(below))
    }

    /// Whether a path whose last name this is may be meant.
    pub fn may_end_in(&self, name: &OsStr) -> bool {
        self.ways.iter().any(|way| way.last().is_some_and(|part| part.fits(name)))
    }

    /// Whether both mean the same files, by another spelling perhaps: doubled slashes, the order of alternatives.
    /// Globs that only happen to meet in the same files are not the same.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.base == other.base && self.ways == other.ways
    }

    /// Where a walk begins: in the base directory.
    pub fn begin(&self) -> Stage<'_> {
        Stage::begin(&self.ways, MAX_DEPTH)
    }

    fn of_file(text: String, path: &Path) -> Result<Self, PatternError> {
        match names(path).collect::<Vec<_>>() {
            names if names.is_empty() => Err(PatternError::Directory { text, instead: "/*".to_owned() }),
            names => Ok(Self::of_ways(text, vec![names])),
        }
    }

    /// The pattern `glob` below the directory `dir`, which means its characters.
    fn glob(text: String, dir: &Path, glob: &str) -> Result<Self, PatternError> {
        let mut ways = Vec::new();
        for alternative in alternatives(&text, glob)? {
            ways.push(names(dir).chain(alternative.way).collect());
        }
        Ok(Self::of_ways(text, ways))
    }

    /// The pattern of ways from the root on.
    fn of_ways(text: String, mut ways: Vec<Way>) -> Self {
        let shortest = ways.iter().map(Vec::len).min().expect("at least one way");
        let mut base = PathBuf::from("/");
        let mut shared = 0;
        while shared + 1 < shortest
            && let Part::Name(name) = &ways[0][shared]
            && ways.iter().all(|way| way[shared] == ways[0][shared])
        {
            base.push(name);
            shared += 1;
        }
        for way in &mut ways {
            way.drain(..shared);
        }
        let file = match &ways[..] {
            [way] => match &way[..] {
                [Part::Name(name)] => Some(base.join(name)),
                _ => None,
            },
            _ => None,
        };
        Self { text, base, file, ways }
    }
}

/// One entry of a source's `exclude`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExcludeGlob {
    text: String,
    /// From the root on.
    ways: Vec<Way>,
}

impl ExcludeGlob {
    /// Reads a glob for whole paths, or for file names when it has no slash. Each alternative in braces that hold
    /// a slash is a glob by itself.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty("a glob"));
        }
        if text.contains('/') && !["/", "**/", "{"].iter().any(|start| text.starts_with(start)) {
            return Err(PatternError::NoWholePath(text.to_owned()));
        }
        if text.ends_with('/') {
            return Err(PatternError::Directory { text: text.to_owned(), instead: format!("{text}**") });
        }
        let mut ways = Vec::new();
        for alternative in alternatives(text, text)? {
            let mut way = alternative.way;
            if !alternative.from_root && way[0] != Part::Below {
                if way.len() > 1 {
                    return Err(PatternError::NoWholePath(text.to_owned()));
                }
                // A file name at whatever depth.
                way.insert(0, Part::Below);
            }
            ways.push(way);
        }
        Ok(Self { text: text.to_owned(), ways })
    }
}

/// The files that a source leaves out although a pattern matches them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exclude {
    texts: Vec<String>,
    ways: Vec<Way>,
}

impl Exclude {
    pub fn new(globs: Vec<ExcludeGlob>) -> Self {
        let (texts, ways): (_, Vec<_>) = globs.into_iter().map(|glob| (glob.text, glob.ways)).unzip();
        Self { texts, ways: ways.concat() }
    }

    /// The globs, word for word.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Whether the file `path`, which is absolute, is left out.
    pub fn matches(&self, path: &Path) -> bool {
        path.strip_prefix("/").is_ok_and(|below| self.begin().takes_path(below))
    }

    /// Whether every file in `directory`, at whatever depth, is left out: nobody has to look there.
    ///
    /// Only one glob that ends in `**` can say so; globs that together leave out everything are not seen through.
    pub fn covers(&self, directory: &Path) -> bool {
        self.at(directory).takes_all_below()
    }

    /// How far a walk has come in `directory`, which is absolute.
    pub fn at(&self, directory: &Path) -> Stage<'_> {
        self.begin().enter_path(directory.strip_prefix("/").unwrap_or(Path::new("")))
    }

    /// No depth is too deep to be left out.
    fn begin(&self) -> Stage<'_> {
        Stage::begin(&self.ways, usize::MAX)
    }
}

/// The alternatives of `glob`, each of at least one name; errors call it `text`.
fn alternatives(text: &str, glob: &str) -> Result<Vec<Alternative>, PatternError> {
    let alternatives =
        syntax::alternatives(glob).map_err(|fault| PatternError::Syntax { text: text.to_owned(), fault })?;
    let has = |name: &str| {
        let name = Part::Name(name.into());
        alternatives.iter().any(|alternative| alternative.way.contains(&name))
    };
    if has("..") {
        return Err(PatternError::Parent(text.to_owned()));
    }
    // An empty name stands only behind a last slash.
    if has("") || alternatives.iter().any(|alternative| alternative.way.is_empty()) {
        return Err(PatternError::DirectoryAlternative(text.to_owned()));
    }
    Ok(alternatives)
}

/// The names of an absolute path, from the root on.
fn names(path: &Path) -> impl Iterator<Item = Part> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(Part::Name(name.to_owned())),
        Component::RootDir | Component::CurDir | Component::ParentDir | Component::Prefix(_) => None,
    })
}

/// The leading names without a glob character, and the rest. A backslash escapes in a glob, so it ends them too.
fn split_base(glob: &str) -> (&str, &str) {
    let end = glob.find(|c| GLOB_CHARACTERS.contains(&c) || c == '\\').unwrap_or(glob.len());
    match glob[..end].rfind('/') {
        Some(slash) => glob.split_at(slash + 1),
        None => ("", glob),
    }
}

/// `path` from the root on, with `.` and `..` resolved by their spelling.
///
/// The kernel would resolve `..` behind a symbolic link elsewhere; the current directory is free of links.
pub fn absolute(path: &Path, current_dir: &Path) -> PathBuf {
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
mod tests;

//! Which names a source means.
//!
//! It knows glob syntax, and takes a pattern apart so that the survey enters only directories that can match. It
//! does not know which files exist. Made by the configuration, walked by the survey.
//!
//! *Invariant:* the steps of a pattern only narrow where to look; whether a name matches is globset's to say.

use std::ffi::OsString;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use globset::{Glob, GlobBuilder, GlobMatcher};

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("must be an absolute path")]
    Relative,
    #[error(transparent)]
    Syntax(#[from] globset::Error),
}

/// One of a source's `paths`: a name, or a glob over names. Always absolute.
///
/// `*` and `?` stop at `/`; `**` as a whole component is any number of directories.
#[derive(Clone, Debug)]
pub struct FilePattern {
    text: String,
    base: PathBuf,
    /// From the base to a file; none for a literal path.
    steps: Vec<Step>,
    whole: Option<GlobMatcher>,
}

/// What leads from one directory of a pattern towards the files.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Exactly this name.
    Name(OsString),
    /// Every name that matches.
    Names(GlobMatcher),
    /// Everything below, at most so many directories down: always the last step.
    Below { levels: usize },
}

/// The deepest that `**` goes below where it stands, in directories. Deeper trees hold no logs, and who may make
/// directories must not be able to keep the survey walking.
pub(super) const MAX_DEPTH: usize = 64;

impl FilePattern {
    /// A text without any of `*?[{` is the path itself, backslashes included.
    ///
    /// # Errors
    /// When it is relative, or not a glob.
    pub fn try_new(text: &str) -> Result<Self, PatternError> {
        if !text.starts_with('/') {
            return Err(PatternError::Relative);
        }
        if !text.contains(GLOB_CHARACTERS) {
            return Self::literal(text);
        }
        let components = split(text);
        let names = components.iter().take_while(|component| !is_glob(component)).count();
        let tidy = format!("/{}", components.join("/"));
        Ok(Self {
            base: Path::new("/").join(components[..names].join("/")),
            steps: steps(&components[names..]),
            whole: Some(glob(&tidy)?.compile_matcher()),
            text: text.to_owned(),
        })
    }

    /// The path itself, whatever characters it has.
    ///
    /// # Errors
    /// When it is relative.
    pub fn literal(path: impl AsRef<Path>) -> Result<Self, PatternError> {
        let path = path.as_ref();
        if !path.is_absolute() {
            return Err(PatternError::Relative);
        }
        Ok(Self {
            text: path.to_string_lossy().into_owned(),
            base: path.components().collect(),
            steps: Vec::new(),
            whole: None,
        })
    }

    /// Whether it means one path.
    pub fn is_literal(&self) -> bool {
        self.whole.is_none()
    }

    /// The path of a literal pattern; otherwise the deepest directory that holds everything it matches.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// Whether it means this path.
    pub fn matches(&self, path: &Path) -> bool {
        let Some(whole) = &self.whole else {
            return path == self.base;
        };
        // A class such as `[!a]` takes any character, `/` too: the number of components says whether one did.
        let names =
            |path: &Path| path.components().filter(|part| matches!(part, Component::Normal(_))).count();
        let fits = match self.steps.last() {
            Some(Step::Below { .. }) => true,
            Some(Step::Name(_) | Step::Names(_)) | None => {
                names(path) == names(&self.base) + self.steps.len()
            }
        };
        fits && whole.is_match(path)
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }
}

/// As it was written.
impl fmt::Display for FilePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// One of a source's `exclude`s.
///
/// Matched against the whole path when it has a `/`, otherwise against the file name.
#[derive(Clone, Debug)]
pub struct ExcludeGlob {
    matcher: GlobMatcher,
    against: Against,
}

#[derive(Clone, Copy, Debug)]
enum Against {
    Path,
    FileName,
}

impl ExcludeGlob {
    /// # Errors
    /// When it is not a glob.
    pub fn try_new(text: &str) -> Result<Self, globset::Error> {
        Ok(Self {
            matcher: glob(text)?.compile_matcher(),
            against: if text.contains('/') { Against::Path } else { Against::FileName },
        })
    }

    /// Whether it leaves this path out.
    pub fn matches(&self, path: &Path) -> bool {
        match self.against {
            Against::Path => self.matcher.is_match(path),
            Against::FileName => path.file_name().is_some_and(|name| self.matcher.is_match(name)),
        }
    }
}

/// As it was written.
impl fmt::Display for ExcludeGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.matcher.glob().glob())
    }
}

/// What makes a text a glob.
const GLOB_CHARACTERS: [char; 4] = ['*', '?', '[', '{'];

fn glob(text: &str) -> Result<Glob, globset::Error> {
    GlobBuilder::new(text).literal_separator(true).build()
}

/// In a glob a backslash escapes, so that a component with one is not the name it looks like.
fn is_glob(component: &str) -> bool {
    component.contains(GLOB_CHARACTERS) || component.contains('\\')
}

/// The components of a glob: cut at each `/` outside of braces and classes. Empty ones and `.` are left out.
fn split(text: &str) -> Vec<&str> {
    let mut components = Vec::new();
    let mut start = 0;
    let mut braces = 0_usize;
    let mut in_class = false;
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '\\' => drop(chars.next()),
            '[' if !in_class => {
                in_class = true;
                // A `]` that comes first, also after the negation, is a member.
                if chars.as_str().starts_with(['!', '^']) {
                    chars.next();
                }
                if chars.as_str().starts_with(']') {
                    chars.next();
                }
            }
            ']' => in_class = false,
            '{' if !in_class => braces += 1,
            '}' if !in_class => braces = braces.saturating_sub(1),
            '/' if !in_class && braces == 0 => {
                components.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    components.push(&text[start..]);
    components.retain(|component| !component.is_empty() && *component != ".");
    components
}

fn steps(components: &[&str]) -> Vec<Step> {
    let mut steps = Vec::new();
    for (at, &component) in components.iter().enumerate() {
        let one_name = !component.contains("**") && !component.contains('/');
        let step = match glob(component) {
            Ok(_) if !is_glob(component) => Step::Name(component.into()),
            Ok(names) if one_name => Step::Names(names.compile_matcher()),
            Ok(_) | Err(_) => {
                let rest = components[at..].join("/");
                let endless = rest.contains("**");
                let levels = if endless { MAX_DEPTH } else { rest.matches('/').count().min(MAX_DEPTH) };
                steps.push(Step::Below { levels });
                return steps;
            }
        };
        steps.push(step);
    }
    steps
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    fn pattern(text: &str) -> FilePattern {
        FilePattern::try_new(text).unwrap()
    }

    fn shape(text: &str) -> (String, String) {
        let pattern = pattern(text);
        let steps = pattern.steps.iter().map(|step| match step {
            Step::Name(name) => format!("={}", name.to_string_lossy()),
            Step::Names(names) => names.glob().glob().to_owned(),
            Step::Below { levels: MAX_DEPTH } => "…".to_owned(),
            Step::Below { levels } => format!("…{levels}"),
        });
        let steps: Vec<_> = steps.collect();
        (pattern.base.to_string_lossy().into_owned(), steps.join(" "))
    }

    #[test]
    fn a_pattern_knows_where_to_begin_and_which_steps_lead_on() {
        for (text, base, steps) in [
            ("/var/log/app.log", "/var/log/app.log", ""),
            ("/var/log/a\\b", "/var/log/a\\b", ""),
            ("/var//log/./app.log/", "/var/log/app.log", ""),
            ("/var/log/*.log", "/var/log", "*.log"),
            ("//var/./log//*.log", "/var/log", "*.log"),
            ("/*", "/", "*"),
            ("/srv/*/log/app-?.log", "/srv", "* =log app-?.log"),
            ("/srv/{a,b}/x[0-9].log", "/srv", "{a,b} x[0-9].log"),
            ("/srv/a\\b/*.log", "/srv", "a\\b *.log"),
            ("/srv/**/x.log", "/srv", "…"),
            ("/srv/*/**", "/srv", "* …"),
            ("/srv/{a/b,c}/*.log", "/srv", "…2"),
            ("/srv/{a,**}/*.log", "/srv", "…"),
            ("/srv/[]/]/x", "/srv", "…2"),
        ] {
            assert_eq!(shape(text), (base.to_owned(), steps.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_pattern_matches_whole_paths() {
        for (text, path, expected) in [
            ("/var/log/app.log", "/var/log/app.log", true),
            ("/var/log/app.log", "/var/log/app.log.1", false),
            ("/var/log/*.log", "/var/log/app.log", true),
            ("/var/log/*.log", "/var/log/.log", true),
            ("/var/log/*.log", "/var/log/a/app.log", false),
            ("/var/log/?.log", "/var/log/a.log", true),
            ("/var/log/x[!a]y.log", "/var/log/x/y.log", false),
            ("/var/log/x[!a]y.log", "/var/log/xby.log", true),
            ("/var//log/*.log", "/var/log/a.log", true),
            ("/var/**/*.log", "/var/a.log", true),
            ("/var/**/*.log", "/var/a/b/c.log", true),
            ("/var/**", "/var/a/b/c", true),
            ("/srv/{a/b,c}/x", "/srv/a/b/x", true),
            ("/srv/{a/b,c}/x", "/srv/c/x", true),
            ("/srv/{a/b,c}/x", "/srv/a/x", false),
            ("/srv/\\*.log", "/srv/\\*.log", false),
            ("/srv/\\*.log", "/srv/*.log", true),
        ] {
            assert_eq!(pattern(text).matches(Path::new(path)), expected, "{text} and {path}");
        }
    }

    #[test]
    fn a_literal_means_its_characters() {
        let literal = FilePattern::literal("/var/log/{a}[b]*?.log").unwrap();
        assert!(literal.is_literal());
        assert!(literal.matches(Path::new("/var/log/{a}[b]*?.log")));
        assert!(!literal.matches(Path::new("/var/log/ab.log")));
    }

    #[test]
    fn names_that_are_not_text_match() {
        let name = Path::new(OsStr::from_bytes(b"/var/log/\xff\xfe.log"));
        assert!(pattern("/var/log/*.log").matches(name));
        assert!(FilePattern::literal(name).unwrap().matches(name));
    }

    #[test]
    fn an_exclusion_without_a_slash_looks_at_the_file_name_only() {
        for (text, path, expected) in [
            ("*.gz", "/var/log/app.log.gz", true),
            ("*.gz", "/var/log/app.log", false),
            ("*.gz", "/var/a.gz/app.log", false),
            ("/var/log/*.gz", "/var/log/a.gz", true),
            ("/var/log/*.gz", "/var/log/old/a.gz", false),
            ("**/old/*", "/var/log/old/a", true),
        ] {
            let exclude = ExcludeGlob::try_new(text).unwrap();
            assert_eq!(exclude.matches(Path::new(path)), expected, "{text} and {path}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        assert_eq!(FilePattern::try_new("log/*.log").unwrap_err(), PatternError::Relative);
        assert_eq!(FilePattern::literal("a.log").unwrap_err(), PatternError::Relative);
        assert!(matches!(FilePattern::try_new("/var/{a").unwrap_err(), PatternError::Syntax(_)));
        assert!(ExcludeGlob::try_new("[a").is_err());
    }
}

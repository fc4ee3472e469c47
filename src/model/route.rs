//! Where the lines of a source's files go: to one delivery stream, or to one that each file's path names.
//!
//! Knows names and which of them are open. Does not know files beyond their paths, nor how a stream is opened.
//!
//! *Invariant:* a name that a path makes is a delivery stream's name by the service's rule, and one that the operator
//! allows; else the file goes to the default, or nowhere.

use std::path::Path;
use std::sync::Arc;

use regex::Regex;

use super::ids::StreamId;
use super::path_fields::PathFields;

/// Most characters of a delivery stream's name (API reference, `PutRecord`).
pub const STREAM_NAME_LEN: usize = 64;

/// Whether `text` is a delivery stream's name: 1 to 64 of `a-zA-Z0-9_.-` (API reference, `PutRecord`).
pub fn is_stream_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    text.bytes().all(allowed) && (1..=STREAM_NAME_LEN).contains(&text.len())
}

/// Which delivery stream the files of one source go to.
#[derive(Clone, Debug, PartialEq)]
pub enum Route {
    /// All to one.
    To(StreamId),
    /// Each to the one that its path names.
    ByPath(Box<ByPath>),
}

/// How paths name delivery streams.
#[derive(Clone, Debug, PartialEq)]
pub struct ByPath {
    /// The name, with fields in it.
    pub template: Template,
    /// What paths say.
    pub path_fields: PathFields,
    /// The names that are allowed; every one, where there is none.
    pub allowed: Vec<NameGlob>,
    /// Where files go whose paths make no name, or none that is allowed.
    pub default: Option<StreamId>,
    /// The most streams that are open at once, without the default.
    pub max_streams: usize,
    /// Those that are open, by the names that paths make.
    pub open: Vec<(Arc<str>, StreamId)>,
    /// Whether no more of them are opened, because there are as many as may be.
    pub is_full: bool,
}

/// Where one file goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destined {
    To(StreamId),
    /// To a delivery stream that is still to be opened.
    Unopened(Arc<str>),
    /// Nowhere, and why.
    Nowhere(String),
}

impl Route {
    /// Where a file goes, by its real path and by the name that a pattern matched.
    pub fn of(&self, real: &Path, matched: &Path) -> Destined {
        match self {
            Self::To(stream) => Destined::To(*stream),
            Self::ByPath(by_path) => by_path.of(real, matched),
        }
    }

    /// Every delivery stream that files go to now.
    pub fn streams(&self) -> Vec<StreamId> {
        match self {
            Self::To(stream) => vec![*stream],
            Self::ByPath(by_path) => {
                let open = by_path.open.iter().map(|(_, stream)| *stream);
                let mut streams: Vec<_> = open.chain(by_path.default).collect();
                streams.sort_unstable();
                streams.dedup();
                streams
            }
        }
    }

    /// Whether files may go to `stream` now.
    pub fn leads_to(&self, stream: StreamId) -> bool {
        match self {
            Self::To(to) => *to == stream,
            Self::ByPath(by_path) => {
                by_path.default == Some(stream) || by_path.open.iter().any(|(_, open)| *open == stream)
            }
        }
    }

    /// With each stream in another place.
    pub fn moved(self, place: impl Fn(StreamId) -> StreamId) -> Self {
        match self {
            Self::To(stream) => Self::To(place(stream)),
            Self::ByPath(by_path) => Self::ByPath(Box::new(ByPath {
                default: by_path.default.map(&place),
                open: by_path.open.into_iter().map(|(name, stream)| (name, place(stream))).collect(),
                ..*by_path
            })),
        }
    }
}

impl ByPath {
    fn of(&self, real: &Path, matched: &Path) -> Destined {
        let otherwise = |why: String| self.default.map_or(Destined::Nowhere(why), Destined::To);
        let name = match self.name(real, matched) {
            Ok(name) => name,
            Err(why) => return otherwise(why),
        };
        if let Some((_, stream)) = self.open.iter().find(|(open, _)| **open == *name) {
            return Destined::To(*stream);
        }
        if self.is_full {
            let most = self.max_streams;
            return otherwise(format!(
                "its stream would be {name}, and {most} are open, which is max_streams: raise it, or name a default_stream"
            ));
        }
        Destined::Unopened(name.into())
    }

    /// The name that a file's path makes.
    ///
    /// # Errors
    /// Why it makes none that is allowed.
    pub fn name(&self, real: &Path, matched: &Path) -> Result<String, String> {
        let name = self.template.fill(&self.path_fields.of(real, matched))?;
        if !is_stream_name(&name) {
            return Err(format!(
                "its path makes the stream {name:?}, which is no delivery stream's name: name a default_stream"
            ));
        }
        if !self.allows(&name) {
            return Err(format!("its stream would be {name}, which `streams` does not allow"));
        }
        Ok(name)
    }

    /// Whether the stream of this name is open.
    pub fn is_open(&self, name: &str) -> bool {
        self.open.iter().any(|(open, _)| **open == *name)
    }

    /// Whether the operator allows a name.
    pub fn allows(&self, name: &str) -> bool {
        self.allowed.is_empty() || self.allowed.iter().any(|glob| glob.matches(name))
    }

    /// Whether a path could make this name.
    pub fn may_make(&self, name: &str) -> bool {
        is_stream_name(name) && self.allows(name) && self.template.may_make(name)
    }
}

/// A name with fields in it, as `logs-{namespace}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// As the operator wrote it.
    text: Arc<str>,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Arc<str>),
    Field(Arc<str>),
}

impl Template {
    /// # Errors
    /// What is wrong with `text`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some(begin) = rest.find(['{', '}']) {
            let inside = rest[begin..].strip_prefix('{').and_then(|inside| inside.split_once('}'));
            let Some((field, behind)) = inside.filter(|(field, _)| is_field(field)) else {
                return Err(format!("`{text}` is no template; write fields as {{name}}"));
            };
            if begin > 0 {
                parts.push(Part::Text(rest[..begin].into()));
            }
            parts.push(Part::Field(field.into()));
            rest = behind;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        let literal = |part: &Part| match part {
            Part::Text(text) => is_stream_name(text),
            Part::Field(_) => true,
        };
        match parts.iter().all(literal) {
            true => Ok(Self { text: text.into(), parts }),
            false => Err(format!(
                "`{text}` makes no delivery stream's name; around fields write only a-z A-Z 0-9 _ . -"
            )),
        }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// The fields that stand in it.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Field(field) => Some(&**field),
            Part::Text(_) => None,
        })
    }

    /// With `value` wherever `field` stands.
    pub fn with(&self, field: &str, value: &str) -> Self {
        let part = |part: &Part| match part {
            Part::Field(name) if **name == *field => Part::Text(value.into()),
            other => other.clone(),
        };
        Self { text: Arc::clone(&self.text), parts: self.parts.iter().map(part).collect() }
    }

    fn fill(&self, fields: &[(&str, std::borrow::Cow<'_, str>)]) -> Result<String, String> {
        let mut name = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::Field(field) => match fields.iter().find(|(known, _)| *known == &**field) {
                    Some((_, value)) => name.push_str(value),
                    None => return Err(format!("its path has no {field}, which its stream is named by")),
                },
            }
        }
        Ok(name)
    }

    /// Whether some values of its fields make `name`.
    fn may_make(&self, name: &str) -> bool {
        let glob: String = self
            .parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => &**text,
                Part::Field(_) => "*",
            })
            .collect();
        NameGlob::parse(&glob).is_ok_and(|glob| glob.matches(name))
    }
}

/// Whether the stream of a source stands for many.
pub fn is_template(stream: &str) -> bool {
    stream.contains(['{', '}'])
}

fn is_field(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Names of delivery streams: `*` stands for any characters, `?` for one.
#[derive(Clone, Debug)]
pub struct NameGlob {
    text: Arc<str>,
    expression: Regex,
}

impl NameGlob {
    /// # Errors
    /// What is wrong with `text`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let literal: String = text.chars().filter(|char| !matches!(char, '*' | '?')).collect();
        if text.is_empty() || !(literal.is_empty() || is_stream_name(&literal)) {
            return Err(format!(
                "`{text}` matches no delivery stream's name; write only a-z A-Z 0-9 _ . - * ?"
            ));
        }
        let expression = regex::escape(text).replace(r"\*", ".*").replace(r"\?", ".");
        let expression = Regex::new(&format!("^{expression}$")).map_err(|fault| fault.to_string())?;
        Ok(Self { text: text.into(), expression })
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn matches(&self, name: &str) -> bool {
        self.expression.is_match(name)
    }

    /// How much of a name it says; of two globs that match, the one that says more is the nearer.
    pub fn says(&self) -> usize {
        self.text.chars().filter(|char| !matches!(char, '*' | '?')).count()
    }

    /// Whether `text` is more than a name.
    pub fn is_glob(text: &str) -> bool {
        text.contains(['*', '?'])
    }
}

impl PartialEq for NameGlob {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for NameGlob {}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_path(template: &str, allowed: &[&str], open: &[&str], default: Option<usize>) -> ByPath {
        let open = open.iter().enumerate().map(|(place, name)| ((*name).into(), StreamId(place)));
        ByPath {
            template: Template::parse(template).expect("a template"),
            path_fields: PathFields::try_new("^/log/(?<team>[^/]+)/((?<app>[^/]+)/)?")
                .expect("an expression"),
            allowed: allowed.iter().map(|glob| NameGlob::parse(glob).expect("a glob")).collect(),
            default: default.map(StreamId),
            max_streams: 2,
            open: open.collect(),
            is_full: false,
        }
    }

    fn told(route: &ByPath, path: &str) -> String {
        match Route::ByPath(Box::new(route.clone())).of(Path::new(path), Path::new("/link")) {
            Destined::To(stream) => stream.0.to_string(),
            Destined::Unopened(name) => name.to_string(),
            Destined::Nowhere(why) => format!("- {why}"),
        }
    }

    #[test]
    fn a_file_goes_to_the_stream_that_its_path_names() {
        let (none, logs): (&[&str], &[&str]) = (&[], &["logs-*"]);
        let long = format!("/log/{}/x", "a".repeat(60));
        let table = [
            ("logs-{team}", none, "/log/shop/x", "logs-shop"),
            ("logs-{team}", logs, "/log/shop/x", "logs-shop"),
            ("logs-{team}", none, "/log/pay/x", "0"),
            ("{team}.{app}", none, "/log/shop/web/x", "shop.web"),
            ("{team}", logs, "/log/shop/x", "- its stream would be shop, which `streams` does not allow"),
            ("{team}.{app}", none, "/log/shop/x", "- its path has no app, which its stream is named by"),
            ("logs-{team}", none, "/other/x", "- its path has no team, which its stream is named by"),
            (
                "logs-{team}",
                none,
                "/log/a b/x",
                "- its path makes the stream \"logs-a b\", which is no delivery stream's name: name a default_stream",
            ),
        ];
        for (template, allowed, path, expected) in table {
            let route = by_path(template, allowed, &["logs-pay"], None);
            assert_eq!(told(&route, path), expected, "{template} {path}");
            let is_refused = expected.starts_with('-');
            let with_default = by_path(template, allowed, &["logs-pay"], Some(7));
            assert_eq!(
                told(&with_default, path),
                if is_refused { "7" } else { expected },
                "{template} {path}"
            );
        }
        assert!(told(&by_path("logs-{team}", none, &[], None), &long).contains("no delivery stream's name"));
    }

    #[test]
    fn no_more_streams_are_opened_than_may_be() {
        let full = |default| ByPath { is_full: true, ..by_path("{team}", &[], &["a", "b"], default) };
        assert_eq!(told(&full(None), "/log/b/x"), "1");
        assert_eq!(
            told(&full(None), "/log/c/x"),
            "- its stream would be c, and 2 are open, which is max_streams: raise it, or name a default_stream"
        );
        assert_eq!(told(&full(Some(9)), "/log/c/x"), "9");
        let route = Route::ByPath(Box::new(full(Some(1))));
        assert_eq!(route.streams(), [StreamId(0), StreamId(1)], "each once");
        assert!(route.leads_to(StreamId(1)) && !route.leads_to(StreamId(2)));
        let moved = route.moved(|stream| StreamId(stream.0 + 10));
        assert_eq!(moved.streams(), [StreamId(10), StreamId(11)]);
    }

    #[test]
    fn templates_and_globs_that_make_no_name_are_refused() {
        for text in ["{", "}", "a}", "{}", "{a b}", "a b-{x}", "{a}{", "logs/{x}"] {
            Template::parse(text).expect_err(text);
        }
        for text in ["", "a b", "logs/*", "*{x}"] {
            NameGlob::parse(text).expect_err(text);
        }
        let glob = |text: &str| NameGlob::parse(text).expect("a glob");
        assert!(glob("a.c").matches("a.c") && !glob("a.c").matches("abc"), "a dot is a dot");
        assert!(glob("logs-?").matches("logs-1") && !glob("logs-?").matches("logs-10"));
        assert!(glob("logs-eu-*").says() > glob("logs-*").says());
    }

    #[test]
    fn the_names_that_paths_could_make_are_told_from_others() {
        let route = by_path("logs-{team}-x", &["logs-a*"], &[], None);
        for (name, expected) in
            [("logs-a-x", true), ("logs-ab-c-x", true), ("logs-b-x", false), ("logs-a", false), ("x", false)]
        {
            assert_eq!(route.may_make(name), expected, "{name}");
        }
        let bound = Template::parse("{host}-{team}").expect("a template").with("host", "web-1");
        assert_eq!(bound.fields().collect::<Vec<_>>(), ["team"]);
    }
}

//! The spelling of globs: a text in, the ways that it spells out.
//!
//! The syntax is ripgrep's: `*` is any run within a name, `?` one character, `[a-z]` one of a class, `[!a]` one
//! that is not, `{a,b}` alternatives that may be empty, nested or hold a `/`, `**` as a whole name any number of
//! directories, and `\` takes the special meaning from the character behind. A class or a `?` is about characters,
//! a `*` about bytes, so that a name which is no UTF-8 is still matched by `*`.
//!
//! Called by [`super`] alone.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use regex::bytes::{Regex, RegexBuilder};

/// What makes a text a glob. A backslash alone does not: it is a fine character in a file's name.
pub(super) const GLOB_CHARACTERS: [char; 4] = ['*', '?', '[', '{'];

/// The most ways that the braces of one glob may multiply into: a walk tries every way at every name.
const MAX_WAYS: usize = 256;

/// The deepest that braces may nest: deeper is nobody's glob, and each level takes stack to read.
const MAX_NESTED_BRACES: usize = 16;

/// The most memory that one name's expression may take, in bytes. Thousands of `?` would be more.
const MAX_EXPRESSION_BYTES: usize = 1024 * 1024;

/// What is wrong with the spelling of a glob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    #[error("unclosed character class; missing ']'")]
    UnclosedClass,
    #[error("invalid range; '{0}' > '{1}'")]
    InvalidRange(char, char),
    #[error("unclosed alternate group; missing '}}' (maybe escape '{{' with '[{{]'?)")]
    UnclosedBraces,
    #[error("unopened alternate group; missing '{{' (maybe escape '}}' with '[}}]'?)")]
    UnopenedBraces,
    #[error("a '\\' at the end escapes nothing")]
    DanglingEscape,
    #[error("braces nested more than {MAX_NESTED_BRACES} deep")]
    NestedTooDeep,
    #[error("its braces multiply into more than {MAX_WAYS} alternatives")]
    TooManyWays,
    #[error("a name in it is too long")]
    TooLong,
}

/// What leads from a directory to a file, name by name.
pub(super) type Way = Vec<Part>;

/// One alternative of a glob, as far as braces with a slash make several.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Alternative {
    /// Whether the alternative begins with a `/`.
    pub(super) from_root: bool,
    /// May end in an empty [`Part::Name`], behind a `/`: only the caller knows what to say about that.
    pub(super) way: Way,
}

/// What one name on a way may be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// Exactly this name.
    Name(OsString),
    /// Any name that fits.
    Names(NameGlob),
    /// Any number of directories, also none: `**`.
    Below,
}

impl Part {
    /// Whether the part is this one name. `**` is about no name in particular.
    pub(super) fn fits(&self, name: &OsStr) -> bool {
        match self {
            Self::Name(own) => own == name,
            Self::Names(glob) => glob.expression.is_match(name.as_bytes()),
            Self::Below => false,
        }
    }

    /// Whether every name fits: a `*` alone.
    pub(super) fn fits_all(&self) -> bool {
        matches!(self, Self::Names(glob) if glob.tokens == [Token::Star])
    }

    /// `*`.
    pub(super) fn any_name() -> Self {
        Self::Names(NameGlob::try_new(vec![Token::Star]).expect("a star compiles"))
    }
}

/// A glob for one name. Compared by what was spelled: equal tokens compile to equal expressions.
#[derive(Clone)]
pub(super) struct NameGlob {
    tokens: Vec<Token>,
    expression: Regex,
}

impl NameGlob {
    fn try_new(mut tokens: Vec<Token>) -> Result<Self, SyntaxError> {
        tidy(&mut tokens);
        let mut text = "(?s)\\A".to_owned();
        spell(&tokens, &mut text);
        text.push_str("\\z");
        let expression = RegexBuilder::new(&text)
            .size_limit(MAX_EXPRESSION_BYTES)
            .build()
            .map_err(|_| SyntaxError::TooLong)?;
        Ok(Self { tokens, expression })
    }
}

impl fmt::Debug for NameGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NameGlob").field(&self.expression.as_str()).finish()
    }
}

impl PartialEq for NameGlob {
    fn eq(&self, other: &Self) -> bool {
        self.tokens == other.tokens
    }
}

impl Eq for NameGlob {}

impl PartialOrd for NameGlob {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for NameGlob {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.tokens.cmp(&other.tokens)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Token {
    Literal(char),
    /// `?`
    AnyCharacter,
    /// `*`
    Star,
    Class {
        negated: bool,
        /// First and last of each.
        ranges: Vec<(char, char)>,
    },
    Slash,
    /// Between commas.
    Braces(Vec<Vec<Token>>),
}

/// The alternatives that `glob` spells: at least one.
pub(super) fn alternatives(glob: &str) -> Result<Vec<Alternative>, SyntaxError> {
    let mut reader = Reader { rest: glob.chars() };
    let tokens = match reader.branches(0)? {
        (mut whole, None) => whole.pop().expect("the text outside of braces is one"),
        (_, Some(_)) => return Err(SyntaxError::UnopenedBraces),
    };
    let mut alternatives = expand(&tokens)?.into_iter().map(alternative).collect::<Result<Vec<_>, _>>()?;
    // The order of alternatives means nothing: sorted, two spellings of the same ones are equal.
    alternatives.sort_unstable();
    alternatives.dedup();
    Ok(alternatives)
}

/// Reads a glob from left to right.
struct Reader<'t> {
    rest: std::str::Chars<'t>,
}

impl Reader<'_> {
    /// Reads up to the `}` that closes the braces `nested` deep, or to the end of the text; says which it was.
    /// Commas part branches only in braces.
    fn branches(&mut self, nested: usize) -> Result<(Vec<Vec<Token>>, Option<char>), SyntaxError> {
        let mut done = Vec::new();
        let mut tokens = Vec::new();
        loop {
            let token = match self.rest.next() {
                end @ (None | Some('}')) => {
                    done.push(tokens);
                    return Ok((done, end));
                }
                Some(',') if nested > 0 => {
                    done.push(std::mem::take(&mut tokens));
                    continue;
                }
                Some('{') if nested == MAX_NESTED_BRACES => return Err(SyntaxError::NestedTooDeep),
                Some('{') => match self.branches(nested + 1)? {
                    (branches, Some(_)) => Token::Braces(branches),
                    (_, None) => return Err(SyntaxError::UnclosedBraces),
                },
                Some('[') => self.class()?,
                Some('?') => Token::AnyCharacter,
                Some('*') => Token::Star,
                Some('/') => Token::Slash,
                Some('\\') => match self.rest.next() {
                    Some('/') => Token::Slash,
                    Some(escaped) => Token::Literal(escaped),
                    None => return Err(SyntaxError::DanglingEscape),
                },
                Some(literal) => Token::Literal(literal),
            };
            tokens.push(token);
        }
    }

    /// Reads a class behind its `[`. A `]` or `-` that comes first is a member, and so is a `-` that comes last.
    fn class(&mut self) -> Result<Token, SyntaxError> {
        let negated = self.rest.as_str().starts_with(['!', '^']);
        if negated {
            self.rest.next();
        }
        let mut ranges: Vec<(char, char)> = Vec::new();
        let mut in_range = false;
        loop {
            let member = match self.rest.next().ok_or(SyntaxError::UnclosedClass)? {
                ']' if !ranges.is_empty() => break,
                '-' if !ranges.is_empty() && !in_range => {
                    in_range = true;
                    continue;
                }
                member => member,
            };
            match ranges.last_mut().filter(|_| in_range) {
                Some((first, _)) if member < *first => return Err(SyntaxError::InvalidRange(*first, member)),
                Some((_, last)) => *last = member,
                None => ranges.push((member, member)),
            }
            in_range = false;
        }
        if in_range {
            ranges.push(('-', '-'));
        }
        Ok(Token::Class { negated, ranges })
    }
}

/// Multiplies out the braces that say how many names there are; the others stay within their name.
fn expand(tokens: &[Token]) -> Result<Vec<Vec<Token>>, SyntaxError> {
    let mut ways = vec![Vec::new()];
    for token in tokens {
        match token {
            Token::Braces(branches) if branches.iter().any(|tokens| spans_names(tokens)) => {
                let mut tails = Vec::new();
                for branch in branches {
                    tails.extend(expand(branch)?);
                }
                if ways.len() * tails.len() > MAX_WAYS {
                    return Err(SyntaxError::TooManyWays);
                }
                let with_tails = |head: &Vec<Token>| {
                    tails.iter().map(|tail| [&head[..], tail].concat()).collect::<Vec<_>>()
                };
                ways = ways.iter().flat_map(with_tails).collect();
            }
            token => ways.iter_mut().for_each(|way| way.push(token.clone())),
        }
    }
    Ok(ways)
}

/// Whether a branch may be more, or less, than a piece of one name.
fn spans_names(tokens: &[Token]) -> bool {
    let nested = |token: &Token| match token {
        Token::Slash => true,
        Token::Braces(branches) => branches.iter().any(|tokens| spans_names(tokens)),
        Token::Literal(_) | Token::AnyCharacter | Token::Star | Token::Class { .. } => false,
    };
    tokens.iter().any(nested) || tokens.windows(2).any(|pair| pair == [Token::Star, Token::Star])
}

/// Cuts one alternative into names. Those that are empty, or `.`, stand for the directory itself and are left out.
fn alternative(tokens: Vec<Token>) -> Result<Alternative, SyntaxError> {
    let mut way = Way::new();
    let mut names = tokens.split(|token| *token == Token::Slash).peekable();
    while let Some(tokens) = names.next() {
        let is_last = names.peek().is_none();
        match literal(tokens) {
            Some(name) if name == "." || name.is_empty() && !is_last => {}
            Some(name) => way.push(Part::Name(name.into())),
            None if tokens == [Token::Star, Token::Star] => {
                if way.last() != Some(&Part::Below) {
                    way.push(Part::Below);
                }
            }
            None => way.push(Part::Names(NameGlob::try_new(tokens.to_vec())?)),
        }
    }
    // Whatever lies at any depth: any name in any directory.
    if way.last() == Some(&Part::Below) {
        way.push(Part::any_name());
    }
    Ok(Alternative { from_root: tokens.first() == Some(&Token::Slash), way })
}

fn literal(tokens: &[Token]) -> Option<String> {
    let character = |token: &Token| match token {
        Token::Literal(character) => Some(*character),
        Token::AnyCharacter | Token::Star | Token::Class { .. } | Token::Slash | Token::Braces(_) => None,
    };
    tokens.iter().map(character).collect()
}

/// Gives tokens that mean the same one spelling: runs of `*`, the order of branches and of a class.
fn tidy(tokens: &mut Vec<Token>) {
    tokens.dedup_by(|next, token| *next == Token::Star && *token == Token::Star);
    for token in tokens {
        match token {
            Token::Braces(branches) => {
                branches.iter_mut().for_each(tidy);
                branches.sort_unstable();
                branches.dedup();
            }
            Token::Class { ranges, .. } => {
                ranges.sort_unstable();
                ranges.dedup();
            }
            Token::Literal(_) | Token::AnyCharacter | Token::Star | Token::Slash => {}
        }
    }
}

/// Spells tokens of one name as a regular expression on bytes, where `.` and classes are whole characters.
fn spell(tokens: &[Token], text: &mut String) {
    for token in tokens {
        match token {
            Token::Literal(character) => text.push_str(&regex::escape(character.encode_utf8(&mut [0; 4]))),
            Token::AnyCharacter => text.push('.'),
            Token::Star => text.push_str("(?-u:.*)"),
            Token::Class { negated, ranges } => {
                text.push_str(if *negated { "[^" } else { "[" });
                for (first, last) in ranges {
                    text.push_str(&format!("\\x{{{:X}}}-\\x{{{:X}}}", *first as u32, *last as u32));
                }
                text.push(']');
            }
            Token::Braces(branches) => {
                for (index, tokens) in branches.iter().enumerate() {
                    text.push_str(if index == 0 { "(?:" } else { "|" });
                    spell(tokens, text);
                }
                text.push(')');
            }
            // No name has one, and the names were cut apart there.
            Token::Slash => {}
        }
    }
}

//! The page at `/`: one document that draws `/status`, `/files` and `/history`.
//!
//! Knows the document and what it is allowed to do. The policy names the one style and the one script by their
//! hashes: whatever a name or a message contains, nothing else can run.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use sha2::{Digest, Sha256};

/// The HTML document that `/` answers with.
pub(super) const PAGE: &str = include_str!("page.html");

/// The page's icon, which `/icon.svg` answers with.
pub(super) const ICON: &str = include_str!("icon.svg");

/// What a browser may do for this page: run its script, use its style, show its icon, ask where it came from.
pub(super) fn policy() -> HeaderValue {
    let policy = format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        hash("script"),
        hash("style")
    );
    HeaderValue::try_from(policy).expect("base64 is a valid header")
}

/// The hash of the one element `tag`, as a policy spells it.
fn hash(tag: &str) -> String {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let content = PAGE.split_once(&open).and_then(|(_, rest)| rest.split_once(&close));
    let (content, _) = content.expect("the page has one of each");
    format!("sha256-{}", STANDARD.encode(Sha256::digest(content)))
}

#[cfg(test)]
mod tests {
    use crate::model::text::STEERING;

    use super::*;

    #[test]
    fn the_page_is_one_document_with_one_script_that_makes_no_markup() {
        for tag in ["script", "style"] {
            assert_eq!(PAGE.matches(&format!("<{tag}")).count(), 1, "{tag}");
        }
        for word in
            ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "style=", "onclick"]
        {
            assert!(!PAGE.contains(word), "{word}");
        }
        for word in ["http://", "https://", "//cdn", "@import", "url("] {
            let allowed = PAGE.matches("http://www.w3.org/2000/svg").count();
            let found = PAGE.matches(word).count();
            assert_eq!(found, if word == "http://" { allowed } else { 0 }, "{word}: no asset from elsewhere");
        }
    }

    #[test]
    fn the_page_spells_what_texts_everywhere_spell_and_asks_below_its_own_path() {
        let range = |(first, last): (char, char)| match first == last {
            true => format!("\\u{{{:x}}}", u32::from(first)),
            false => format!("\\u{{{:x}}}-\\u{{{:x}}}", u32::from(first), u32::from(last)),
        };
        let expected = format!("const STEERING = /[{}]/gu;", STEERING.map(range).concat());
        assert!(PAGE.contains(&expected), "{expected}");
        for absolute in ["href=\"/", "json(\"/", "json(`/", "fetch(\"/"] {
            assert!(!PAGE.contains(absolute), "{absolute}");
        }
    }

    #[test]
    fn the_policy_allows_the_page_and_nothing_else() {
        let policy = policy();
        let policy = policy.to_str().expect("it is text");
        assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }
}

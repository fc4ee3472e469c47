//! `${NAME}` in a string, taken from the environment, and `${NAME:-default}`.
//!
//! Knows the spelling; deliberately does not look into the environment itself, which is handed in. What comes
//! from the environment is not expanded again, nor is a default.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// A text with its references replaced.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Completed<'a> {
    pub(super) text: Cow<'a, str>,
    /// The variables that were referred to, with the value of each that is set.
    pub(super) variables: BTreeMap<String, Option<String>>,
}

/// What is wrong with a reference, and the text of it as it was typed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadReference {
    pub(super) typed: String,
    pub(super) message: String,
}

/// Replaces every `${NAME}` in `text` by the variable's value, and `${NAME:-default}` by the default where that is empty or
/// not set.
pub(super) fn expand<'a>(
    text: &'a str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Completed<'a>, BadReference> {
    let mut variables = BTreeMap::new();
    if !text.contains("${") {
        return Ok(Completed { text: Cow::Borrowed(text), variables });
    }
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        expanded.push_str(&rest[..start]);
        let reference = &rest[start..];
        let Some(end) = reference.find('}') else {
            let message = "`${` without `}`; write ${NAME}".to_owned();
            return Err(BadReference { typed: reference.to_owned(), message });
        };
        let typed = &reference[..=end];
        let bad = |message| BadReference { typed: typed.to_owned(), message };
        let (name, default) = match reference[2..end].split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (&reference[2..end], None),
        };
        if !is_name(name) {
            return Err(bad(format!(
                "`{typed}` names no environment variable; write ${{NAME}} or ${{NAME:-default}}"
            )));
        }
        if default.is_some_and(|default| default.contains("${")) {
            let message =
                format!("the default of `{name}` refers to a variable; write the value itself there");
            return Err(bad(message));
        }
        let value = env(name);
        let used = match (&value, default) {
            (Some(value), None) => value,
            (Some(value), Some(_)) if !value.is_empty() => value,
            (_, Some(default)) => default,
            (None, None) => {
                return Err(bad(format!(
                    "`{name}` is not set in the environment; set it, or write the value"
                )));
            }
        };
        expanded.push_str(used);
        variables.insert(name.to_owned(), value);
        rest = &reference[end + 1..];
    }
    expanded.push_str(rest);
    Ok(Completed { text: Cow::Owned(expanded), variables })
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "APP" => Some("shop".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${APP}".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn a_reference_is_replaced_by_its_value() {
        let table = [
            ("/var/log/*.log", "/var/log/*.log"),
            ("/var/log/${APP}/*.log", "/var/log/shop/*.log"),
            ("${APP}${APP}", "shopshop"),
            ("a${EMPTY}b", "ab"),
            ("${NESTED}", "${APP}"),
            ("$APP {APP} 5$", "$APP {APP} 5$"),
            ("${APP:-blog}", "shop"),
            ("${EMPTY:-blog}", "blog"),
            ("${GONE:-blog}/x", "blog/x"),
            ("${GONE:-}", ""),
            ("${GONE:-a:-b c}", "a:-b c"),
        ];
        for (text, expanded) in table {
            assert_eq!(expand(text, &env).expect(text).text, expanded);
        }
        let variables = expand("${APP}${GONE:-x}", &env).expect("both have a value").variables;
        assert_eq!(variables, [("APP".to_owned(), env("APP")), ("GONE".to_owned(), None)].into());
    }

    #[test]
    fn a_reference_without_a_value_says_which() {
        let fault = expand("/x/${APP}/${GONE}", &env).expect_err("GONE is not set");
        assert_eq!(fault.typed, "${GONE}");
        assert!(fault.message.starts_with("`GONE` is not set"), "{}", fault.message);
        for text in ["${}", "${1A}", "${A B}", "${APP", "${:-x}", "${APP-x}", "${GONE:-${APP}}"] {
            assert!(expand(text, &env).is_err(), "{text}");
        }
    }
}

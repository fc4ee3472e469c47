//! `${NAME}` in a string, taken from the environment.
//!
//! Knows the spelling; deliberately does not look into the environment itself, which is handed in. What comes
//! from the environment is not expanded again.

use std::borrow::Cow;

/// What is wrong with a reference, and the text of it as it was typed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadReference {
    pub(super) typed: String,
    pub(super) message: String,
}

/// Replaces every `${NAME}` in `text` by the variable's value.
pub(super) fn expand<'a>(
    text: &'a str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Cow<'a, str>, BadReference> {
    if !text.contains("${") {
        return Ok(Cow::Borrowed(text));
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
        let name = &reference[2..end];
        if !is_name(name) {
            return Err(bad(format!("`{typed}` names no environment variable; write ${{NAME}}")));
        }
        let value = env(name).ok_or_else(|| {
            bad(format!("`{name}` is not set in the environment; set it, or write the value"))
        })?;
        expanded.push_str(&value);
        rest = &reference[end + 1..];
    }
    expanded.push_str(rest);
    Ok(Cow::Owned(expanded))
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
        ];
        for (text, expanded) in table {
            assert_eq!(expand(text, &env).as_deref(), Ok(expanded));
        }
    }

    #[test]
    fn a_reference_without_a_value_says_which() {
        let fault = expand("/x/${APP}/${GONE}", &env).expect_err("GONE is not set");
        assert_eq!(fault.typed, "${GONE}");
        assert!(fault.message.starts_with("`GONE` is not set"), "{}", fault.message);
        for text in ["${}", "${1A}", "${A B}", "${APP"] {
            assert!(expand(text, &env).is_err(), "{text}");
        }
    }
}

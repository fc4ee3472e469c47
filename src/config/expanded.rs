//! What came from the environment, by name: what is shown to people says the name.
//!
//! Knows names and values of `${NAME}` in the file. Does not know what any of them is for.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

/// A shorter value hides nothing, and may stand anywhere by chance; in bytes.
const MIN_BYTES: usize = 6;

/// The values of `${NAME}`, by name. They are no part of what is configured: all are equal.
#[derive(Clone, Default)]
pub struct Expanded(BTreeMap<String, String>);

impl PartialEq for Expanded {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// The names alone: values may be secrets.
impl fmt::Debug for Expanded {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.0.keys()).finish()
    }
}

impl Expanded {
    pub(super) fn of(values: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(values.into_iter().collect())
    }

    /// Does `work` with an environment, and tells what it was asked for and had.
    pub(super) fn note<T>(
        env: &dyn Fn(&str) -> Option<String>,
        work: impl FnOnce(&dyn Fn(&str) -> Option<String>) -> T,
    ) -> (T, Self) {
        let known = RefCell::new(BTreeMap::new());
        let noting = |name: &str| {
            let value = env(name)?;
            known.borrow_mut().insert(name.to_owned(), value.clone());
            Some(value)
        };
        let done = work(&noting);
        (done, Self(known.into_inner()))
    }

    /// A text for people, with `${NAME}` where a value stands.
    pub(super) fn mask(&self, text: &str) -> String {
        let mut values: Vec<_> = self.0.iter().filter(|(_, value)| value.len() >= MIN_BYTES).collect();
        // One value may hold another.
        values.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
        let masked =
            |text: String, (name, value): (&String, &String)| text.replace(value, &format!("${{{name}}}"));
        values.into_iter().fold(text.to_owned(), masked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_is_shown_by_its_name() {
        let env = |name: &str| match name {
            "TOKEN" => Some("s3cr3t-token".to_owned()),
            "LONG" => Some("s3cr3t-token-and-more".to_owned()),
            "ENV" => Some("prod".to_owned()),
            _ => None,
        };
        let ((), expanded) = Expanded::note(&env, |env| {
            for name in ["TOKEN", "LONG", "ENV", "UNSET"] {
                env(name);
            }
        });
        assert_eq!(
            expanded.mask("a s3cr3t-token, s3cr3t-token-and-more in prod"),
            "a ${TOKEN}, ${LONG} in prod"
        );
        assert_eq!(format!("{expanded:?}"), r#"{"ENV", "LONG", "TOKEN"}"#);
    }
}

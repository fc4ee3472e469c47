//! Which rows of a table are wanted, and how many.
//!
//! Knows names and paths. Does not know what has them.

/// The most entries of a kind where the whole table is printed at once; of files the latest ones. `--json` has all.
const MAX_LISTED: usize = 40;

/// The most entries of a kind where the table can be moved through.
const MAX_WATCHED: usize = 10_000;

/// What is wanted of a table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    /// In small letters; empty: every row.
    part: String,
    most: usize,
}

impl Wanted {
    /// Every row, up to what a person reads at once.
    pub(super) fn all() -> Self {
        Self { part: String::new(), most: MAX_LISTED }
    }

    /// Every row in whose name `part` stands, whatever the case.
    pub(super) fn watched(part: &str) -> Self {
        Self { part: part.to_lowercase(), most: MAX_WATCHED }
    }

    /// How many entries of a kind are shown at most.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.part.is_empty() || name.to_lowercase().contains(&self.part)
    }

    /// What is shown of `rows`, and how many more of them are wanted.
    pub(super) fn of<'a, T>(&self, rows: &'a [T], name: impl Fn(&T) -> &str) -> (Vec<&'a T>, usize) {
        let mut rows: Vec<_> = rows.iter().filter(|row| self.has(name(row))).collect();
        let more = rows.len().saturating_sub(self.most);
        rows.truncate(self.most);
        (rows, more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_wanted_by_a_part_of_its_name_in_any_case_and_those_beyond_are_counted() {
        let rows = ["/var/log/API.log", "/var/log/web.log", "/srv/api"];
        let paths = |wanted: &Wanted| wanted.of(&rows, |row| row).0.into_iter().copied().collect::<Vec<_>>();
        assert_eq!(paths(&Wanted::watched("Api")), ["/var/log/API.log", "/srv/api"]);
        assert_eq!(paths(&Wanted::all()), rows);
        let many = vec!["x"; MAX_LISTED + 3];
        assert_eq!(Wanted::all().of(&many, |row| row).1, 3);
        assert_eq!(Wanted::watched("").of(&many, |row| row).1, 0);
    }
}

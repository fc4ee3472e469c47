//! Followed files, and files that are not read: all of them in `/status`, and a page of them in `/files`.

use std::cmp::{Ordering, Reverse};

use serde::{Deserialize, Serialize};

use crate::engine::{FileState, FileStatus};
use crate::shell::http::snapshot::{Snapshot, lag_bytes};
use crate::shell::http::trouble::{amount, seconds};

/// The most files in one answer of `/files`.
const MAX_LIMIT: usize = 200;

/// How many files are in an answer of `/files` when nobody says.
const LIMIT: usize = 25;

/// The most of what paths are to contain, in bytes.
const MAX_FILTER_BYTES: usize = 4096;

/// One followed file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct File {
    /// The source's name.
    pub source: String,
    /// The name under which the file was last seen.
    pub path: String,
    /// The device number of the file.
    pub device: u64,
    /// The inode number of the file.
    pub inode: u64,
    /// `"followed"`, `"draining"` (renamed or removed) or `"truncated"` (its content is gone; what was read of it
    /// is under way).
    pub state: String,
    /// Size when last seen, in bytes.
    pub size: u64,
    /// Offset at which the next line begins, in bytes.
    pub read: u64,
    /// Offset before which everything is acknowledged, in bytes.
    pub acknowledged: u64,
    /// Offset before which everything is acknowledged and saved to disk, in bytes.
    pub durable: u64,
    /// Bytes that are seen and not acknowledged.
    pub lag_bytes: u64,
    /// How long the oldest line that is not acknowledged has been seen to be there.
    #[serde(deserialize_with = "amount")]
    pub lag_seconds: f64,
}

/// A name that a source names or matches and that is not read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unread {
    /// The source's name; absent where an older daemon tells of a directory beside its files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The name that is not read.
    pub path: String,
    /// Why the name is not read.
    pub reason: String,
}

impl File {
    pub(super) fn of(snapshot: &Snapshot, file: &FileStatus) -> Self {
        Self {
            source: snapshot.source(file.source).to_string(),
            path: file.path.display().to_string(),
            device: file.identity.device,
            inode: file.identity.inode,
            state: label(file.state).to_owned(),
            size: file.size,
            read: file.read.bytes(),
            acknowledged: file.acknowledged.bytes(),
            durable: file.durable.map_or(0, |offset| offset.bytes()),
            lag_bytes: lag_bytes(file),
            lag_seconds: seconds(snapshot.age(file.behind_since)),
        }
    }
}

/// What `/files` is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::shell::http) struct Query {
    sort: Sort,
    is_descending: bool,
    filter: String,
    offset: usize,
    limit: usize,
}

/// What files are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Path,
    Lag,
    Late,
    Size,
    State,
}

/// The answer of `/files`.
#[derive(Clone, Debug, Serialize)]
pub(in crate::shell::http) struct Files {
    /// How many files are followed.
    total: usize,
    /// How many of them the filter leaves.
    matching: usize,
    /// How many of those stand before the first that is listed.
    offset: usize,
    files: Vec<File>,
}

impl Query {
    /// What a query asks for, as a form writes it; what it does not say, or says in no way that is known, is as usual: those with
    /// the most lag first.
    pub(in crate::shell::http) fn of(query: &str) -> Self {
        let usual =
            Self { sort: Sort::Lag, is_descending: true, filter: String::new(), offset: 0, limit: LIMIT };
        form_urlencoded::parse(query.as_bytes()).fold(usual, |asked, (key, value)| match &*key {
            "sort" => Self { sort: Sort::of(&value).unwrap_or(asked.sort), ..asked },
            "order" => Self { is_descending: value != "asc", ..asked },
            "filter" => Self { filter: value.chars().take(MAX_FILTER_BYTES).collect(), ..asked },
            "offset" => Self { offset: value.parse().unwrap_or(asked.offset), ..asked },
            "limit" => Self {
                limit: value.parse().map_or(asked.limit, |limit: usize| limit.min(MAX_LIMIT)),
                ..asked
            },
            _ => asked,
        })
    }
}

impl Query {
    /// The files that match, in the order that is asked for. Equal ones stand in the order of their paths, whichever way the
    /// others are sorted.
    fn select<'a>(&self, all: &'a [FileStatus]) -> Vec<&'a FileStatus> {
        let wanted = self.filter.to_lowercase();
        let matches = |file: &&FileStatus| {
            wanted.is_empty() || file.path.to_string_lossy().to_lowercase().contains(&wanted)
        };
        let mut files: Vec<_> = all.iter().filter(matches).collect();
        files.sort_unstable_by(|a, b| {
            let order = self.sort.compare(a, b);
            let order = if self.is_descending { order.reverse() } else { order };
            order.then_with(|| a.path.cmp(&b.path)).then_with(|| a.identity.inode.cmp(&b.identity.inode))
        });
        files
    }
}

impl Sort {
    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "path" => Self::Path,
            "lag" => Self::Lag,
            "late" => Self::Late,
            "size" => Self::Size,
            "state" => Self::State,
            _ => return None,
        })
    }

    fn compare(self, a: &FileStatus, b: &FileStatus) -> Ordering {
        match self {
            Self::Path => a.path.cmp(&b.path),
            Self::Lag => lag_bytes(a).cmp(&lag_bytes(b)),
            // What has waited since earlier is later; what does not wait is not late at all.
            Self::Late => a.behind_since.map(Reverse).cmp(&b.behind_since.map(Reverse)),
            Self::Size => a.size.cmp(&b.size),
            Self::State => label(a.state).cmp(label(b.state)),
        }
    }
}

impl Files {
    /// The files that `query` asks for. Only those are written, however many there are.
    pub(in crate::shell::http) fn of(snapshot: &Snapshot, query: &Query) -> Self {
        let all = &snapshot.status.files.listed;
        let files = query.select(all);
        let offset = query.offset.min(files.len());
        let listed = files[offset..].iter().take(query.limit).map(|file| File::of(snapshot, file));
        Self { total: all.len(), matching: files.len(), offset, files: listed.collect() }
    }
}

const fn label(state: FileState) -> &'static str {
    match state {
        FileState::Followed => "followed",
        FileState::Draining => "draining",
        FileState::Truncated => "truncated",
    }
}

impl Unread {
    /// Each file that is named or matched and not read.
    pub(super) fn all(snapshot: &Snapshot) -> Vec<Self> {
        let name = |source| snapshot.source(source).to_string();
        let refused = snapshot.status.unreadable.named.iter().map(|(source, path, reason)| Unread {
            source: Some(name(*source)),
            path: path.display().to_string(),
            reason: reason.clone(),
        });
        let problems = snapshot.problems.named.iter().map(|problem| Unread {
            source: Some(name(problem.source)),
            path: problem.path.display().to_string(),
            reason: problem.reason.to_string(),
        });
        refused.chain(problems).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use crate::model::identity::Identity;
    use crate::model::offset::Offset;
    use crate::model::settings::{SourceId, StreamId};
    use crate::model::time::Instant;

    use super::*;

    fn file(path: &str, size: u64, lag: u64, behind_since: Option<u64>) -> FileStatus {
        FileStatus {
            source: SourceId(0),
            stream: StreamId(0),
            path: Path::new(path).into(),
            identity: Identity { device: 1, inode: 1, birth_nanos: None },
            state: FileState::Followed,
            size,
            read: Offset::new(size),
            acknowledged: Offset::new(size - lag),
            unsettled_bytes: lag,
            durable: None,
            behind_since: behind_since.map(|seconds| Instant::at(Duration::from_secs(seconds))),
        }
    }

    #[test]
    fn files_are_filtered_and_sorted_and_equal_ones_stand_by_their_paths() {
        let all = [
            file("/log/B.log", 30, 0, None),
            file("/log/a.log", 20, 5, Some(7)),
            file("/log/c.log", 10, 9, Some(9)),
            file("/other/d.log", 40, 0, None),
        ];
        for (query, expected) in [
            ("", "c.log a.log B.log d.log"),
            ("sort=lag&order=asc", "B.log d.log a.log c.log"),
            ("sort=late", "a.log c.log B.log d.log"),
            ("sort=size", "d.log B.log a.log c.log"),
            ("sort=path&order=asc", "B.log a.log c.log d.log"),
            ("sort=state", "B.log a.log c.log d.log"),
            ("filter=%2FLOG%2F", "c.log a.log B.log"),
            ("filter=nothing", ""),
        ] {
            let names: Vec<_> = Query::of(query)
                .select(&all)
                .into_iter()
                .map(|file| file.path.file_name().expect("a name").to_string_lossy())
                .collect();
            assert_eq!(names.join(" "), expected, "{query}");
        }
    }

    #[test]
    fn a_query_says_what_it_says_and_is_bounded() {
        let usual = Query::of("");
        assert_eq!((usual.sort, usual.is_descending, usual.offset, usual.limit), (Sort::Lag, true, 0, LIMIT));
        let asked = Query::of("sort=path&order=asc&filter=a%2Fb+c%25&offset=50&limit=10");
        let expected = Query {
            sort: Sort::Path,
            is_descending: false,
            filter: "a/b c%".to_owned(),
            offset: 50,
            limit: 10,
        };
        assert_eq!(asked, expected);
        assert_eq!(Query::of("limit=100000").limit, MAX_LIMIT);
        assert_eq!(Query::of("limit=-1&offset=x&sort=nothing&more=1"), usual);
    }
}

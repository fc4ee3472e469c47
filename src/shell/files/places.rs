//! Places whose files are never read: the state directory, and file systems of the kernel's.
//!
//! A log of what standpipe keeps would grow by being shipped; files of `proc` and the like are no logs, may block, or
//! change by being read. Knows directories and kinds of file systems. Does not know patterns. Called by the survey, and
//! by `open` for what was put into a name's place since.
//!
//! *Invariant:* what a path leads to is judged, never how the path is spelled.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::StatFs;

use super::{Links, Look, Refusal};

/// File systems that hold no logs, by what `statfs` calls them (`linux/magic.h`).
const OF_THE_KERNEL: [(u32, &str); 20] = [
    (0x9fa0, "proc"),
    (0x6265_6572, "sysfs"),
    (0x0027_e0eb, "cgroup"),
    (0x6367_7270, "cgroup2"),
    (0x7472_6163, "tracefs"),
    (0x6462_6720, "debugfs"),
    (0x7363_6673, "securityfs"),
    (0x6265_6570, "configfs"),
    (0xcafe_4a11, "bpf"),
    (0xde5e_81e4, "efivarfs"),
    (0x6165_676c, "pstore"),
    (0x1cd1, "devpts"),
    (0xf97c_ff8c, "selinuxfs"),
    (0x4249_4e4d, "binfmt_misc"),
    (0x6e73_6673, "nsfs"),
    (0x1980_0202, "mqueue"),
    (0x6573_5543, "fusectl"),
    (0x6759_6969, "rpc_pipefs"),
    (0x9584_58f6, "hugetlbfs"),
    (0x6e66_7364, "nfsd"),
];

/// What is refused, as far as it was looked at in one survey.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Device and inode of the state directory.
    state: Option<(u64, u64)>,
    /// By device: what its file system is called if it is refused.
    devices: HashMap<u64, Option<&'static str>>,
}

impl Places {
    /// `state_dir` may be empty: then there is none.
    pub(super) fn beside(state_dir: &Path) -> Self {
        let look = (!state_dir.as_os_str().is_empty()).then(|| Look::at(state_dir, Links::Follow));
        let state = look.and_then(Result::ok).map(|look| (look.identity.device, look.identity.inode));
        Self { state, devices: HashMap::new() }
    }

    /// Why nothing in the directory `path` is read, of which `look` says what it is.
    pub(super) fn refuse(&mut self, path: &Path, look: &Look) -> Option<Refusal> {
        let identity = look.identity;
        if self.state == Some((identity.device, identity.inode)) {
            return Some(Refusal::StateDirectory);
        }
        let ask = || rustix::fs::statfs(path).ok().and_then(|system| of_the_kernel(&system));
        self.devices.entry(identity.device).or_insert_with(ask).map(Refusal::OfTheKernel)
    }

    /// Why nothing below `path` is read, whatever directory on the way to it is the reason.
    pub(super) fn refuse_on_the_way(&mut self, path: &Path) -> Option<Refusal> {
        path.ancestors().find_map(|place| {
            let look = Look::at(place, Links::Follow).ok()?;
            self.refuse(place, &look)
        })
    }
}

/// Why an open file is not read.
pub(super) fn refuse_open(file: impl AsFd) -> Option<Refusal> {
    let system = rustix::fs::fstatfs(file).ok()?;
    of_the_kernel(&system).map(Refusal::OfTheKernel)
}

fn of_the_kernel(system: &StatFs) -> Option<&'static str> {
    // The kernel's numbers have 32 bits; how wide the field is, and whether it is signed, depends on the machine.
    let kind = system.f_type as u32;
    OF_THE_KERNEL.iter().find(|(known, _)| *known == kind).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_refused_for_what_it_is_and_for_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let deep = state.join("aside/deep");
        let link = dir.path().join("link");
        rustix::fs::mkdir(&state, rustix::fs::Mode::RWXU).unwrap();
        rustix::fs::mkdir(state.join("aside"), rustix::fs::Mode::RWXU).unwrap();
        rustix::fs::mkdir(&deep, rustix::fs::Mode::RWXU).unwrap();
        rustix::fs::symlink(&state, &link).unwrap();
        let mut places = Places::beside(&state);
        let kernel = Some(Refusal::OfTheKernel("proc"));
        let mine = Some(Refusal::StateDirectory);
        for (path, on_the_way) in [
            (dir.path(), None),
            (&state, mine.clone()),
            (&link, mine.clone()),
            (&deep, mine.clone()),
            (&link.join("aside"), mine.clone()),
            (Path::new("/proc/self"), kernel.clone()),
            (Path::new("/proc"), kernel),
        ] {
            assert_eq!(places.refuse_on_the_way(path), on_the_way, "{path:?}");
        }
        assert_eq!(Places::beside(Path::new("")).refuse_on_the_way(&state), None);
    }
}

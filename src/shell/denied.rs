//! Why the kernel denies a path to this process, and the command by which its owner grants it.
//!
//! Knows users, modes and the directories on the way. Changes nothing, and is asked only once something was denied.

use std::fmt::Write as _;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat, stat};
use rustix::io::Errno;

/// What a path is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A file's content, or a directory's names.
    Read,
    /// To change a file, or to make files in a directory.
    Write,
}

/// Who is denied what, and how it is granted; `None` where neither a mode nor a directory on the way denies it, as where a
/// security module does.
pub fn explain(path: &Path, wanted: Wanted) -> Option<String> {
    let mut way: Vec<&Path> = path.ancestors().skip(1).filter(|on_way| *on_way != Path::new("")).collect();
    way.reverse();
    if let Some(shut) = way.iter().find(|directory| is_denied(directory, Access::EXEC_OK)) {
        return told(shut, "go through", "x");
    }
    let is_directory = path.is_dir();
    let rest = [
        (Access::READ_OK, "read", if is_directory { "rx" } else { "r" }),
        (Access::WRITE_OK, "write", if is_directory { "rwx" } else { "rw" }),
    ];
    let most = if wanted == Wanted::Read { 1 } else { 2 };
    if let Some((_, does, letters)) = rest[..most].iter().find(|(access, ..)| is_denied(path, *access)) {
        return told(path, does, letters);
    }
    let parent = way.last().filter(|_| wanted == Wanted::Write && stat(path).err() == Some(Errno::NOENT));
    parent
        .filter(|parent| is_denied(parent, Access::WRITE_OK))
        .and_then(|parent| told(parent, "write into", "rwx"))
}

/// Whether the kernel denies this to the process as it acts now.
fn is_denied(path: &Path, access: Access) -> bool {
    matches!(accessat(CWD, path, access, AtFlags::EACCESS), Err(Errno::ACCESS | Errno::PERM))
}

fn told(path: &Path, does: &str, letters: &str) -> Option<String> {
    let look = stat(path).ok()?;
    let uid = rustix::process::geteuid().as_raw();
    let (mode, owner, group) = (look.st_mode & 0o7777, look.st_uid, look.st_gid);
    let place = path.display();
    let mut said =
        format!("uid {uid} may not {does} {place} (mode {mode:04o}, of uid {owner} and gid {group}); ");
    let _ = write!(said, "grant it with `setfacl -m u:{uid}:{letters} {}`", quoted(&place.to_string()));
    Some(said)
}

/// A path as a shell takes it for one word.
fn quoted(path: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+,:@%".contains(&byte);
    match path.bytes().all(is_plain) {
        true => path.to_owned(),
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests make the files that are denied")]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_word_of_a_shell_is_quoted_where_it_has_to_be() {
        for (path, word) in [
            ("/var/log/app-1.log", "/var/log/app-1.log"),
            ("/var/log/my app.log", "'/var/log/my app.log'"),
            ("/it's", r"'/it'\''s'"),
            ("/a;b", "'/a;b'"),
        ] {
            assert_eq!(quoted(path), word);
        }
    }

    #[test]
    fn what_is_told_has_user_mode_owner_and_command() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("app.log");
        fs::write(&file, "line\n").unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
        let (uid, place) = (rustix::process::geteuid().as_raw(), file.display());
        let said = told(&file, "read", "r").unwrap();
        assert!(
            said.starts_with(&format!("uid {uid} may not read {place} (mode 0640, of uid {uid} and gid ")),
            "{said}"
        );
        assert!(said.ends_with(&format!("grant it with `setfacl -m u:{uid}:r {place}`")), "{said}");
    }

    /// Only for those whom permissions stop.
    #[test]
    fn the_first_that_denies_it_is_named() {
        if rustix::process::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (inner, file) = (dir.path().join("in"), dir.path().join("in/app.log"));
        fs::create_dir(&inner).unwrap();
        fs::write(&file, "line\n").unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        let told = |path: &Path, wanted| explain(path, wanted).unwrap_or_default();
        assert_eq!(explain(&file, Wanted::Write), None, "nothing denies it");
        mode(&file, 0o200);
        assert!(told(&file, Wanted::Read).contains("may not read "));
        mode(&file, 0o400);
        assert!(told(&file, Wanted::Write).contains("may not write "));
        mode(&inner, 0o500);
        assert!(told(&inner.join("new"), Wanted::Write).contains("may not write into "));
        mode(&inner, 0o600);
        assert!(told(&file, Wanted::Read).contains(&format!("may not go through {} ", inner.display())));
        mode(&inner, 0o700);
    }
}

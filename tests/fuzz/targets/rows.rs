//! The state database with any value in any column: it opens, and what is damaged is left out, or it says why it does not.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rusqlite::Connection;
use standpipe::shell::store::{DeadLetterId, Reader, Store};

const COLUMNS: [&str; 26] = [
    "checkpoints.stream",
    "checkpoints.path",
    "checkpoints.device",
    "checkpoints.inode",
    "checkpoints.birth_nanos",
    "checkpoints.fingerprint_len",
    "checkpoints.fingerprint_hash",
    "checkpoints.offset",
    "checkpoints.window_len",
    "checkpoints.window_hash",
    "checkpoints.checksum",
    "checkpoints.target",
    "checkpoints.owner",
    "checkpoints.settled",
    "checkpoints.proof",
    "checkpoints.extras_checksum",
    "dead_letters.stream",
    "dead_letters.path",
    "dead_letters.offset",
    "dead_letters.code",
    "dead_letters.message",
    "dead_letters.data",
    "dead_letters.target",
    "dead_letters.unmade",
    "meta.next_incarnation",
    "meta.dead_letter_bytes",
];

/// A database that an earlier version wrote, brought up to date.
fn template() -> &'static [u8] {
    static TEMPLATE: OnceLock<Vec<u8>> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a directory");
        let golden = Path::new(env!("CARGO_MANIFEST_DIR"));
        let golden =
            golden.ancestors().map(|above| above.join("tests/state/golden/v4.db")).find(|path| path.exists());
        put(
            &dir.path().join("standpipe.db"),
            &fs::read(golden.expect("kept beside the tests")).expect("readable"),
        );
        drop(Store::open(dir.path()).expect("it opens"));
        fs::read(dir.path().join("standpipe.db")).expect("readable")
    })
}

fn put(path: &PathBuf, bytes: &[u8]) {
    fs::write(path, bytes).expect("writable");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("ours");
}

pub(crate) fn run(input: &[u8]) {
    let [column, kind, value @ ..] = input else { return };
    let (table, column) = COLUMNS[usize::from(*column) % COLUMNS.len()].split_once('.').expect("both");
    let dir = tempfile::tempdir().expect("a directory");
    let database = dir.path().join("standpipe.db");
    put(&database, template());
    let connection = Connection::open(&database).expect("it opens");
    let update = format!("UPDATE {table} SET {column} = ?1");
    let number =
        value.iter().fold(0i64, |number, byte| number.wrapping_mul(256).wrapping_add(i64::from(*byte)));
    // Where the schema refuses the value, nothing changes.
    let _ = match kind % 4 {
        0 => connection.execute(&update, [number]),
        1 => connection.execute(&update, [value]),
        2 => connection.execute(&update, [String::from_utf8_lossy(value)]),
        _ => connection.execute(&update, [None::<i64>]),
    };
    drop(connection);
    if let Ok(reader) = Reader::open(dir.path()) {
        let _ = reader.checkpoints();
        let _ = reader.dead_letters(DeadLetterId::default(), 16);
    }
    match Store::open(dir.path()) {
        Ok((_store, loaded)) => assert!(loaded.checkpoints.len() <= 2),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

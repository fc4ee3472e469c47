//! State that earlier versions wrote, kept as they wrote it: `golden/v1.db` is of schema version 1, and so on.
//!
//! When the schema changes, keep what is here, and add what the version before wrote.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use serde_json::{Value, json};

use crate::stage::Stage;

const VERSIONS: [&str; 7] = ["v1", "v2", "v3", "v4", "v5", "v6", "v7"];

fn stage_of(version: &str) -> Stage {
    let stage = Stage::new();
    fs::DirBuilder::new().mode(0o700).create(stage.state()).unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/state/golden/{version}.db"));
    let database = stage.state().join("standpipe.db");
    fs::copy(golden, &database).unwrap();
    fs::set_permissions(database, fs::Permissions::from_mode(0o600)).unwrap();
    stage
}

/// Paths with offsets, and the one dead letter.
fn check(stage: &Stage, version: &str) {
    let listed = stage.say(&["checkpoints", "list", "--json"]).json();
    let rows: Vec<_> = listed.as_array().unwrap().iter().map(|row| (&row["path"], &row["offset"])).collect();
    let expected =
        [(json!("/var/log/app/app.log"), json!(1400)), (json!("/var/log/app/other.log"), json!(13))];
    assert_eq!(rows, expected.each_ref().map(|(path, offset)| (path, offset)), "{version}");
    let exported = stage.say(&["dead-letters", "export"]);
    let letter: Value = exported.json();
    assert_eq!(letter["code"], "InvalidArgumentException", "{version}");
    assert_eq!(letter["file"], "/var/log/app/app.log", "{version}");
    assert_eq!(letter["source"], "app", "{version}");
}

#[test]
fn what_earlier_versions_wrote_is_read_and_kept() {
    for version in VERSIONS {
        let stage = stage_of(version);
        check(&stage, version);
        // A daemon brings it up to date, and gives up nothing.
        let mut daemon = stage.run();
        daemon.await_log("starting");
        assert_eq!(daemon.stop(), 0);
        check(&stage, version);
        let names = fs::read_dir(stage.state()).unwrap().map(|entry| entry.unwrap().file_name());
        let aside: Vec<_> = names.filter(|name| name.to_string_lossy().contains("corrupt")).collect();
        assert!(aside.is_empty(), "{version}: taken for corrupt: {aside:?}");
    }
}

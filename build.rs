//! Puts the commit into `--version`, when this is built from a checkout.

#![expect(clippy::disallowed_methods, reason = "a build script has only its environment")]

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=.git/HEAD");
    println!("cargo::rerun-if-changed=.git/refs");
    println!("cargo::rerun-if-env-changed=STANDPIPE_COMMIT");
    // A package build without .git names its commit in the environment.
    let given = std::env::var("STANDPIPE_COMMIT").ok();
    let commit = given.or_else(|| {
        let output = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    });
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    match commit {
        Some(commit) => println!("cargo::rustc-env=STANDPIPE_VERSION={version} ({commit})"),
        None => println!("cargo::rustc-env=STANDPIPE_VERSION={version}"),
    }
}

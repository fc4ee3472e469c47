//! Puts the commit into `--version`, when this is built from a checkout.

#![expect(clippy::disallowed_methods, reason = "a build script has only its environment")]

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // A file that is named and missing would run this with every build: in a linked worktree, `.git` is elsewhere.
    for name in ["HEAD", "refs"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name]).filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    println!("cargo::rerun-if-env-changed=STANDPIPE_COMMIT");
    // A package build without .git names its commit in the environment.
    let given = std::env::var("STANDPIPE_COMMIT").ok();
    let commit = given.or_else(|| git(&["rev-parse", "--short=12", "HEAD"]));
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    match commit {
        Some(commit) => println!("cargo::rustc-env=STANDPIPE_VERSION={version} ({commit})"),
        None => println!("cargo::rustc-env=STANDPIPE_VERSION={version}"),
    }
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

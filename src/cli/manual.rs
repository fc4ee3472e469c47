//! `standpipe manual`: man pages, for packages.
//!
//! Knows where they go, and how text is written for `man`; what they say is the command line's own definition, and the
//! example configuration.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory as _};

use super::{Arguments, DONE, fail, help};

/// The page about the configuration.
const CONFIGURATION_PAGE: &str = "standpipe.toml.5";

/// What stands before the example, as `man` reads it.
const HEAD: &str = r#".TH standpipe.toml 5 "" "" "standpipe"
.SH NAME
standpipe.toml \- configuration of standpipe(1)
.SH SYNOPSIS
/etc/standpipe/standpipe.toml
.SH DESCRIPTION
A file in TOML. Below is every key, with what it means; a key behind a # is shown with its default.
.PP
.B standpipe check
says what a configuration comes to, and each mistake in it with line, column and what to do.
.B standpipe schema
prints a JSON Schema by which editors complete and check it.
.SH KEYS
.nf
"#;

const FOOT: &str = ".fi
.SH SEE ALSO
.BR standpipe (1),
.BR standpipe-check (1)
";

/// Writes the man pages of standpipe, its commands and its configuration into a directory
#[derive(Args, Clone, Debug)]
pub(super) struct ManualArgs {
    /// An existing directory
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub(super) fn manual(args: &ManualArgs) -> u8 {
    let written = clap_mangen::generate_to(help::complete(Arguments::command()), &args.dir)
        .and_then(|()| put_in_sections(&args.dir))
        .and_then(|()| write(&args.dir.join(CONFIGURATION_PAGE), &configuration()));
    match written {
        Ok(()) => DONE,
        Err(error) => fail(&error),
    }
}

#[expect(clippy::disallowed_methods, reason = "packages want files")]
fn write(path: &Path, text: &str) -> io::Result<()> {
    std::fs::write(path, text)
}

/// Gives each page of section 1 the sections that man pages have.
#[expect(clippy::disallowed_methods, reason = "they were written a moment ago")]
fn put_in_sections(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("standpipe") && name.ends_with(".1") {
            write(&path, &help::in_sections(&std::fs::read_to_string(&path)?))?;
        }
    }
    Ok(())
}

/// The page of section 5.
fn configuration() -> String {
    let lines = crate::config::EXAMPLE.lines().map(verbatim);
    format!("{HEAD}{}{FOOT}", lines.collect::<String>())
}

/// One line that `man` shows as it is.
fn verbatim(line: &str) -> String {
    let line = line.replace('\\', r"\e").replace('-', r"\-");
    match line.starts_with(['.', '\'']) {
        true => format!("\\&{line}\n"),
        false => format!("{line}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_of_the_example_is_a_command_to_man() {
        for (line, expected) in [
            ("paths = [\"/a-b\"]", "paths = [\"/a\\-b\"]\n"),
            (".TH", "\\&.TH\n"),
            ("'x", "\\&'x\n"),
            (r"'^\d'", "\\&'^\\ed'\n"),
            ("", "\n"),
        ] {
            assert_eq!(verbatim(line), expected);
        }
        assert!(configuration().contains("max_streams = 100"), "each key is there");
    }
}

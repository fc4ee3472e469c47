//! What `--help` and the man pages say beyond flags: examples, variables of the environment, exit codes.
//!
//! Knows texts. A test parses each example by the command line's own definition.

use clap::Command;

/// An example: what it does, and how it is typed.
type Example = (&'static str, &'static str);

const EXAMPLES: [(&str, &[Example]); 13] = [
    (
        "run",
        &[
            ("The daemon, as a service runs it", "standpipe run -c /etc/standpipe/standpipe.toml"),
            (
                "One stream without a file",
                "standpipe run --stream app-logs --state-dir ./state '/var/log/app/*.log'",
            ),
            (
                "No AWS account: records appear below ./shipped/local",
                "standpipe run --local ./shipped '/var/log/app/*.log'",
            ),
            (
                "Everything that is there, and then done",
                "standpipe run --once --timeout 5m -c standpipe.toml",
            ),
        ],
    ),
    (
        "check",
        &[
            ("Every mistake at once, and what would go where", "standpipe check standpipe.toml"),
            ("Also credentials and each delivery stream", "standpipe check --online -c standpipe.toml"),
        ],
    ),
    (
        "preview",
        &[(
            "What records the first three lines of a file make",
            "standpipe preview -c standpipe.toml --lines 3 /var/log/app/app.log",
        )],
    ),
    ("example", &[("The smallest configuration", "standpipe example --minimal")]),
    ("schema", &[("For editors", "standpipe schema")]),
    (
        "status",
        &[
            ("A daemon, drawn until q is pressed", "standpipe status --watch"),
            (
                "Every pod behind a headless service",
                "standpipe status --discover dns:standpipe.logging.svc:9909",
            ),
            ("For scripts", "standpipe status --json --url http://127.0.0.1:9909"),
        ],
    ),
    ("shipped", &[("Whether a file may be deleted", "standpipe shipped --wait 30s /var/log/app/app.log.1")]),
    (
        "checkpoints",
        &[
            ("How far each file is shipped", "standpipe checkpoints list"),
            ("Ship a file again from its beginning", "standpipe checkpoints set /var/log/app/app.log 0"),
        ],
    ),
    (
        "dead-letters",
        &[
            ("What was refused, and why", "standpipe dead-letters list"),
            ("Send it again, once its reason is mended", "standpipe dead-letters replay --stream app-logs"),
        ],
    ),
    ("audit", &[("Which record has a byte of a file", "standpipe audit /var/log/app/app.log:1048576")]),
    ("cost", &[("What a month costs, and what packing would save", "standpipe cost")]),
    (
        "local",
        &[(
            "An endpoint for tests that refuses a tenth of all requests",
            "standpipe local --listen 127.0.0.1:4573 --dir ./shipped --fault unavailable=0.1",
        )],
    ),
    ("completions", &[("For bash", "standpipe completions bash")]),
];

const ENVIRONMENT: &str = "\
Environment:
  STANDPIPE_CONFIG   The configuration, where no -c names it; empty is none
  STATE_DIRECTORY    Where positions are kept, unless --state-dir or `state_dir` says it; set by systemd
  RUST_LOG           Which log lines are written, such as debug or standpipe=debug; before `[log] level`
  NO_COLOR           No colours
  AWS_REGION, AWS_PROFILE, AWS_ACCESS_KEY_ID, …
                     As for every tool of AWS, where the configuration does not say it
  NAME               Any other, where the configuration has ${NAME} or ${NAME:-default}

Exit codes:
  0   Done; the daemon also after SIGTERM
  64  Wrong command line
  74  The state directory cannot be read or written
  75  Another standpipe holds the state directory
  78  Wrong configuration, or state written by a newer version, which is left untouched
  1   Anything else; each command's help says what it means there";

const ELSEWHERE: &str = "Environment and exit codes: standpipe --help, or standpipe(1)";

/// What begins a part of the text, and the section of a man page that it is.
const HEADINGS: [(&str, &str); 3] =
    [("Examples:", "EXAMPLES"), ("Environment:", "ENVIRONMENT"), ("Exit codes:", "EXIT STATUS")];

/// `command` with all of it.
pub(super) fn complete(command: Command) -> Command {
    EXAMPLES.into_iter().fold(command.after_help(ENVIRONMENT), |command, (name, examples)| {
        let others = if name == "run" { ENVIRONMENT } else { ELSEWHERE };
        command
            .mut_subcommand(name, |command| command.after_help(format!("{}\n\n{others}", section(examples))))
    })
}

/// A man page with what stands behind the options in the sections that man pages have for it.
pub(super) fn in_sections(page: &str) -> String {
    let Some((before, rest)) = page.split_once(".SH EXTRA\n") else { return page.to_owned() };
    let (extra, after) = rest.find(".SH ").map_or((rest, ""), |at| rest.split_at(at));
    let mut text = before.to_owned();
    for line in extra.lines() {
        let heading = HEADINGS.iter().find(|(heading, _)| *heading == line);
        match heading {
            Some((_, section)) => text.push_str(&format!(".fi\n.SH {section}\n.nf\n")),
            None => text.push_str(&format!("{line}\n")),
        }
    }
    format!("{text}.fi\n{after}")
}

fn section(examples: &[Example]) -> String {
    let each = examples.iter().map(|(what, command)| format!("  # {what}\n  {command}"));
    format!("Examples:\n{}", each.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Arguments;

    #[test]
    fn a_man_page_has_its_examples_variables_and_exit_codes_in_sections() {
        let page = ".SH OPTIONS\n-h\n.SH EXTRA\nExamples:\n  a\n\nEnvironment:\n  b\n.SH VERSION\n1\n";
        let expected = ".SH OPTIONS\n-h\n.fi\n.SH EXAMPLES\n.nf\n  a\n\n.fi\n.SH ENVIRONMENT\n.nf\n  b\n.fi\n.SH VERSION\n1\n";
        assert_eq!(in_sections(page), expected);
        assert_eq!(in_sections(".SH NAME\n"), ".SH NAME\n");
        let help =
            complete(Arguments::command()).find_subcommand_mut("run").unwrap().render_help().to_string();
        for (heading, _) in HEADINGS {
            assert!(help.contains(heading), "{heading} {help}");
        }
    }

    #[test]
    fn each_command_that_is_shown_has_examples_and_each_of_them_is_understood() {
        let command = Arguments::command();
        let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
        let mut names: Vec<_> = shown.map(Command::get_name).collect();
        let mut with_examples: Vec<_> = EXAMPLES.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        with_examples.sort_unstable();
        assert_eq!(with_examples, names);
        for (name, examples) in EXAMPLES {
            for (_, example) in examples {
                let words = example.split(' ').map(|word| word.trim_matches('\''));
                let parsed = complete(Arguments::command()).try_get_matches_from(words);
                let parsed = parsed.unwrap_or_else(|error| panic!("{example}: {error}"));
                assert_eq!(parsed.subcommand_name(), Some(name));
            }
        }
    }
}

//! A daemon with its files, and everything that its surroundings say of AWS.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::fakes::Hose;
use crate::world::{Response, Running, eventually, get, text};

/// How long a line may wait for credentials that change.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(2);

/// How long mended credentials may take to count.
pub(crate) const MENDED_WITHIN: Duration = Duration::from_secs(8);

pub(crate) struct Stage {
    dir: TempDir,
    pub(crate) hose: Hose,
    aws: String,
    more: String,
    environment: Vec<(String, String)>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::to(Hose::start())
    }

    /// A daemon that ships to `hose`; nothing around it says who signs.
    pub(crate) fn to(hose: Hose) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["logs", "home", "home/.aws"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let stage = Self { dir, hose, aws: String::new(), more: String::new(), environment: Vec::new() };
        let home = text(&stage.path("home")).to_owned();
        stage.env("HOME", &home).env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_REGION", "us-east-1")
    }

    /// A variable; an empty one is as good as none.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Keys of nobody in the environment.
    pub(crate) fn with_keys(self) -> Self {
        self.env("AWS_ACCESS_KEY_ID", "AKID").env("AWS_SECRET_ACCESS_KEY", "secret")
    }

    /// Adds to `[aws]`.
    pub(crate) fn aws(mut self, line: &str) -> Self {
        self.aws += &format!("{line}\n");
        self
    }

    /// Adds to the configuration.
    pub(crate) fn configured(mut self, more: &str) -> Self {
        self.more += more;
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Replaces a file below the stage as a rotator of secrets does: at once.
    pub(crate) fn put(&self, name: &str, text: &str) {
        let path = self.path(name);
        let new = path.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, path).unwrap();
    }

    /// Static keys in the shared credentials file.
    pub(crate) fn keys_in_file(&self, key: &str) {
        let text = format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = s\n");
        self.put("home/.aws/credentials", &text);
    }

    pub(crate) fn write(&self, line: &str) {
        let path = self.path("logs").join("a.log");
        let mut file = fs::File::options().create(true).append(true).open(path).unwrap();
        writeln!(file, "{line}").unwrap();
    }

    pub(crate) fn config(&self) -> PathBuf {
        let path = self.path("standpipe.toml");
        let endpoint = match self.aws.contains("endpoint_url") {
            true => String::new(),
            false => format!("endpoint_url = {:?}\n", self.hose.fake.url()),
        };
        let config = format!(
            "state_dir = {:?}\n[health]\nlisten = \"127.0.0.1:0\"\n[shutdown]\ntimeout = \"300ms\"\n\
             [aws]\n{endpoint}{}[[source]]\nname = \"app\"\npaths = [{:?}]\nstream = \"logs\"\n[stream.logs]\n{}",
            self.path("state"),
            self.aws,
            self.path("logs").join("*.log"),
            self.more,
        );
        fs::write(&path, config).unwrap();
        path
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_standpipe"));
        command.args(args).args(["-c", text(&self.config())]).env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.envs(self.environment.iter().filter(|(_, value)| !value.is_empty()).cloned());
        command
    }

    pub(crate) fn run(self) -> Shipping {
        let began = Instant::now();
        let running = Running::of(self.command(&["run"]));
        let said = running.says("\"message\":\"health endpoint listens\"", "\n");
        let health = said.split_once("\"address\":\"").unwrap().1.split_once('"').unwrap().0;
        let health = health.parse().unwrap();
        Shipping { stage: self, running, health, began }
    }

    /// Exit code and output of `check --online` with more arguments.
    pub(crate) fn check(&self, args: &[&str]) -> (i32, String) {
        let output = self.command(&[&["check", "--online"], args].concat()).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    }
}

/// A stage with its daemon.
pub(crate) struct Shipping {
    pub(crate) stage: Stage,
    pub(crate) running: Running,
    health: std::net::SocketAddr,
    pub(crate) began: Instant,
}

impl Shipping {
    pub(crate) fn get(&self, target: &str) -> Response {
        get(self.health, target)
    }

    /// Writes a line and waits until it is there; how long that took.
    pub(crate) fn ship(&self, line: &str) -> Duration {
        let began = Instant::now();
        self.stage.write(line);
        eventually(&format!("{line} to arrive"), || self.stage.hose.has(line).then_some(()));
        began.elapsed()
    }

    /// Waits until `/readyz` says all of `words`.
    pub(crate) fn not_ready(&self, words: &[&str]) -> String {
        eventually(&format!("{words:?} as a reason"), || {
            let ready = self.get("/readyz");
            let has_all = words.iter().all(|word| ready.body.contains(word));
            (ready.code == 503 && has_all).then_some(ready.body)
        })
    }

    /// Lines of the log at a level.
    pub(crate) fn at_level(&self, level: &str) -> Vec<String> {
        let level = format!("\"level\":\"{level}\"");
        self.running.log().lines().filter(|line| line.contains(&level)).map(str::to_owned).collect()
    }

    pub(crate) fn told_no_error(&self) {
        assert_eq!(self.at_level("ERROR"), Vec::<String>::new());
    }
}

/// A command that prints credentials, as a script below the stage; each run leaves a line in `runs`.
pub(crate) fn process(stage: &Stage, output: &str) -> String {
    let (script, runs, printed) = (stage.path("keys.sh"), stage.path("runs"), stage.path("printed"));
    fs::write(&printed, output).unwrap();
    let text_of = format!("#!/bin/sh\necho run >> {}\ncat {}\n", text(&runs), text(&printed));
    fs::write(&script, text_of).unwrap();
    format!("/bin/sh {}", text(&script))
}

/// How often the command of [`process`] ran.
pub(crate) fn runs(path: &Path) -> usize {
    fs::read_to_string(path).unwrap_or_default().lines().count()
}

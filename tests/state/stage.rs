//! What the tests are played on: a directory with logs, a configuration and a state, a delivery stream that keeps
//! what it accepts, and the daemon as a process.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use standpipe::local::{Options, Quota, Server};
use tempfile::TempDir;
use tokio::runtime::Runtime;

pub const STREAM: &str = "app-logs";

/// Generous: it is only reached when something is broken.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// How often a loop turns: `usual` times, and `STANDPIPE_LOOPS` times as often when that is set.
pub fn loops(usual: usize) -> usize {
    std::env::var("STANDPIPE_LOOPS").map_or(1, |factor| factor.parse().expect("a number")) * usual
}

/// Waits until `done`; what it waits for is said when it never comes.
#[track_caller]
pub fn await_that(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "never came: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A delivery stream that accepts records.
pub struct Service {
    runtime: Runtime,
    server: Server,
    dir: PathBuf,
}

impl Service {
    pub fn start(dir: &Path) -> Self {
        let none = Quota { requests: 0, records: 0, bytes: 0 };
        Self::with(Options { quota: none, ..Options::new(dir) })
    }

    pub fn with(options: Options) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let dir = options.dir.clone();
        let server = runtime.block_on(Server::start(options)).unwrap();
        Self { runtime, server, dir }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Replaces the plan of faults.
    pub fn faults(&self, plan: &str) {
        let mut stream = TcpStream::connect(self.server.address()).unwrap();
        let head = "POST /_standpipe/faults HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json";
        write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{plan}", plan.len()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// Everything that was accepted, in the order of acceptance.
    pub fn accepted(&self, stream: &str) -> Vec<u8> {
        self.runtime.block_on(self.server.flush()).unwrap();
        let mut found = Vec::new();
        let mut waiting = vec![self.dir.join(stream)];
        while let Some(path) = waiting.pop() {
            match fs::read_dir(&path) {
                Ok(entries) => waiting.extend(entries.map(|entry| entry.unwrap().path())),
                Err(_) if path.file_name().unwrap().as_encoded_bytes().starts_with(b".") => {}
                Err(_) if path.is_file() => found.push(path),
                Err(_) => {}
            }
        }
        found.sort();
        found.iter().flat_map(|path| fs::read(path).unwrap()).collect()
    }

    /// How often each line was accepted.
    pub fn tally(&self, stream: &str) -> Tally {
        let mut tally = Tally::default();
        for line in self.accepted(stream).split_inclusive(|byte| *byte == b'\n') {
            *tally.0.entry(String::from_utf8(line.to_vec()).unwrap()).or_default() += 1;
        }
        tally
    }
}

/// How often each line arrived.
#[derive(Debug, Default)]
pub struct Tally(pub BTreeMap<String, u64>);

impl Tally {
    pub fn repeats(&self) -> u64 {
        self.0.values().map(|times| times - 1).sum()
    }

    /// Every line up to `count` arrived, and none that nobody wrote.
    #[track_caller]
    pub fn check(&self, count: usize) {
        let lost: Vec<_> = (0..count).filter(|number| !self.0.contains_key(&line(*number))).collect();
        assert!(lost.is_empty(), "{} of {count} lines lost, the first is {}", lost.len(), lost[0]);
        assert_eq!(self.0.len(), count, "lines arrived that nobody wrote");
    }
}

/// A line that knows its number and whether it is whole.
pub fn line(number: usize) -> String {
    let text = format!("{number:08} the quick brown fox jumps over the lazy dog");
    format!("{text} {:016x}\n", xxhash_rust::xxh3::xxh3_64(text.as_bytes()))
}

pub fn lines(numbers: std::ops::Range<usize>) -> String {
    numbers.map(line).collect()
}

/// Logs, configuration and state.
pub struct Stage {
    pub dir: TempDir,
    pub service: Service,
}

impl Stage {
    pub fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let service = Service::start(&dir.path().join("accepted"));
        let stage = Self { dir, service };
        fs::create_dir(stage.logs()).unwrap();
        stage.configure("");
        stage
    }

    pub fn logs(&self) -> PathBuf {
        self.dir.path().join("logs")
    }

    pub fn log(&self, name: &str) -> PathBuf {
        self.logs().join(name)
    }

    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub fn config(&self) -> PathBuf {
        self.dir.path().join("standpipe.toml")
    }

    /// One source for `logs/*.log`, and `more`.
    pub fn configure(&self, more: &str) {
        let logs = self.log("*.log");
        self.configure_all(&format!(
            "[[source]]\nname = \"app\"\npaths = [{logs:?}]\nstream = \"{STREAM}\"\n{more}"
        ));
    }

    /// Sources and whatever follows them.
    pub fn configure_all(&self, rest: &str) {
        let (state, url) = (self.state(), self.service.url());
        let text = format!(
            "state_dir = {state:?}\n[aws]\nregion = \"us-east-1\"\nendpoint_url = {url:?}\n\
             [health]\nlisten = \"off\"\n[log]\nformat = \"text\"\n{rest}"
        );
        fs::write(self.config(), text).unwrap();
    }

    pub fn append(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.log(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// A command line of the binary, with credentials that nobody checks.
    pub fn command(&self, args: &[&str]) -> Command {
        dressed(Command::new(env!("CARGO_BIN_EXE_standpipe")), args)
    }

    /// The same, run by another program.
    pub fn command_under(&self, wrapper: &[String], args: &[&str]) -> Command {
        let mut command = Command::new(&wrapper[0]);
        command.args(&wrapper[1..]).arg(env!("CARGO_BIN_EXE_standpipe"));
        dressed(command, args)
    }

    /// Runs a subcommand to its end, with this stage's configuration.
    pub fn say(&self, args: &[&str]) -> Said {
        let mut args = args.to_vec();
        let config = self.config();
        args.extend(["-c", config.to_str().unwrap()]);
        Said::of(self.command(&args).output().unwrap())
    }

    pub fn run(&self) -> Daemon {
        let config = self.config();
        Daemon::start(
            self.command(&["run", "-c", config.to_str().unwrap()]),
            self.dir.path().join("daemon.log"),
        )
    }

    pub fn run_under(&self, wrapper: &[String]) -> Daemon {
        let config = self.config();
        let command = self.command_under(wrapper, &["run", "-c", config.to_str().unwrap()]);
        Daemon::start(command, self.dir.path().join("daemon.log"))
    }

    /// Everything that is durable of these files.
    #[track_caller]
    pub fn await_shipped(&self, names: &[&str]) {
        let paths: Vec<_> = names.iter().map(|name| self.log(name).to_str().unwrap().to_owned()).collect();
        let mut args = vec!["shipped", "--wait", "60s"];
        args.extend(paths.iter().map(String::as_str));
        let said = self.say(&args);
        assert_eq!(said.code, 0, "{}", said.err);
    }
}

fn dressed(mut command: Command, args: &[&str]) -> Command {
    command.args(args).env("AWS_ACCESS_KEY_ID", "AKID").env("AWS_SECRET_ACCESS_KEY", "secret");
    for name in ["HTTP_PROXY", "http_proxy", "STATE_DIRECTORY", "RUST_LOG"] {
        command.env_remove(name);
    }
    command
}

/// What a subcommand said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

/// The daemon as a process; killed when dropped.
pub struct Daemon {
    child: Child,
    log: PathBuf,
    log_from: u64,
}

impl Daemon {
    pub fn start(mut command: Command, log: PathBuf) -> Self {
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let log_from = file.metadata().unwrap().len();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn().unwrap();
        Self { child, log, log_from }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        let text = fs::read(&self.log).unwrap();
        String::from_utf8_lossy(&text[usize::try_from(self.log_from).unwrap()..]).into_owned()
    }

    #[track_caller]
    pub fn await_log(&mut self, what: &str) {
        self.await_log_times(what, 1);
    }

    #[track_caller]
    pub fn await_log_times(&mut self, what: &str, times: usize) {
        let began = Instant::now();
        while self.log().matches(what).count() < times {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "ended with {ended:?} before it said {what:?}:\n{}", self.log());
            assert!(began.elapsed() < PATIENCE, "never said {what:?}:\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, as soon as it listens to signals; its exit code.
    #[track_caller]
    pub fn stop(mut self) -> i32 {
        self.await_log("starting");
        self.signal(rustix::process::Signal::TERM);
        self.wait()
    }

    /// Its exit code; the negative of the signal that ended it.
    #[track_caller]
    pub fn wait(mut self) -> i32 {
        use std::os::unix::process::ExitStatusExt as _;
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or_else(|| -status.signal().unwrap_or(0));
            }
            assert!(began.elapsed() < PATIENCE, "it does not end:\n{}", self.log());
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("what the daemon said:\n{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

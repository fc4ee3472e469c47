//! Other processes: what one used up, and the sink.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

/// The kernel counts processor time in hundredths of a second (`USER_HZ`), whatever its own clock is.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process used up.
#[derive(Debug)]
pub struct Used {
    pub user_seconds: f64,
    pub system_seconds: f64,
    pub wall_seconds: f64,
    pub peak_kib: u64,
}

impl Used {
    pub fn cpu_seconds(&self) -> f64 {
        self.user_seconds + self.system_seconds
    }
}

/// Runs `command` to its end, which must be a good one.
pub fn measure(command: &mut Command) -> Used {
    let began = Instant::now();
    let mut child = command.spawn().unwrap();
    let pid = Pid::from_child(&child);
    let mut peak_kib = 0;
    let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    // The last look may miss the last 5 ms of growth; the processor time of an ended process can still be read.
    while waitid(WaitId::Pid(pid), ended).unwrap().is_none() {
        peak_kib = peak_kib.max(high_water_kib(child.id()));
        std::thread::sleep(Duration::from_millis(5));
    }
    let wall_seconds = began.elapsed().as_secs_f64();
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    // The name in parentheses may hold anything; what follows it is numbers.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let seconds = |field: usize| fields[field].parse::<f64>().unwrap() / TICKS_PER_SECOND;
    let used = Used { user_seconds: seconds(11), system_seconds: seconds(12), wall_seconds, peak_kib };
    let status = child.wait().unwrap();
    assert!(status.success(), "{command:?}: {status}");
    used
}

fn high_water_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or(0, |value| value.trim().trim_end_matches(" kB").parse().unwrap())
}

/// A sink in its own process.
#[derive(Debug)]
pub struct Sink {
    child: Child,
    pub url: String,
    /// What clients must trust.
    authority: std::path::PathBuf,
}

/// What a sink was sent.
#[derive(Debug)]
pub struct Arrived {
    pub records: u64,
}

impl Sink {
    /// `wire` is `http` or `https`.
    pub fn start(wire: &str, dir: &Path) -> Self {
        let authority = dir.join("authority.pem");
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["sink", wire]).arg(&authority).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut url = String::new();
        BufReader::with_capacity(1, child.stdout.as_mut().unwrap()).read_line(&mut url).unwrap();
        Self { child, url: url.trim().to_owned(), authority }
    }

    /// Lets `command` reach this sink and no other.
    pub fn reach<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"] {
            command.env_remove(proxy);
        }
        command
            .env("AWS_ACCESS_KEY_ID", "bench")
            .env("AWS_SECRET_ACCESS_KEY", "bench")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("SSL_CERT_FILE", &self.authority)
            .env_remove("SSL_CERT_DIR")
    }

    pub fn stop(mut self) -> Arrived {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let mut text = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        self.child.wait().unwrap();
        Arrived { records: text.trim().parse().unwrap() }
    }
}

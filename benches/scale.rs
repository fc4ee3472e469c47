//! How cost grows: with files, with known positions, with the length of lines, with streams.
//!
//! `cargo bench --bench scale` runs the release binary against a sink in another process that accepts everything, and
//! prints a table for each. Arguments choose tables: `cargo bench --bench scale -- files`, `lines`, `streams`.
//! `--most N` leaves out cases of more than N files.

#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark starts processes, writes files and looks at clocks"
)]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark ends at the first surprise, and prints"
)]
#![expect(unreachable_pub, reason = "the rooms of a benchmark are for it alone")]

#[path = "cost/process.rs"]
mod process;
#[path = "cost/sink.rs"]
mod sink;

use std::fs;
use std::io::{BufWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use process::{Sink, Used, measure};
use rustix::process::{Pid, Signal, kill_process};

/// How long a daemon without anything to do is looked at.
const IDLE: Duration = Duration::from_secs(30);

/// How many bytes the table of line lengths ships for each.
const BYTES: usize = 100_000_000;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if args.first().is_some_and(|arg| arg == "sink") {
        return sink::serve(&args[1..]);
    }
    let most = args.iter().position(|arg| arg == "--most").map(|at| args[at + 1].parse().unwrap());
    let is_wanted = |table: &str| {
        let mut named =
            args.iter().filter(|arg| ["files", "lines", "streams"].contains(&arg.as_str())).peekable();
        named.peek().is_none() || named.any(|arg| arg == table)
    };
    if is_wanted("files") {
        files(most.unwrap_or(100_000));
    }
    if is_wanted("lines") {
        lines();
    }
    if is_wanted("streams") {
        streams();
    }
}

/// A daemon that runs.
struct Daemon {
    child: Child,
    port: u16,
}

impl Daemon {
    fn start(sink: &Sink, dir: &Path, config: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let path = dir.join("standpipe.toml");
        fs::write(&path, format!("{config}[health]\nlisten = \"127.0.0.1:{port}\"\n")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_standpipe"));
        command.args(["run", "-c"]).arg(path).stdout(Stdio::null()).stderr(Stdio::null());
        Self { child: sink.reach(&mut command).spawn().unwrap(), port }
    }

    /// The body of an answer, and the milliseconds that it took.
    fn get(&self, path: &str) -> Option<(String, f64)> {
        let began = Instant::now();
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        Some((body.to_owned(), began.elapsed().as_secs_f64() * 1000.0))
    }

    /// The sum of a metric over its labels.
    fn metric(&self, name: &str) -> f64 {
        let Some((text, _)) = self.get("/metrics") else { return 0.0 };
        let of_name = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
        of_name.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// User and system time so far, in seconds.
    fn cpu(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        [11, 12].map(|field: usize| fields[field].parse::<f64>().unwrap() / 100.0).iter().sum()
    }

    fn memory_mib(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }

    /// Waits until a metric has come so far; the seconds of CPU that this took.
    fn until(&self, name: &str, value: f64) -> f64 {
        // Asked seldom enough that the question costs nothing.
        while self.metric(name) < value {
            std::thread::sleep(Duration::from_millis(500));
        }
        self.cpu()
    }

    fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

/// Opening, waiting, questions, and a start with known positions.
fn files(most: usize) {
    println!("files of one line each, in directories of 1,000");
    println!(
        "{:>8}{:>14}{:>14}{:>12}{:>10}{:>14}{:>14}{:>16}",
        "files",
        "ship CPU-s",
        "ms a file",
        "idle CPU %",
        "RSS MiB",
        "/metrics ms",
        "/status ms",
        "start CPU-s"
    );
    for count in [1, 100, 10_000, 100_000].into_iter().filter(|count| *count <= most) {
        let dir = tempfile::tempdir().unwrap();
        for file in 0..count {
            let of = dir.path().join(format!("logs/{}", file / 1_000));
            if file % 1_000 == 0 {
                fs::create_dir_all(&of).unwrap();
            }
            fs::write(of.join(format!("{file}.log")), format!("the line of file {file}\n")).unwrap();
        }
        let sink = Sink::start("http", dir.path());
        let config = format!(
            "state_dir = \"{0}/state\"\n[aws]\nregion = \"us-east-1\"\nendpoint_url = \"{1}\"\n\
             [[source]]\npaths = [\"{0}/logs/*/*.log\"]\nstream = \"bench\"\n{2}",
            dir.path().display(),
            sink.url,
            stream("bench")
        );
        let daemon = Daemon::start(&sink, dir.path(), &config);
        let shipped = daemon.until("standpipe_records_delivered_total", count as f64);
        let before = daemon.cpu();
        std::thread::sleep(IDLE);
        let idle = (daemon.cpu() - before) / IDLE.as_secs_f64() * 100.0;
        let memory = daemon.memory_mib();
        let [metrics, status] = ["/metrics", "/status"].map(|path| daemon.get(path).unwrap().1);
        daemon.stop();
        let again = Daemon::start(&sink, dir.path(), &config);
        let known = again.until("standpipe_ready", 1.0);
        again.stop();
        assert_eq!(sink.stop().records, count as u64, "every line arrives once");
        println!(
            "{count:>8}{shipped:>14.2}{:>14.3}{idle:>12.2}{memory:>10.1}{metrics:>14.1}{status:>14.1}{known:>16.2}",
            shipped * 1000.0 / count as f64
        );
    }
}

/// A stream that nothing limits.
fn stream(name: &str) -> String {
    format!(
        "[stream.{name}]\napi = \"auto\"\nquota = {{ requests_per_second = 4000000, records_per_second = 4000000, \
         bytes_per_second = \"4GB\", share = 1.0 }}\n"
    )
}

/// The same number of bytes in lines of several lengths.
fn lines() {
    println!("{} MB in one file", BYTES / 1_000_000);
    println!(
        "{:>10}{:>12}{:>14}{:>12}{:>12}{:>12}",
        "bytes", "lines", "CPU-s/M", "CPU-s/GB", "lines/s", "peak MiB"
    );
    for len in [20, 185, 2_000, 100_000] {
        let dir = tempfile::tempdir().unwrap();
        let count = BYTES / len;
        write_lines(&dir.path().join("logs/app.log"), count, len);
        let used = once(dir.path(), count, &[("bench", "app.log".into())]);
        println!(
            "{len:>10}{count:>12}{:>14.2}{:>12.2}{:>12.0}{:>12.1}",
            used.cpu_seconds() * 1e6 / count as f64,
            used.cpu_seconds() * 1e9 / BYTES as f64,
            count as f64 / used.wall_seconds,
            mib(&used)
        );
    }
}

fn mib(used: &Used) -> f64 {
    used.peak_kib as f64 / 1024.0
}

/// A million lines, each stream's in a file of its own.
fn streams() {
    println!("1,000,000 lines of 185 bytes");
    println!("{:>10}{:>12}{:>12}", "streams", "CPU-s", "peak MiB");
    for count in [1, 10, 100] {
        let dir = tempfile::tempdir().unwrap();
        let names: Vec<_> = (0..count).map(|of| format!("bench{of}")).collect();
        for name in &names {
            write_lines(&dir.path().join(format!("logs/{name}.log")), 1_000_000 / count, 185);
        }
        let sources: Vec<_> =
            names.iter().map(|name| (name.as_str(), PathBuf::from(format!("{name}.log")))).collect();
        let used = once(dir.path(), 1_000_000, &sources);
        println!("{count:>10}{:>12.2}{:>12.1}", used.cpu_seconds(), mib(&used));
    }
}

/// Ships files once, each to a stream.
fn once(dir: &Path, lines: usize, sources: &[(&str, PathBuf)]) -> Used {
    let sink = Sink::start("http", dir);
    let mut config = format!(
        "state_dir = \"{}/state\"\n[aws]\nregion = \"us-east-1\"\nendpoint_url = \"{}\"\n[health]\nlisten = \"off\"\n",
        dir.display(),
        sink.url
    );
    for (name, file) in sources {
        let path = dir.join("logs").join(file);
        config +=
            &format!("[[source]]\nname = {name:?}\npaths = [{path:?}]\nstream = {name:?}\n{}", stream(name));
    }
    let path = dir.join("standpipe.toml");
    fs::write(&path, config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_standpipe"));
    command.args(["run", "--once", "-c"]).arg(path).stdout(Stdio::null()).stderr(Stdio::null());
    let used = measure(sink.reach(&mut command));
    assert_eq!(sink.stop().records, lines as u64, "every line arrives once");
    used
}

fn write_lines(path: &Path, count: usize, len: usize) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut to = BufWriter::new(fs::File::create(path).unwrap());
    for line in 0..count {
        let number = line.to_string();
        writeln!(to, "{}{number}", "0".repeat(len - 1 - number.len())).unwrap();
    }
    to.flush().unwrap();
}

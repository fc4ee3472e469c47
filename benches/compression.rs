//! What compression does at the quota: lines a second, bytes, and CPU seconds a million lines.
//!
//! `cargo bench --bench compression` writes lines of 200 bytes like those of a web server, has the release binary ship them
//! with `packing = "on"` and the default quota to `standpipe local` with the same quota, with and without
//! `compression = "gzip"`, and compares what arrived with what was written. `-- plain` and `-- gzip` are one case each.

#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark starts processes, writes files and looks at clocks"
)]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark ends at the first surprise, and prints"
)]

use std::fs;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use flate2::read::MultiGzDecoder;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

const LINE_BYTES: usize = 200;

/// The kernel counts processor time in hundredths of a second (`USER_HZ`), whatever its own clock is.
const TICKS_PER_SECOND: f64 = 100.0;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    println!("lines of {LINE_BYTES} bytes, at the default quota");
    println!("{:<8}{:>12}{:>12}{:>14}{:>12}", "case", "lines", "lines/s", "bytes/line", "CPU-s/M");
    // Long enough that the second which the quota gives in advance is little.
    for (name, settings, lines) in [("plain", "", 600_000), ("gzip", "compression = \"gzip\"\n", 4_000_000)] {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            case(name, settings, lines);
        }
    }
}

/// Writes lines of which the fields vary as a web server's do.
fn write_lines(file: &Path, lines: u64) {
    const AGENTS: [&str; 4] = [
        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Safari/604.1",
        "curl/8.10.1",
        "kube-probe/1.31",
    ];
    const WHAT: [&str; 6] = ["orders", "users", "carts", "items/search", "login", "static/app.js"];
    let mut rng = fastrand::Rng::with_seed(1);
    let mut out = BufWriter::new(fs::File::create(file).unwrap());
    for number in 0..lines {
        let (agent, what) = (AGENTS[rng.usize(..4)], WHAT[rng.usize(..6)]);
        let mut line = format!(
            "10.{}.{}.{} - - [24/Nov/2026:08:{:02}:{:02} +0000] \"GET /api/v1/{what}/{} HTTP/1.1\" {} {} \"-\" \"{agent}\" {}",
            rng.u8(0..4),
            rng.u8(..),
            rng.u8(..),
            number / 60_000 % 60,
            number / 1_000 % 60,
            rng.u32(..100_000),
            [200, 200, 200, 304, 404, 500][rng.usize(..6)],
            rng.u32(..50_000),
            rng.u32(..1_000),
        );
        // The rest is a request's number, as tracing gives it: nothing to compress.
        line.truncate(LINE_BYTES - 1);
        while line.len() < LINE_BYTES - 1 {
            line.push(if line.len() + 16 < LINE_BYTES {
                ' '
            } else {
                char::from_digit(rng.u32(..16), 16).unwrap()
            });
        }
        writeln!(out, "{line}").unwrap();
    }
    out.flush().unwrap();
}

fn case(name: &str, settings: &str, lines: u64) {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let logs = dir.join("app.log");
    write_lines(&logs, lines);
    let mut service = standpipe(&["local", "--listen", "127.0.0.1:0", "--dir"])
        .arg(dir.join("out"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(service.stdout.as_mut().unwrap()).read_line(&mut url).unwrap();
    let config = dir.join("standpipe.toml");
    let text = format!(
        "state_dir = {:?}\n[aws]\nregion = \"us-east-1\"\nendpoint_url = {:?}\n[[source]]\npaths = [{logs:?}]\n\
         stream = \"bench\"\n[stream.bench]\napi = \"auto\"\nordered = true\npacking = \"on\"\n{settings}[health]\nlisten = \"off\"\n",
        dir.join("state"),
        url.trim()
    );
    fs::write(&config, text).unwrap();
    let (seconds, cpu_seconds) = ship(&config);
    // What it accepted is delivered before it ends.
    kill_process(Pid::from_child(&service), Signal::TERM).unwrap();
    service.wait().unwrap();
    let mut arrived = Vec::new();
    collect(&dir.join("out/bench"), &mut arrived);
    let (bytes, million) = (arrived.len() as f64, lines as f64 / 1e6);
    let mut plain = Vec::new();
    match settings {
        "" => plain = arrived,
        _ => drop(MultiGzDecoder::new(&arrived[..]).read_to_end(&mut plain).unwrap()),
    }
    assert!(plain == fs::read(&logs).unwrap(), "every line arrived once, in its order");
    println!(
        "{name:<8}{lines:>12}{:>12.0}{:>14.1}{:>12.2}",
        lines as f64 / seconds,
        bytes / lines as f64,
        cpu_seconds / million
    );
}

fn standpipe(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_standpipe"));
    command.args(args).env("AWS_ACCESS_KEY_ID", "bench").env("AWS_SECRET_ACCESS_KEY", "bench");
    for proxy in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        command.env_remove(proxy);
    }
    command
}

/// One pass over the files: how long it took, and the processor time.
fn ship(config: &Path) -> (f64, f64) {
    let began = Instant::now();
    let mut command = standpipe(&["run", "--once", "-c"]);
    let mut daemon = command.arg(config).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    while waitid(WaitId::Pid(Pid::from_child(&daemon)), ended).unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let seconds = began.elapsed().as_secs_f64();
    let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.id())).unwrap();
    // The name in parentheses may hold anything; what follows it is numbers.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let cpu: f64 = [11, 12].map(|field: usize| fields[field].parse::<f64>().unwrap()).iter().sum();
    assert!(daemon.wait().unwrap().success());
    (seconds, cpu / TICKS_PER_SECOND)
}

/// What lies below a directory, one behind the other in the order of names, which is that of time.
fn collect(dir: &Path, all: &mut Vec<u8>) {
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() { collect(&path, all) } else { all.extend(fs::read(&path).unwrap()) }
    }
}

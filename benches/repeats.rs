//! What a crash repeats: `kill -9` in the middle of a backlog, then a start that finishes it.
//!
//! `cargo bench --bench repeats` writes 300,000 lines, has the release binary ship them to `standpipe local`, kills it
//! when 30 % are accepted, starts it again, and counts what arrived twice: at the default settings, where the quota
//! makes a run last three minutes, and in `auto` without quotas.

#![expect(clippy::disallowed_methods, reason = "a benchmark starts processes and writes files")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark ends at the first surprise, and prints"
)]

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const LINES: u64 = 300_000;
const KILLED_AT: u64 = LINES * 3 / 10;
const LINE_BYTES: usize = 185;

fn main() {
    println!("{LINES} lines of {LINE_BYTES} bytes, killed when {KILLED_AT} are accepted");
    println!("{:<24}{:>12}{:>12}{:>12}", "case", "accepted", "repeated", "lost");
    case("default", &[], "");
    let none = ["--quota-requests", "0", "--quota-records", "0", "--quota-bytes", "0"];
    let quota = "quota = { requests_per_second = 4000000, records_per_second = 4000000, bytes_per_second = \"4GB\", share = 1.0 }";
    case("auto, no quotas", &none, &format!("[stream.bench]\napi = \"auto\"\n{quota}\n"));
}

fn case(name: &str, quotas: &[&str], stream: &str) {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let logs = dir.join("app.log");
    let mut text = Vec::new();
    for number in 0..LINES {
        writeln!(text, "{number:0width$}", width = LINE_BYTES - 1).unwrap();
    }
    fs::write(&logs, text).unwrap();

    let mut service = standpipe(&["local", "--listen", "127.0.0.1:0", "--dir"])
        .arg(dir.join("out"))
        .args(quotas)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(service.stdout.as_mut().unwrap()).read_line(&mut url).unwrap();
    let address = url.trim().trim_start_matches("http://").to_owned();

    let config = dir.join("standpipe.toml");
    let aws = format!("[aws]\nregion = \"us-east-1\"\nendpoint_url = {:?}\n", url.trim());
    let source =
        format!("[[source]]\npaths = [{logs:?}]\nstream = \"bench\"\n{stream}[health]\nlisten = \"off\"\n");
    fs::write(&config, format!("state_dir = {:?}\n{aws}{source}", dir.join("state"))).unwrap();

    let mut daemon = ship(&config, &[]);
    let killed_at = loop {
        let accepted = accepted(&address);
        if accepted >= KILLED_AT {
            break accepted;
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    assert!(ship(&config, &["--once"]).wait().unwrap().success());

    // It delivers what it accepted before it ends.
    let pid = rustix::process::Pid::from_child(&service);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    service.wait().unwrap();
    let mut times: HashMap<Vec<u8>, u64> = HashMap::new();
    count(&dir.join("out/bench"), &mut times);
    let repeated: u64 = times.values().map(|times| times - 1).sum();
    println!("{name:<24}{killed_at:>12}{repeated:>12}{:>12}", LINES - times.len() as u64);
}

fn standpipe(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_standpipe"));
    command.args(args).env("AWS_ACCESS_KEY_ID", "bench").env("AWS_SECRET_ACCESS_KEY", "bench");
    for proxy in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        command.env_remove(proxy);
    }
    command
}

fn ship(config: &Path, more: &[&str]) -> Child {
    let mut command = standpipe(&["run", "-c"]);
    command.arg(config).args(more).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn accepted(address: &str) -> u64 {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /_standpipe/stats HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let body: serde_json::Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    body["streams"]["bench"]["accepted"]["records"].as_u64().unwrap_or(0)
}

fn count(dir: &Path, times: &mut HashMap<Vec<u8>, u64>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            count(&path, times);
            continue;
        }
        for line in fs::read(&path).unwrap().split_inclusive(|byte| *byte == b'\n') {
            *times.entry(line.to_vec()).or_default() += 1;
        }
    }
}

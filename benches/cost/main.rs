//! What shipping costs: CPU seconds a million lines, lines a second, peak memory.
//!
//! `cargo bench --bench cost` writes 1,000,000 lines of 185 bytes into one file and into 100 files, ships them with
//! the release binary to a sink in another process, and prints one row for each case. Nothing limits the rate.
//! Arguments choose cases: `cargo bench --bench cost -- one-file auto`. `--lines N` writes another number of lines.
//!
//! The case `sdk` is the yardstick: the same records through the SDK alone, in a process that does nothing else.

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

mod process;
mod sdk;
mod sink;

use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use process::{Sink, Used, measure};

/// What peers were measured with: see `docs/performance.md`.
const LINES: u64 = 1_000_000;
const LINE_BYTES: usize = 185;
const MANY_FILES: u64 = 100;

/// The APIs, with more of the stream's table.
const CASES: [(&str, &str); 4] =
    [("auto", ""), ("put_record", ""), ("put_record_batch", ""), ("put_record_batch", "audit = true\n")];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("sink") => return sink::serve(&args[1..]),
        Some("sdk-alone") => return sdk::run(&args[1..]),
        _ => {}
    }
    // cargo adds `--bench`.
    let mut wanted: Vec<&str> = Vec::new();
    let mut lines = LINES;
    let mut words = args.iter().map(String::as_str).filter(|word| *word != "--bench");
    while let Some(word) = words.next() {
        match word {
            "--lines" => lines = words.next().expect("a number of lines").parse().unwrap(),
            other => wanted.push(other),
        }
    }
    let dir = tempfile::tempdir().unwrap();
    println!("{lines} lines of {LINE_BYTES} bytes");
    println!("{:<34}{:>12}{:>12}{:>12}{:>12}", "case", "CPU-s/M", "user-s/M", "lines/s", "peak MiB");
    for files in [1, MANY_FILES] {
        let logs = dir.path().join(format!("{files}"));
        for (api, more) in CASES {
            for wire in ["http", "https"] {
                let name = format!(
                    "{} {api} {wire}{}",
                    if files == 1 { "one-file" } else { "many-files" },
                    if more.is_empty() { "" } else { " audit" }
                );
                if !wanted.iter().all(|word| name.split(' ').any(|part| part == *word)) {
                    continue;
                }
                if !logs.exists() {
                    write_lines(&logs, files, lines);
                }
                let sink = Sink::start(wire, dir.path());
                let used = ship(&sink, &logs, (api, more), dir.path());
                let arrived = sink.stop();
                assert_eq!(arrived.records, lines, "every line arrives once");
                row(&name, lines, &used);
            }
        }
    }
    for wire in ["http", "https"] {
        let name = format!("sdk put_record {wire}");
        if wanted.iter().all(|word| name.split(' ').any(|part| part == *word)) {
            let sink = Sink::start(wire, dir.path());
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["sdk-alone", &sink.url, &lines.to_string(), &LINE_BYTES.to_string()]);
            let used = measure(sink.reach(&mut command));
            assert_eq!(sink.stop().records, lines);
            row(&name, lines, &used);
        }
    }
}

fn row(name: &str, lines: u64, used: &Used) {
    let millions = lines as f64 / 1e6;
    println!(
        "{name:<34}{:>12.2}{:>12.2}{:>12.0}{:>12.1}",
        used.cpu_seconds() / millions,
        used.user_seconds / millions,
        lines as f64 / used.wall_seconds,
        used.peak_kib as f64 / 1024.0,
    );
}

fn ship(sink: &Sink, logs: &Path, (api, more): (&str, &str), dir: &Path) -> Used {
    let state = dir.join("state");
    let _ = fs::remove_dir_all(&state);
    let config = dir.join("standpipe.toml");
    let text = format!(
        "state_dir = {state:?}\n\
         [aws]\nregion = \"us-east-1\"\nendpoint_url = {:?}\n\
         [[source]]\npaths = [\"{}/*.log\"]\nstream = \"bench\"\n\
         [stream.bench]\napi = {api:?}\n{more}\
         quota = {{ requests_per_second = 4000000, records_per_second = 4000000, bytes_per_second = \"4GB\", share = 1.0 }}\n\
         [health]\nlisten = \"off\"\n",
        sink.url,
        logs.display(),
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_standpipe"));
    command.args(["run", "--once", "-c"]).arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
    measure(sink.reach(&mut command))
}

/// Each line is another one, and looks like an access log's.
fn write_lines(logs: &Path, files: u64, lines: u64) {
    fs::create_dir_all(logs).unwrap();
    for file in 0..files {
        let path: PathBuf = logs.join(format!("app-{file:03}.log"));
        let mut to = BufWriter::new(fs::File::create(path).unwrap());
        for line in (file * lines / files)..((file + 1) * lines / files) {
            let mut text = format!(
                "10.0.{}.{} - - [14/Nov/2026:10:23:{:02} +0000] \"GET /api/v1/orders/{line:012} HTTP/1.1\" 200 {} \
                 \"-\" \"Mozilla/5.0 (X11; Linux x86_64)\" rt=0.0{:02}",
                line % 256,
                line * 7 % 256,
                line % 60,
                line * 37 % 90_000,
                line % 100,
            );
            text.extend(std::iter::repeat_n('x', LINE_BYTES - 1 - text.len()));
            text.push('\n');
            to.write_all(text.as_bytes()).unwrap();
        }
        to.flush().unwrap();
    }
}

//! Another process of the same machine, or a page in a browser on it: it reaches the ports that are for others.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use crate::assert_plain;
use crate::world::{PATIENCE, Running, World, append, delivered, eventually, exchange, standpipe, text};

/// Hosts that a page of the web could have lead to this machine.
const FOREIGN: [&str; 8] = [
    "evil.example",
    "evil.example:9909",
    "localhost.evil.example:9909",
    "127.0.0.1.evil.example",
    "[::1].evil.example",
    "metrics.example.evil",
    "evil.example@127.0.0.1",
    "",
];

fn asked_as(address: SocketAddr, target: &str, host: &str) -> u16 {
    exchange(address, &format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).code
}

#[test]
fn the_health_endpoint_answers_to_no_name_of_a_stranger() {
    let world = World::new();
    let config = world.config();
    let named = fs::read_to_string(&config)
        .unwrap()
        .replace("[health]\n", "[health]\nhosts = [\"Metrics.Example\"]\n");
    let path = world.dir().join("named.toml");
    fs::write(&path, named).unwrap();
    let daemon = world.run_in(|command| {
        *command = standpipe(&["run", "-c", text(&path)]);
    });
    let mut tried = 0;
    for target in ["/", "/livez", "/readyz", "/healthz", "/status", "/metrics", "/history", "/config"] {
        for host in FOREIGN {
            assert_eq!(asked_as(daemon.health, target, host), 403, "{target} as {host:?}");
            tried += 1;
        }
        let port = daemon.health.port();
        for host in [&format!("127.0.0.1:{port}"), "LOCALHOST", "[::1]:80", "metrics.example:443"] {
            assert_ne!(asked_as(daemon.health, target, host), 403, "{target} as {host:?}");
            tried += 1;
        }
    }
    eprintln!("{tried} requests");
}

#[test]
fn readers_that_do_not_read_cost_a_bounded_part_of_what_they_asked_for() {
    // Each file is some thousands of bytes of `/status`: all of it is more than the kernel takes for a reader.
    let deep = vec!["d".repeat(250); 12].join("/");
    let world = World::new().matching(format!("{deep}/*.log").leak());
    fs::create_dir_all(world.file(&deep)).unwrap();
    for number in 0..3_000 {
        fs::write(world.file(&format!("{deep}/{number}.log")), "").unwrap();
    }
    let daemon = world.run();
    let size = eventually("every file to be followed", || {
        let answer = daemon.get("/status").body;
        (answer.matches("\"inode\"").count() == 3_000).then_some(answer.len())
    });
    let before = resident_bytes(daemon.running.id());
    let readers: Vec<_> = (0..40)
        .map(|_| {
            let mut socket = TcpStream::connect(daemon.health).unwrap();
            socket.write_all(b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            // The answer has begun: it is made, and the rest waits.
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.read_exact(&mut [0; 12]).unwrap();
            socket
        })
        .collect();
    let grown = resident_bytes(daemon.running.id()).saturating_sub(before);
    let copies = readers.len() * size;
    assert!(size > 8 << 20, "{size} bytes are no large answer");
    assert!(grown < copies / 2, "{grown} bytes for {} readers of {size} bytes each", readers.len());
    // Who reads gets all of it meanwhile.
    assert_eq!(daemon.get("/status").body.matches("\"inode\"").count(), 3_000);
    eprintln!("{} readers of {size} bytes: {grown} bytes", readers.len());
}

/// What a process has in memory.
fn resident_bytes(id: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// Asks on a connection that stays open, and reads the answer; whether there was one.
fn still_answers(socket: &mut TcpStream) -> bool {
    if socket.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").is_err() {
        return false;
    }
    let mut answer = Vec::new();
    let mut piece = [0; 1024];
    while !answer.ends_with(b"alive\n") {
        match socket.read(&mut piece) {
            Ok(0) | Err(_) => return false,
            Ok(count) => answer.extend_from_slice(&piece[..count]),
        }
    }
    true
}

#[test]
fn the_connection_that_was_asked_the_longest_ago_makes_room() {
    let world = World::new();
    let daemon = world.run();
    let connect = || {
        let socket = TcpStream::connect(daemon.health).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    };
    // As many as there is room for, each of which has been answered.
    let mut open: Vec<_> = (0..64).map(|_| connect()).collect();
    for socket in &mut open {
        assert!(still_answers(socket));
    }
    // The first to come is the last to have been asked.
    assert!(still_answers(&mut open[0]));
    let mut more: Vec<_> = (0..10).map(|_| connect()).collect();
    for socket in &mut more {
        assert!(still_answers(socket), "who comes finds room");
    }
    assert!(still_answers(&mut open[0]), "who was asked since then stays");
    for socket in &mut open[1..11] {
        assert!(!still_answers(socket), "who was asked the longest ago is gone");
    }
    for socket in &mut open[11..] {
        assert!(still_answers(socket), "and nobody else");
    }
    eprintln!("{} connections", open.len() + more.len());
}

/// Answers one connection at a time with these bytes for ever or once, and then keeps quiet or closes.
fn impostor(said: Vec<u8>, forever: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            let _ = socket.read(&mut [0; 4096]);
            while socket.write_all(&said).is_ok() && forever {}
        }
    });
    address
}

fn answer(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

#[test]
fn the_status_command_believes_nothing_of_what_answers_at_the_port() {
    let world = World::new();
    append(&world.file("a.log"), "1\n");
    let daemon = world.run();
    daemon.settle();
    let real = daemon.get("/status").body;
    let uptime = format!("\"uptime_seconds\": {}", daemon_number(&real, "uptime_seconds"));
    let with_uptime = |number: &str| answer(&real.replace(&uptime, &format!("\"uptime_seconds\": {number}")));
    let evil = "\\u001b]0;owned\\u0007\\nFORGED \\u009b2J\u{202e}\u{7f}\u{2028}";
    let endless = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n[[[[[[[[".repeat(64);
    let chunk = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}", "1\r\n[\r\n".repeat(1000));
    let answers = [
        ("nothing", Vec::new(), false),
        ("no HTTP", b"\x1b[2J\x07 hello\n".to_vec(), false),
        ("a head without end", b"HTTP/1.1 200 OK\r\nX: \x1b[2J".repeat(100_000), true),
        ("an answer without end", endless, true),
        ("levels without end", chunk.into_bytes(), true),
        ("no JSON", answer("<html>\u{1b}[2J"), false),
        ("another document", answer("{\"version\": \"\u{202e}\\u001b[2J\"}"), false),
        ("less than nothing", with_uptime("-1"), false),
        ("more than there is", with_uptime("1e300"), false),
        ("no number", with_uptime("1e999"), false),
        ("a text", with_uptime("\"\\u001b[2J\u{202e}\""), false),
        (
            "words that steer",
            answer(&real.replace("a.log", evil).replace("\"idle\"", &format!("\"{evil}\""))),
            false,
        ),
        ("a long text", answer(&real.replace("\"idle\"", &format!("\"{}\"", "long".repeat(1 << 20)))), false),
        ("an error", b"HTTP/1.1 500 \x1b[2JFORGED\r\nContent-Length: 0\r\n\r\n".to_vec(), false),
        (
            "another place",
            b"HTTP/1.1 302 Found\r\nLocation: http://evil.example/\r\nContent-Length: 0\r\n\r\n".to_vec(),
            false,
        ),
    ];
    let count = answers.len();
    for (what, said, forever) in answers {
        let url = format!("http://{}", impostor(said, forever));
        for args in [&["status", "--url"][..], &["status", "--json", "--url"]] {
            let Output { status, stdout, stderr } = standpipe(args).arg(&url).output().unwrap();
            let is_shown = ["words that steer", "a long text"].contains(&what);
            assert_eq!(
                status.code(),
                Some(if is_shown { 0 } else { 1 }),
                "{what}: {}",
                String::from_utf8_lossy(&stderr)
            );
            let (out, complaint) = (assert_plain(what, &stdout), assert_plain(what, &stderr));
            assert_eq!(out.is_empty(), !is_shown, "{what}: {out}");
            assert!(complaint.len() < 1_000, "{what}: {complaint}");
            assert!(args.contains(&"--json") || out.len() < 64 * 1024, "{what}: {} bytes", out.len());
        }
    }
    eprintln!("{count} answers, each as a table and as JSON");
}

/// A number of the JSON document, as it stands there.
fn daemon_number(document: &str, key: &str) -> String {
    let (_, rest) = document.split_once(&format!("\"{key}\": ")).unwrap();
    rest.split([',', '\n']).next().unwrap().to_owned()
}

/// A request of the API as `key` would sign it, but for the signature, with `more` heads.
fn put(target: &str, key: &str, more: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST / HTTP/1.1\r\nContent-Type: application/x-amz-json-1.1\r\nX-Amz-Target: Firehose_20150804.{target}\r\n\
         X-Amz-Date: 20261105T120000Z\r\nAuthorization: AWS4-HMAC-SHA256 \
         Credential={key}/20261105/us-east-1/firehose/aws4_request, \
         SignedHeaders=host;x-amz-date;x-amz-target, Signature={}\r\nConnection: close\r\nContent-Length: {length}\r\n\
         {more}\r\n{body}",
        "0".repeat(64)
    )
}

const ONE: &str = r#"{"DeliveryStreamName":"logs","Record":{"Data":"Rk9SR0VECg=="}}"#;

/// Everything that a stranger may ask of the embedded delivery stream, as requests without a host.
fn everything() -> Vec<(&'static str, String)> {
    let control = |line: &str, body: &str| {
        format!("{line} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\nHOST\r\n{body}", body.len())
    };
    let name = r#"{"DeliveryStreamName":"mine"}"#;
    vec![
        ("a put", put("PutRecord", "AKID", "HOST", ONE)),
        ("a put by the name of the SDK's provider", put("PutRecord", "embedded", "HOST", ONE)),
        (
            "a put without signature",
            put("PutRecord", "AKID", "HOST", ONE).replace("Authorization", "X-Other"),
        ),
        ("a stream of one's own", put("CreateDeliveryStream", "AKID", "HOST", name)),
        (
            "the end of a stream",
            put("DeleteDeliveryStream", "AKID", "HOST", r#"{"DeliveryStreamName":"logs"}"#),
        ),
        ("which streams there are", put("ListDeliveryStreams", "AKID", "HOST", "{}")),
        ("what was counted", control("GET /_standpipe/stats", "")),
        ("which faults there are", control("GET /_standpipe/faults", "")),
        ("faults", control("POST /_standpipe/faults", r#"{"rates":{"internal":1}}"#)),
        ("a flush", control("POST /_standpipe/flush", "")),
    ]
}

fn asked_by(address: SocketAddr, request: &str, heads: &str) -> u16 {
    exchange(address, &request.replacen("HOST", heads, 1)).code
}

/// Where the embedded delivery stream of a process listens.
fn embedded(running: &Running) -> SocketAddr {
    let said = running.says("\"message\":\"embedded delivery stream listens\"", "\n");
    said.split_once("\"address\":\"").unwrap().1.split_once('"').unwrap().0.parse().unwrap()
}

/// The directories below `dir`, it included, and whether each is for its user alone.
fn private_directories(dir: &Path) -> usize {
    assert_eq!(fs::metadata(dir).unwrap().permissions().mode() & 0o777, 0o700, "{}", dir.display());
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    1 + entries.filter(|path| path.is_dir()).map(|path| private_directories(&path)).sum::<usize>()
}

#[test]
fn the_stream_inside_a_run_takes_nothing_from_anybody_else() {
    let mut world = World::new();
    let file = world.file("a.log");
    world.written.append(&file, "a", 5);
    let shipped = world.dir().join("shipped");
    let running = Running::start(&["run", "-c", text(&world.config()), "--local", text(&shipped)]);
    let address = embedded(&running);
    let stranger = "Host: 127.0.0.1\r\n";
    let all = everything();
    for (what, request) in &all {
        let code = asked_by(address, request, stranger);
        let expected: &[u16] = if request.contains("_standpipe") { &[404] } else { &[400, 403] };
        assert!(expected.contains(&code), "{what}: {code}");
    }
    // Who announces much and sends nothing holds up nobody.
    let _announced = announced(address, "AKID");
    world.written.append(&file, "a", 5);
    let arrived = shipped.join("logs");
    eventually("what was written", || {
        let difference = world.written.compare(&delivered(&arrived));
        assert_eq!(difference.invented, Vec::<String>::new());
        (difference.missing == 0).then_some(())
    });
    running.stop();
    assert_eq!(world.written.compare(&delivered(&arrived)).repeated, 0);
    let there: Vec<_> = fs::read_dir(&shipped).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    // The state is where the configuration says.
    assert_eq!(there, ["logs"], "no stream of a stranger's");
    let directories = private_directories(&shipped);
    eprintln!("{} requests, {directories} directories", all.len());
}

/// Connections that announce more bodies than there is room for, and send nothing of them.
fn announced(address: SocketAddr, key: &str) -> Vec<TcpStream> {
    let head = put("PutRecordBatch", key, "Host: 127.0.0.1\r\n", "").replace("Length: 0", "Length: 16777216");
    let connect = |_| {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.write_all(head.as_bytes()).unwrap();
        socket
    };
    (0..40).map(connect).collect()
}

#[test]
fn the_stream_on_its_own_takes_nothing_from_pages_and_with_keys_from_nobody_without_them() {
    let world = World::new();
    let keyed = world.dir().join("keyed");
    let args = ["local", "--listen", "127.0.0.1:0", "--dir", text(&keyed), "--hosts", "Firehose.Test"];
    let keys = ["--access-key", "AKID", "--secret-key", "secret"];
    let running = Running::start(&[&args[..], &keys].concat());
    let with_keys = embedded(&running);
    let mut tried = 0;
    let port = world.address.port();
    for (what, request) in everything() {
        for host in FOREIGN {
            let code = asked_by(world.address, &request, &format!("Host: {host}\r\n"));
            assert_eq!(code, 403, "{what} of {host}");
            tried += 1;
        }
        for origin in ["null", "http://evil.example", "http://localhost:3000", "https://127.0.0.1"] {
            let heads = format!("Host: 127.0.0.1:{port}\r\nOrigin: {origin}\r\n");
            assert_eq!(asked_by(world.address, &request, &heads), 403, "{what} by a page of {origin}");
            tried += 1;
        }
        let code = asked_by(with_keys, &request, "Host: firehose.test\r\n");
        assert!([400, 403].contains(&code), "{what} without the keys: {code}");
        tried += 1;
    }
    let stats = world.stats();
    assert_eq!(stats["streams"].as_object().unwrap().len(), 0, "nothing of it was done: {stats}");
    // Without keys anybody of this machine may ask, whatever others announce.
    let _announced = announced(world.address, "AKID");
    for host in ["127.0.0.1", "localhost:1", "[::1]"] {
        let code =
            asked_by(world.address, &put("PutRecord", "AKID", "HOST", ONE), &format!("Host: {host}\r\n"));
        assert_eq!(code, 200, "{host}");
        tried += 1;
    }
    assert_eq!(world.arrived("logs"), b"FORGED\n".repeat(3));
    let directories = private_directories(&world.dir().join("out")) + private_directories(&keyed);
    eprintln!("{tried} requests, {directories} directories");
}

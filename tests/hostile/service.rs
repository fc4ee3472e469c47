//! Whoever answers as the service: something between, something in its place, or the service itself out of its mind.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::assert_plain;
use crate::fakes::{Answer, Fake, Request, refusal};
use crate::world::{World, append, eventually};

/// A line that no log, no terminal and no label may show.
const SECRET: &str = "user=alice password=correct-horse-battery-staple";

/// What a service can make of a record in its code and message: raw, in base64, in the midst of something, at the end of
/// something long, as a line of several.
fn echoes() -> Vec<(String, String)> {
    let encoded = STANDARD.encode(format!("{SECRET}\n"));
    let long = "y".repeat(990);
    let messages = [
        SECRET.to_owned(),
        format!("the record '{SECRET}' is bad"),
        format!("bad data {encoded}"),
        format!("part of it: {}", &SECRET[11..40]),
        format!("{long} {SECRET}"),
        format!("{}{SECRET}", "z".repeat(200_000)),
        format!("first\n{SECRET}\nlast"),
    ];
    let with_code =
        |message: &String| [("InternalFailure", message.clone()), ("OddException", message.clone())];
    let mut echoes: Vec<_> =
        messages.iter().flat_map(with_code).map(|(code, message)| (code.to_owned(), message)).collect();
    echoes.extend([SECRET, &encoded, &SECRET[11..]].map(|code| (code.to_owned(), "no".to_owned())));
    echoes
}

#[test]
fn nothing_of_a_record_comes_back_by_what_the_service_says_of_it() {
    let echoes = echoes();
    let count = echoes.len();
    let said = Arc::new(AtomicUsize::new(0));
    let of_service = Arc::clone(&said);
    // Each in turn for the line that is secret; then the line is refused for good.
    let fake = Fake::start(move |request: &Request| {
        let body: Value = serde_json::from_str(&request.body).unwrap();
        let data = STANDARD.decode(body["Record"]["Data"].as_str().unwrap()).unwrap();
        if !data.starts_with(SECRET.as_bytes()) {
            return Answer::Is(200, json!({"RecordId": "r", "Encrypted": true}).to_string());
        }
        match echoes.get(of_service.fetch_add(1, Ordering::SeqCst)) {
            Some((code, message)) => refusal(500, code, message),
            None => refusal(400, "InvalidArgumentException", &format!("Invalid: {SECRET}")),
        }
    });
    let mut world = World::new().configured("[log]\nlevel = \"debug\"\n");
    world.through(fake.url());
    append(&world.file("a.log"), &format!("{SECRET}\n"));
    let daemon = world.run();
    let mut checked = 0;
    // Every answer that was seen on the way is in one of these, for as long as it is the last.
    let mut look = |daemon: &crate::world::Daemon| {
        for target in ["/status", "/readyz", "/healthz", "/metrics"] {
            hides(target, &assert_plain(target, daemon.get(target).body.as_bytes()));
            checked += 1;
        }
    };
    let mut next = 0;
    eventually("the dead letter", || {
        append(&world.file("b.log"), &format!("{next}\n"));
        next += 1;
        look(&daemon);
        (world.dead_letters() == 1).then_some(())
    });
    look(&daemon);
    assert!(said.load(Ordering::SeqCst) > count, "each was said");
    let label = "standpipe_dead_letters_total{stream=\"logs\",reason=\"InvalidArgumentException\"} 1";
    eventually("the label", || daemon.get("/metrics").body.contains(label).then_some(()));
    let state = world.dir().join("state");
    let (_, listed, _) =
        crate::world::finished(&["dead-letters", "list", "--state-dir", crate::world::text(&state)]);
    assert!(listed.contains("Invalid:") && listed.contains("repeats what was sent"), "{listed}");
    hides("the list of dead letters", &listed);
    let log = daemon.running.log();
    hides("the log", &log);
    eprintln!("{count} answers, {checked} looks");
}

#[track_caller]
fn hides(what: &str, text: &str) {
    let encoded = STANDARD.encode(SECRET);
    for part in ["correct-horse", "battery-staple", "password=", &encoded[..20], &encoded[24..44]] {
        assert!(!text.contains(part), "{what} shows {part}: {text}");
    }
}

/// A head, and a piece that is repeated behind it; `None` for a proper answer.
type Said = Option<(String, Vec<u8>)>;

/// Answers every request with these bytes for as long as it is read, until told to be well; counts what was taken of it.
struct Flood {
    address: SocketAddr,
    taken: Arc<AtomicUsize>,
    head: Arc<Mutex<Said>>,
}

impl Flood {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let flood =
            Self { address: listener.local_addr().unwrap(), taken: Arc::default(), head: Arc::default() };
        let (taken, head) = (Arc::clone(&flood.taken), Arc::clone(&flood.head));
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (taken, head) = (Arc::clone(&taken), Arc::clone(&head));
                std::thread::spawn(move || converse(socket, &taken, &head));
            }
        });
        flood
    }

    /// What is answered from now on: a head, and a piece that is repeated; `None` to be well.
    fn says(&self, said: Option<(&str, &[u8])>) {
        *self.head.lock().unwrap() = said.map(|(head, piece)| (head.to_owned(), piece.to_vec()));
    }
}

fn converse(mut socket: TcpStream, taken: &AtomicUsize, head: &Mutex<Said>) {
    let mut piece = [0; 65536];
    // Requests of these tests come in one piece.
    while socket.read(&mut piece).is_ok_and(|count| count > 0) {
        let said = head.lock().unwrap().clone();
        let Some((head, repeated)) = said else {
            let body = r#"{"RecordId":"r","Encrypted":true}"#;
            let well = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            if socket.write_all(well.as_bytes()).is_err() {
                return;
            }
            continue;
        };
        if socket.write_all(head.as_bytes()).is_err() {
            return;
        }
        while socket.write_all(&repeated).is_ok() {
            taken.fetch_add(repeated.len(), Ordering::SeqCst);
        }
        return;
    }
}

#[test]
fn an_answer_without_end_costs_a_bounded_part_of_it_and_is_no_acknowledgement() {
    let flood = Flood::start();
    let mut world = World::new();
    world.through(format!("http://{}", flood.address));
    append(&world.file("a.log"), "0\n");
    let daemon = world.run();
    daemon.settle();
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let blanks = " ".repeat(0x10000);
    let length = "Content-Type: application/x-amz-json-1.1\r\nContent-Length: 1000000000000\r\n\r\n";
    let answers = [
        (
            "a body of a terabyte",
            format!("HTTP/1.1 200 OK\r\n{length}{{\"RecordId\":\"r\","),
            blanks.as_bytes(),
        ),
        (
            "chunks without end",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
            chunk.as_bytes(),
        ),
        (
            "an error without end",
            format!("HTTP/1.1 500 No\r\n{length}{{\"__type\":\"InternalFailure\","),
            blanks.as_bytes(),
        ),
        (
            "a refusal without end",
            format!("HTTP/1.1 400 No\r\n{length}{{\"__type\":\"InvalidArgumentException\","),
            blanks.as_bytes(),
        ),
        (
            "a head without end",
            "HTTP/1.1 200 OK\r\n".to_owned(),
            b"X-Y: zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz\r\n",
        ),
    ];
    let count = answers.len();
    for (number, (what, head, piece)) in answers.into_iter().enumerate() {
        flood.says(Some((&head, piece)));
        flood.taken.store(0, Ordering::SeqCst);
        let before = tries(&daemon);
        append(&world.file("a.log"), &format!("{}\n", number + 1));
        // Given up, and tried again: so no such answer was waited for.
        eventually(what, || (tries(&daemon) >= before + 2).then_some(()));
        let after = tries(&daemon) - before + 2;
        let taken = flood.taken.load(Ordering::SeqCst);
        // What is read, and what lies in the buffers of two sockets.
        assert!(taken as u64 <= after * 16 * 1024 * 1024, "{what}: {taken} bytes in {after} tries");
        assert!(
            daemon.status()["streams"][0]["records_delivered"] == number as u64 + 1,
            "{what} is no acknowledgement"
        );
        flood.says(None);
        daemon.settle();
    }
    assert_eq!(world.dead_letters(), 0);
    eprintln!("{count} answers without end");
}

/// How often a record of the stream was sent again.
fn tries(daemon: &crate::world::Daemon) -> u64 {
    let status = daemon.status();
    status["streams"][0]["retries"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum()
}

#[test]
fn codes_that_a_service_makes_up_are_no_labels() {
    let mut count = 0;
    let fake = Fake::start(move |request: &Request| {
        let body: Value = serde_json::from_str(&request.body).unwrap();
        let data = STANDARD.decode(body["Record"]["Data"].as_str().unwrap()).unwrap();
        if !data.starts_with(b"bad") {
            return Answer::Is(200, json!({"RecordId": "r", "Encrypted": true}).to_string());
        }
        count += 1;
        refusal(400, &format!("Made.Up-{count}"), "no")
    });
    let mut world = World::new();
    world.through(fake.url());
    // Each is put aside after it has failed alone for a second, with a code of its own.
    let config = fs::read_to_string(world.config()).unwrap();
    assert!(config.contains("max = \"50ms\" }"));
    let world = world.configured("quota = { adaptive = false }\n");
    let path = world.config();
    let config = fs::read_to_string(&path)
        .unwrap()
        .replace("max = \"50ms\" }", "max = \"50ms\", stuck_after = \"1s\" }");
    let own = world.dir().join("own.toml");
    fs::write(&own, config).unwrap();
    for number in 0..20 {
        append(&world.file(&format!("{number}.log")), "bad\n");
    }
    let daemon = world.run_in(|command| {
        *command = crate::world::standpipe(&["run", "-c", crate::world::text(&own)]);
    });
    let mut next = 0;
    eventually("each to be put aside", || {
        append(&world.file("well.log"), &format!("{next}\n"));
        next += 1;
        (world.dead_letters() == 20).then_some(())
    });
    let label = "standpipe_dead_letters_total{stream=\"logs\",reason=\"other\"} 20\n";
    let metrics = eventually("the label", || {
        let metrics = daemon.get("/metrics").body;
        metrics.contains(label).then_some(metrics)
    });
    assert!(!assert_plain("/metrics", metrics.as_bytes()).contains("Made"), "{metrics}");
    eprintln!("20 codes");
}

//! Requests and answers over a socket, and everything that can be wrong with one.

#![expect(clippy::disallowed_methods, reason = "a socket is a file")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};

use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::client::ask_within;
use super::*;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// A daemon that says of each purge how much it was asked for.
fn daemon(runtime: &Runtime, dir: &Path) -> tokio::task::JoinHandle<()> {
    let listener = runtime.block_on(async { Listener::bind(dir).unwrap() });
    let (sender, mut orders) = orders();
    runtime.spawn(async move {
        let answers = async {
            while let Some(order) = orders.recv().await {
                let answer = match order.request {
                    Request::Purge(pages) => Answer::Page(Page { next: Some(pages), ..Page::default() }),
                    Request::Move(_) | Request::Replay(_) => Answer::NoPosition,
                };
                let _ = order.answer.send(answer);
            }
        };
        tokio::select! {
            () = listener.serve(sender) => {}
            () = answers => {}
        }
    })
}

fn purge(stream: &str) -> Request {
    Request::Purge(Pages { stream: Some(stream.to_owned()), after: 7, until: None, raw: false })
}

#[test]
fn a_request_is_answered_and_the_socket_is_its_owners_alone() {
    let (runtime, dir) = (runtime(), TempDir::new().unwrap());
    let daemon = daemon(&runtime, dir.path());
    let socket = fs::symlink_metadata(dir.path().join("control.sock")).unwrap();
    assert!(socket.file_type().is_socket());
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    for stream in ["a", "b"] {
        let Answer::Page(page) = ask(dir.path(), &purge(stream)).unwrap() else { panic!("another answer") };
        assert_eq!(page.next.and_then(|pages| pages.stream).as_deref(), Some(stream));
    }
    daemon.abort();
    drop(runtime.block_on(daemon));
    assert!(!dir.path().join("control.sock").exists(), "it is removed");
}

#[test]
fn a_path_that_is_too_long_for_an_address_is_served_all_the_same() {
    let (runtime, dir) = (runtime(), TempDir::new().unwrap());
    let long = dir.path().join("d".repeat(120)).join("e".repeat(120));
    fs::create_dir_all(&long).unwrap();
    let _daemon = daemon(&runtime, &long);
    assert!(matches!(ask(&long, &purge("a")), Ok(Answer::Page(_))));
    assert!(long.join("control.sock").exists());
}

#[test]
fn the_socket_of_a_daemon_that_is_no_more_is_replaced_and_nothing_else_is() {
    let (runtime, dir) = (runtime(), TempDir::new().unwrap());
    drop(UnixListener::bind(dir.path().join("control.sock")).unwrap());
    let error = ask(dir.path(), &purge("a")).unwrap_err();
    assert!(matches!(error, AskError::NotThere { .. }), "{error}");
    let _daemon = daemon(&runtime, dir.path());
    assert!(matches!(ask(dir.path(), &purge("a")), Ok(Answer::Page(_))));

    let other = TempDir::new().unwrap();
    fs::write(other.path().join("control.sock"), "precious").unwrap();
    let error = runtime.block_on(async { Listener::bind(other.path()) }).unwrap_err();
    assert!(error.to_string().contains("not a socket"), "{error}");
    assert_eq!(fs::read_to_string(other.path().join("control.sock")).unwrap(), "precious");
}

#[test]
fn a_daemon_that_hangs_is_told_after_a_while_and_one_that_is_not_there_at_once() {
    let dir = TempDir::new().unwrap();
    let error = ask(dir.path(), &purge("a")).unwrap_err();
    assert!(error.to_string().contains("control.sock: No such file"), "{error}");
    let _hangs = UnixListener::bind(dir.path().join("control.sock")).unwrap();
    let error = ask_within(dir.path(), &purge("a"), Duration::from_millis(50)).unwrap_err();
    assert!(error.to_string().contains("no answer within 50ms"), "{error}");
}

#[test]
fn what_is_no_request_is_refused_with_a_reason_and_the_next_one_is_heard() {
    let (runtime, dir) = (runtime(), TempDir::new().unwrap());
    let _daemon = daemon(&runtime, dir.path());
    for (sent, why) in [
        ("{\"dance\": {}}\n".to_owned(), "does not know the request"),
        ("\n".to_owned(), "does not know the request"),
        ("x".repeat(MAX_REQUEST_BYTES as usize + 1), "no line of at most"),
    ] {
        let mut client = UnixStream::connect(dir.path().join("control.sock")).unwrap();
        client.write_all(sent.as_bytes()).unwrap();
        let mut said = String::new();
        // What was sent beyond the limit is not read, for which the kernel may reset the connection.
        let _ = client.read_to_string(&mut said);
        assert!(said.contains(why), "{said}");
    }
    assert!(matches!(ask(dir.path(), &purge("a")), Ok(Answer::Page(_))));
}

#[test]
fn a_path_that_is_no_text_arrives_as_it_is() {
    let path = Path::new(OsStr::from_bytes(b"/var/log/\xff.log"));
    let text = serde_json::to_string(&WirePath::from(path)).unwrap();
    let back: WirePath = serde_json::from_str(&text).unwrap();
    assert_eq!(PathBuf::from(back), path);
}

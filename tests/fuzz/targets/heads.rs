//! What any client may send to the two servers, the health endpoint and the embedded delivery stream: they answer with a
//! status or hang up, and answer the next client.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::OnceLock;
use std::time::Duration;

use standpipe::local::{Options, Server};
use standpipe::shell::http::{self, Question};

/// For a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(30);

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address")
}

/// Both servers, for as long as the process lives.
fn servers() -> [SocketAddr; 2] {
    static SERVERS: OnceLock<[SocketAddr; 2]> = OnceLock::new();
    *SERVERS.get_or_init(|| {
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let dir = tempfile::tempdir().expect("a directory");
                let local = Server::start(Options::new(dir.path())).await.expect("a server");
                let health = free_address();
                let (handle, mut questions) = http::handle();
                tell.send([health, local.address()]).expect("somebody waits");
                let answer = async {
                    while let Some(question) = questions.recv().await {
                        if let Question::Alive(asker) = question {
                            let _ = asker.send(());
                        }
                    }
                };
                tokio::join!(http::serve(health, Vec::new(), handle, None), answer);
            });
        });
        told.recv().expect("they start")
    })
}

/// What is answered to `request`, behind which nothing comes where it is the `last` that is said.
fn exchange(address: SocketAddr, request: &[u8], last: bool) -> Vec<u8> {
    let mut socket = loop {
        // The port is bound a moment after it is known.
        match TcpStream::connect(address) {
            Ok(socket) => break socket,
            Err(_) => std::thread::yield_now(),
        }
    };
    socket.set_read_timeout(Some(PATIENCE)).expect("a limit");
    // It may hang up before all is said.
    let _ = socket.write_all(request);
    if last {
        let _ = socket.shutdown(Shutdown::Write);
    }
    let mut answer = Vec::new();
    match socket.read_to_end(&mut answer) {
        Ok(_) => answer,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => answer,
        Err(error) => panic!("no answer, and no end, in {PATIENCE:?}: {error}"),
    }
}

pub(crate) fn run(input: &[u8]) {
    let [choice, request @ ..] = input else { return };
    let address = servers()[usize::from(choice % 2)];
    let answer = exchange(address, request, true);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "{:?}", String::from_utf8_lossy(&answer));
    if *choice > 250 {
        let [health, local] = servers();
        let alive =
            exchange(health, b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", false);
        assert!(alive.starts_with(b"HTTP/1.1 200"), "{:?}", String::from_utf8_lossy(&alive));
        let alive = exchange(local, b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", false);
        assert!(alive.starts_with(b"HTTP/1.1 "), "{:?}", String::from_utf8_lossy(&alive));
    }
}

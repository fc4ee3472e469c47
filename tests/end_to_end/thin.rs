//! A link to the service that carries little, or loses connections without a word.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use crate::world::{World, eventually};

/// Bytes a second that come to more than a few seconds for what may be under way by default.
const THIN: f64 = 150_000.0;

/// Carries bytes to the service, so many a second of all connections together.
struct Link {
    address: SocketAddr,
    carried: Arc<Carried>,
}

#[derive(Default)]
struct Carried {
    /// Of each connection: whether it has died without a word.
    connections: Mutex<Vec<Arc<AtomicBool>>>,
    /// How many are open.
    open: AtomicU64,
    /// Connections that died, and were written to since.
    missed: AtomicU64,
    /// Up to when the link is busy.
    busy: Mutex<Option<Instant>>,
}

impl Link {
    fn to(service: SocketAddr, rate: f64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let link = Self { address: listener.local_addr().unwrap(), carried: Arc::default() };
        let carried = Arc::clone(&link.carried);
        spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (is_dead, carried) = (Arc::<AtomicBool>::default(), Arc::clone(&carried));
                carried.connections.lock().unwrap().push(Arc::clone(&is_dead));
                carried.open.fetch_add(1, Ordering::SeqCst);
                let server = TcpStream::connect(service).unwrap();
                let (mut back, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                spawn(move || std::io::copy(&mut back, &mut to));
                spawn(move || carried.carry(client, server, &is_dead, rate));
            }
        });
        link
    }

    /// Every connection that there is dies, and nobody is told. Returns how many there are.
    fn lose_connections(&self) -> usize {
        let connections = self.carried.connections.lock().unwrap();
        connections.iter().for_each(|is_dead| is_dead.store(true, Ordering::SeqCst));
        connections.len()
    }
}

impl Carried {
    fn carry(&self, mut client: TcpStream, mut server: TcpStream, is_dead: &AtomicBool, rate: f64) {
        let mut bytes = [0; 4096];
        let mut is_missed = false;
        while let Ok(count @ 1..) = client.read(&mut bytes) {
            if is_dead.load(Ordering::SeqCst) {
                self.missed.fetch_add(u64::from(!is_missed), Ordering::SeqCst);
                is_missed = true;
                continue;
            }
            let until = {
                let mut busy = self.busy.lock().unwrap();
                let now = Instant::now();
                let from = busy.map_or(now, |busy| busy.max(now));
                *busy.insert(from + Duration::from_secs_f64(count as f64 / rate))
            };
            sleep(until.saturating_duration_since(Instant::now()));
            if server.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        self.open.fetch_sub(1, Ordering::SeqCst);
        let _ = server.shutdown(Shutdown::Both);
    }
}

fn over_a_link(rate: f64) -> (World, Link) {
    let mut world = World::new().configured("api = \"auto\"\nrequest_timeout = \"1s\"\n");
    let link = Link::to(world.address, rate);
    world.through(format!("http://{}", link.address));
    (world, link)
}

/// I25: requests share a thin link, and none of them is given up for the others.
#[test]
fn a_backlog_comes_over_a_thin_link_once() {
    let (mut world, _link) = over_a_link(THIN);
    let file = world.file("a.log");
    world.written.append(&file, "a", 6_000);
    let daemon = world.run();
    assert_eq!(world.all_arrive(), 0, "lines that came more than once");
    daemon.settle();
    daemon.running.stop();
}

/// N34: of connections that died without a word, one is noticed by a request, and the others are left for it.
#[test]
fn connections_that_died_silently_cost_one_time_out() {
    let (mut world, link) = over_a_link(THIN);
    let file = world.file("a.log");
    world.written.append(&file, "a", 1_000);
    let daemon = world.run();
    assert_eq!(world.all_arrive(), 0);
    daemon.settle();
    assert!(link.lose_connections() > 2, "requests were under way beside each other");
    world.written.append(&file, "a", 1);
    assert_eq!(world.all_arrive(), 0);
    daemon.settle();
    let missed = link.carried.missed.load(Ordering::SeqCst);
    assert!(missed <= 1, "{missed} connections were tried that had died");
    daemon.running.stop();
}

/// N34: what is on the way would forget them.
#[test]
fn connections_that_carry_nothing_are_closed() {
    let (mut world, link) = over_a_link(THIN);
    let file = world.file("a.log");
    world.written.append(&file, "a", 100);
    let daemon = world.run();
    world.all_arrive();
    eventually("idle connections to be closed", || {
        (link.carried.open.load(Ordering::SeqCst) == 0).then_some(())
    });
    assert!(!link.carried.connections.lock().unwrap().is_empty());
    daemon.running.stop();
}

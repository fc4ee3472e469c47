//! Calls into a file system that never come back, as those into a dead network mount do.
//!
//! A library between the daemon and the C library holds every call that names a path below one directory, or a
//! descriptor of a file there, for as long as a flag file exists. What the daemon asks the kernel past the C library
//! (statx, openat2, listing an open directory) is not held: finding out where links lead, with which the walk through a
//! directory begins, reading, syncing and watching are. Reads that must not wait go past it, too: the kernel refuses them
//! while the library is there, as it does where a file system does not know them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::world::{Daemon, Running, World, append, eventually, standpipe, text};

const HANG: &str = r#"
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

__attribute__((constructor)) static void refuse_reads_that_must_not_wait(void) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_preadv2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EOPNOTSUPP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        perror("reads that must not wait cannot be refused");
        _exit(99);
    }
}

static int is_there(const char *path) { return syscall(SYS_faccessat, -100, path, F_OK) == 0; }

static void hold(const char *path) {
    const char *below = getenv("HANG_BELOW"), *flag = getenv("HANG_WHILE");
    if (!below || !flag || strncmp(path, below, strlen(below)) != 0) return;
    if (!is_there(flag)) return;
    char mark[4200];
    snprintf(mark, sizeof mark, "%s.hit", flag);
    FILE *(*open_file)(const char *, const char *) = dlsym(RTLD_NEXT, "fopen");
    FILE *hit = open_file(mark, "a");
    if (hit) { fprintf(hit, "%s\n", path); fclose(hit); }
    while (is_there(flag)) usleep(20000);
}

static void hold_descriptor(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlinkat, -100, link, path, sizeof path - 1);
    if (length <= 0) return;
    path[length] = 0;
    hold(path);
}

DIR *opendir(const char *path) {
    hold(path);
    DIR *(*real)(const char *) = dlsym(RTLD_NEXT, "opendir");
    return real(path);
}

char *realpath(const char *path, char *resolved) {
    hold(path);
    char *(*real)(const char *, char *) = dlsym(RTLD_NEXT, "realpath");
    return real(path, resolved);
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    int mode = va_arg(more, int);
    va_end(more);
    hold(path);
    int (*real)(const char *, int, int) = dlsym(RTLD_NEXT, "open64");
    return real(path, flags, mode);
}

ssize_t pread64(int fd, void *into, size_t length, off64_t at) {
    hold_descriptor(fd);
    ssize_t (*real)(int, void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pread64");
    return real(fd, into, length, at);
}

int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    int mode = va_arg(more, int);
    va_end(more);
    hold(path);
    int (*real)(const char *, int, int) = dlsym(RTLD_NEXT, "open");
    return real(path, flags, mode);
}

int fsync(int fd) {
    hold_descriptor(fd);
    int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
    return real(fd);
}

int fdatasync(int fd) {
    hold_descriptor(fd);
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    return real(fd);
}

int inotify_add_watch(int fd, const char *path, unsigned int mask) {
    hold(path);
    int (*real)(int, const char *, unsigned int) = dlsym(RTLD_NEXT, "inotify_add_watch");
    return real(fd, path, mask);
}
"#;

/// A directory in which calls hang on demand.
struct Mount {
    directory: PathBuf,
    library: PathBuf,
    flag: PathBuf,
}

impl Mount {
    fn at(world: &World, directory: PathBuf) -> Self {
        let (source, library) = (world.dir().join("hang.c"), world.dir().join("hang.so"));
        fs::write(&source, HANG).unwrap();
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(&source)
            .arg("-ldl")
            .status();
        assert!(compiled.unwrap().success(), "a C compiler is there: SQLite needs it, too");
        fs::create_dir_all(&directory).unwrap();
        Self { directory, library, flag: world.dir().join("hang") }
    }

    /// From now on, nothing there comes back.
    fn die(&self) {
        fs::write(&self.flag, "").unwrap();
    }

    /// What hung goes on.
    fn revive(&self) {
        fs::remove_file(&self.flag).unwrap();
    }

    /// Waits until a call hangs at a path that ends like this.
    fn holds(&self, end: &str) {
        let marks = self.flag.with_extension("hit");
        eventually(&format!("a call at {end} to hang"), || {
            let hit = fs::read_to_string(&marks).ok()?;
            hit.lines().any(|path| path.ends_with(end)).then_some(())
        });
    }

    fn below(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library);
        command.env("HANG_BELOW", &self.directory).env("HANG_WHILE", &self.flag);
    }
}

/// A world with a second source, `mount`, into the same stream; five files of each are read.
fn two_sources(more: &str) -> (World, Mount) {
    let world = World::new();
    let mount = Mount::at(&world, world.dir().join("mount"));
    let pattern = mount.directory.join("*.log");
    let world = world.configured(&format!(
        "{more}[[source]]\nname = \"mount\"\npaths = [{:?}]\nstream = \"logs\"\n",
        text(&pattern)
    ));
    (world, mount)
}

/// Waits until the files of `source` have reached the disk up to their ends, as far as they were seen.
fn durable(daemon: &Daemon, path: &Path) {
    eventually("progress to be durable", || {
        let status = daemon.status();
        let files = status["files"].as_array()?;
        let file = files.iter().find(|file| file["path"] == text(path))?;
        (file["durable"] == fs::metadata(path).unwrap().len()).then_some(())
    });
}

/// Far more than the time-out of these tests, and far less than for ever.
const SOON: Duration = Duration::from_secs(30);

fn ends_soon(running: Running) {
    let began = Instant::now();
    running.signal(Signal::TERM);
    assert_eq!(running.exit(), Some(0));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[test]
fn reads_and_surveys_that_hang_keep_nobody_from_leaving() {
    let (mut world, mount) = two_sources("[shutdown]\ntimeout = \"1s\"\n");
    let (healthy, hanging) = (world.file("a.log"), mount.directory.join("n.log"));
    world.written.append(&healthy, "a", 10);
    world.written.append(&hanging, "n", 10);
    let daemon = world.run_in(|command| mount.below(command));
    world.all_arrive();
    daemon.settle();

    mount.die();
    // One read hangs, and the survey that the new name asks for.
    append(&hanging, &world.written.lines("n", 10));
    append(&mount.directory.join("new.log"), &world.written.lines("new", 10));
    mount.holds("/n.log");
    mount.holds("/mount");
    append(&healthy, &world.written.lines("a", 10));
    eventually("the healthy source to go on", || (world.compare().missing == 20).then_some(()));
    // Commits have a thread of their own.
    durable(&daemon, &healthy);
    assert_eq!(daemon.get("/livez").code, 200);
    ends_soon(daemon.running);

    // All that was acknowledged was saved; what hung comes after the next start.
    mount.revive();
    assert_eq!(world.once().0, 0);
    let difference = world.compare();
    assert_eq!((difference.missing, difference.repeated), (0, 0), "{:?}", difference.invented);
}

/// More files than one source may have under way hang, and so does the survey of their source.
#[test]
fn a_source_that_hangs_keeps_no_other_from_going_on() {
    let (mut world, mount) = two_sources("[shutdown]\ntimeout = \"1s\"\n");
    let healthy = world.file("a.log");
    world.written.append(&healthy, "a", 10);
    let hanging: Vec<_> = (0..40).map(|file| mount.directory.join(format!("n{file}.log"))).collect();
    for path in &hanging {
        append(path, &world.written.lines("n", 10));
    }
    let daemon = world.run_in(|command| mount.below(command));
    world.all_arrive();
    daemon.settle();

    mount.die();
    for path in &hanging {
        append(path, &world.written.lines("n", 1));
    }
    append(&mount.directory.join("new.log"), &world.written.lines("n", 1));
    mount.holds(".log");
    mount.holds("/mount");
    // An append, a rotation, and a file that a survey has to find.
    let missing = 41;
    world.written.append(&healthy, "a", 10);
    eventually("an append to be delivered", || (world.compare().missing == missing).then_some(()));
    fs::rename(&healthy, world.file("a.log.1")).unwrap();
    world.written.append(&healthy, "a", 10);
    world.written.append(&world.file("b.log"), "b", 10);
    eventually("a rotation to be followed", || (world.compare().missing == missing).then_some(()));
    durable(&daemon, &healthy);
    assert_eq!(daemon.get("/livez").code, 200);

    mount.revive();
    assert_eq!(world.all_arrive(), 0);
    daemon.settle();
    ends_soon(daemon.running);
}

#[test]
fn one_pass_over_files_that_hang_can_be_stopped() {
    let (mut world, mount) = two_sources("[shutdown]\ntimeout = \"1s\"\n");
    append(&mount.directory.join("n.log"), &world.written.lines("n", 10));
    mount.die();
    let mut command = standpipe(&["run", "--once", "-c", text(&world.config())]);
    mount.below(&mut command);
    let running = Running::of(command);
    mount.holds("/mount");
    running.signal(Signal::TERM);
    assert_eq!(running.exit(), Some(1), "not everything was read");
}

#[test]
fn a_state_that_hangs_holds_up_neither_delivery_nor_the_end() {
    let world = World::new().configured("[shutdown]\ntimeout = \"1s\"\n");
    let mut world = world;
    let mount = Mount::at(&world, world.dir().join("state"));
    let file = world.file("a.log");
    world.written.append(&file, "a", 10);
    let daemon = world.run_in(|command| mount.below(command));
    world.all_arrive();
    daemon.settle();
    mount.die();
    world.written.append(&file, "a", 10);
    world.all_arrive();
    mount.holds("standpipe.db-wal");
    world.written.append(&file, "a", 10);
    world.all_arrive();
    assert_eq!(daemon.get("/livez").code, 200);
    daemon.running.signal(Signal::TERM);
    daemon.running.says("the state does not answer", "\n");
    ends_soon(daemon.running);
}

#[test]
fn a_state_that_hangs_at_the_start_can_be_left() {
    let world = World::new();
    let mount = Mount::at(&world, world.dir().join("state"));
    mount.die();
    let mut command = standpipe(&["run", "-c", text(&world.config())]);
    mount.below(&mut command);
    let running = Running::of(command);
    mount.holds("/state/lock");
    ends_soon(running);
}

#[test]
fn a_configuration_that_hangs_holds_up_nothing() {
    hang_in_the_configuration("", |daemon| daemon.signal(Signal::HUP));
}

/// Nobody asks for this look.
#[test]
fn a_watched_configuration_that_hangs_holds_up_nothing() {
    hang_in_the_configuration("reload_on_change = true\n", |_| {});
}

fn hang_in_the_configuration(keys: &str, ask: impl FnOnce(&Running)) {
    let mut world = World::new();
    let mount = Mount::at(&world, world.dir().join("etc"));
    let config = mount.directory.join("standpipe.toml");
    fs::write(&config, keys.to_owned() + &fs::read_to_string(world.config()).unwrap()).unwrap();
    let file = world.file("a.log");
    world.written.append(&file, "a", 10);
    let mut command = standpipe(&["run", "-c", text(&config)]);
    mount.below(&mut command);
    let running = Running::of(command);
    let said = running.says("\"message\":\"health endpoint listens\"", "\n");
    let health = said.split_once("\"address\":\"").unwrap().1.split_once('"').unwrap().0.parse().unwrap();
    let daemon = Daemon { health, running };
    world.all_arrive();
    mount.die();
    ask(&daemon.running);
    mount.holds("/standpipe.toml");
    world.written.append(&file, "a", 10);
    world.all_arrive();
    assert_eq!(daemon.get("/livez").code, 200);
    ends_soon(daemon.running);
}

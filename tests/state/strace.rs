//! strace, where it is there and may trace: errors, delays and death at chosen system calls.

use std::fs;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::stage::await_that;

/// Whether a process can be traced here; says so when not, for then the test that asks shows nothing.
pub fn is_there() -> bool {
    let tried = Command::new("strace").args(["-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    let works = tried.is_ok_and(|status| status.success());
    if !works {
        eprintln!("SKIPPED: strace is not there, or may not trace");
    }
    works
}

/// strace on a running daemon; it lets go when dropped.
pub struct Strace(Child);

impl Strace {
    /// Interferes from now on. A `when=` counts for each thread by itself.
    pub fn attach(pid: u32, inject: &str) -> Self {
        let calls = inject.split(':').next().unwrap();
        let child = Command::new("strace")
            .args(["-f", "-o", "/dev/null", "-e", &format!("trace={calls}")])
            .args(["-e", &format!("inject={inject}"), "-p", &pid.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut this = Self(child);
        await_that("every thread traced, or none left", || {
            let traced = |status: &str| !status.contains("TracerPid:\t0\n");
            let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return true };
            let states = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok());
            states.into_iter().all(|status| traced(&status)) || this.0.try_wait().unwrap().is_some()
        });
        this
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        // Interrupted, it lets its tracees go on as if it had never been there.
        let _ = kill_process(Pid::from_child(&self.0), Signal::INT);
        let _ = self.0.wait();
    }
}

/// The words before a program that trace it from its first instruction; it stays the child of who starts it.
pub fn from_the_start(inject: &str) -> Vec<String> {
    let calls = inject.split(':').next().unwrap();
    let words = ["strace", "-D", "-f", "-o", "/dev/null", "-e"].map(str::to_owned);
    let rest = [format!("trace={calls}"), "-e".to_owned(), format!("inject={inject}")];
    words.into_iter().chain(rest).collect()
}

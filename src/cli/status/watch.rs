//! A daemon watched in a terminal.
//!
//! Knows the terminal: its other screen, its size, its keys. What was in the terminal before is there again afterwards,
//! however the command ends but by SIGKILL.

#![expect(clippy::disallowed_methods, reason = "waits for keys and answers, and says how old they are")]

use std::io::{self, Write};
use std::pin::Pin;
use std::time::Duration;

use console::{Key, Term};
use futures_core::Stream;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use signal_hook_tokio::Signals;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::ask::Failure;
use super::screen::{Asked, Screen, Shown, Size};
use super::shown::{duration, shown};
use super::wanted::Wanted;
use super::{Answered, Daemons};

/// How long it is from an answer to the next question.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How many keys may wait.
const MAX_KEYS: usize = 64;

/// To the other screen, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";

/// Back, with a cursor.
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// What was said last.
#[derive(Debug, Default)]
struct Last {
    answered: Option<(Answered, Instant)>,
    failure: Option<String>,
}

impl Last {
    fn take(&mut self, answer: Result<Answered, Failure>) {
        match answer {
            Ok(answered) => *self = Self { answered: Some((answered, Instant::now())), failure: None },
            // A daemon that restarts comes back.
            Err(failure) => self.failure = Some(shown(&failure.to_string())),
        }
    }

    fn ready(&self) -> bool {
        self.failure.is_none() && self.answered.as_ref().is_some_and(|(answered, _)| answered.ready())
    }

    fn frame(&self, screen: &mut Screen, size: Size) -> Vec<String> {
        let wanted = Wanted::watched(screen.filter());
        let text = self.answered.as_ref().map(|(answered, _)| answered.text(&wanted)).unwrap_or_default();
        let stale = self.failure.as_ref().map(|failure| match &self.answered {
            Some((_, at)) => {
                format!("last answer {} ago: {failure}", duration(at.elapsed().as_secs_f64()))
            }
            None => failure.clone(),
        });
        screen.frame(&Shown { text: &text, stale: stale.as_deref() }, size)
    }
}

/// Shows what the daemons say until a key or a signal ends it; returns whether all were ready when last asked.
///
/// # Errors
/// When the terminal cannot be written to.
pub(super) async fn watch(daemons: &Daemons) -> Result<bool, Failure> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGWINCH])?;
    let terminal = Terminal::enter()?;
    let mut keys = keys();
    let (mut last, mut screen) = (Last::default(), Screen::default());
    let mut asked = Box::pin(daemons.ask());
    let mut waiting = None;
    loop {
        terminal.draw(&last.frame(&mut screen, terminal.size()))?;
        tokio::select! {
            answer = &mut asked, if waiting.is_none() => {
                last.take(answer);
                waiting = Some(Instant::now() + AGAIN_AFTER);
            }
            () = until(waiting), if waiting.is_some() => {
                asked = Box::pin(daemons.ask());
                waiting = None;
            }
            Some(key) = keys.recv() => {
                if screen.press(&key) == Asked::Leave {
                    return Ok(last.ready());
                }
            }
            signal = next(&mut signals) => {
                if signal != SIGWINCH {
                    return Ok(last.ready());
                }
            }
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn next(signals: &mut Signals) -> i32 {
    let next = std::future::poll_fn(|context| Pin::new(&mut *signals).poll_next(context));
    match next.await {
        Some(signal) => signal,
        None => std::future::pending().await,
    }
}

/// Keys as they are pressed, read by a thread of their own; without a terminal to read from there are none.
fn keys() -> mpsc::Receiver<Key> {
    let (sender, receiver) = mpsc::channel(MAX_KEYS);
    std::thread::spawn(move || {
        let terminal = Term::stdout();
        while let Ok(key) = terminal.read_key_raw() {
            if sender.blocking_send(key).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The terminal's other screen, left when dropped.
struct Terminal {
    out: Term,
    /// How the terminal took keys before.
    before: Option<Termios>,
}

impl Terminal {
    fn enter() -> io::Result<Self> {
        let terminal = Self { out: Term::stdout(), before: tcgetattr(io::stdin()).ok() };
        terminal.write(ENTER)?;
        Ok(terminal)
    }

    fn size(&self) -> Size {
        let (rows, columns) = self.out.size();
        Size { rows: rows.into(), columns: columns.into() }
    }

    /// Draws over what is there, so that nothing flickers.
    fn draw(&self, lines: &[String]) -> io::Result<()> {
        let lines = lines.join("\x1b[K\r\n");
        self.write(&format!("\x1b[H{lines}\x1b[K\x1b[J\x1b[H"))
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let mut out = &self.out;
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Whoever reads keys may have left the terminal as it needs it. A terminal that is gone needs nothing.
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
        let _ = self.write(LEAVE);
    }
}

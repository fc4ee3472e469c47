//! `standpipe status`: how a running daemon stands, as a table for people.
//!
//! Knows `/status` and a terminal. Whatever answers at the port is believed nothing: it is read to a bounded length within a
//! bounded time, its numbers are amounts, and its texts cannot steer the terminal.

mod addresses;
mod ask;
mod discover;
mod fleet;
mod one;
mod screen;
mod shown;
mod wanted;
mod watch;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use hyper::body::Bytes;

use crate::model::text::plain_json;
use crate::shell::http::status::Status;

use super::{DONE, FAILED, runtime};

pub(super) use self::addresses::addresses;
pub(super) use self::ask::Failure;
use self::discover::Name;
pub(super) use self::shown::duration;
use self::wanted::Wanted;

/// How often `--watch` asks where it does not draw.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Shows how a running daemon stands: streams, lag, files
///
/// Asks the health endpoint of the daemon. Exits 0 when it is ready, 1 when it is not or does not answer. With several
/// --url, or with --discover, each daemon has a row, and delivery streams have the sums.
#[derive(Args, Clone, Debug)]
pub(super) struct StatusArgs {
    /// Configuration file of the daemon, for its `health.listen` [default: $STANDPIPE_CONFIG, else
    /// /etc/standpipe/standpipe.toml, where it can be read; else 127.0.0.1:9909 is asked]
    #[arg(short, long, value_name = "FILE", conflicts_with = "url")]
    config: Option<PathBuf>,
    /// Where the daemon answers, such as http://127.0.0.1:9909; may be given several times
    #[arg(long, value_name = "URL")]
    url: Vec<String>,
    /// Asks every daemon behind a name in DNS, such as dns:standpipe.logging.svc or dns:standpipe:9909: that of a headless
    /// service stands for all of its pods. With --watch the name is looked up again each time
    #[arg(long, value_name = "dns:NAME", value_parser = discover::parse, conflicts_with_all = ["url", "config"])]
    discover: Vec<Name>,
    /// Prints what /status says, as JSON; of several daemons an array
    #[arg(long)]
    json: bool,
    /// Asks again each second, until q is pressed; arrows move, / filters by name. Where standard output is no terminal,
    /// every answer is printed
    #[arg(long)]
    watch: bool,
}

/// Who is asked.
#[derive(Clone, Debug)]
struct Daemons {
    /// Where they answer, as far as it is known beforehand.
    addresses: Vec<String>,
    /// Names that are looked up each time, where no address is known.
    names: Vec<Name>,
}

/// What they said.
#[derive(Debug)]
enum Answered {
    One { json: Bytes, status: Box<Status> },
    Several(Vec<fleet::Answer>),
}

impl Daemons {
    /// Asks all of them.
    ///
    /// # Errors
    /// When the only one does not answer, or a name leads to nobody. Of several, each has its own.
    async fn ask(&self) -> Result<Answered, Failure> {
        let found = match self.names.as_slice() {
            [] => None,
            names => Some(discover::addresses(names).await?),
        };
        match (found, self.addresses.as_slice()) {
            (None, [address]) => {
                let json = ask::status(address).await?;
                let status = Box::new(read(address, &json)?);
                Ok(Answered::One { json, status })
            }
            (found, known) => Ok(Answered::Several(fleet::ask_all(found.as_deref().unwrap_or(known)).await)),
        }
    }
}

impl Answered {
    /// Whether each of them is ready.
    fn ready(&self) -> bool {
        match self {
            Self::One { status, .. } => status.ready,
            Self::Several(answers) => fleet::ready(answers),
        }
    }

    fn json(&self) -> String {
        match self {
            Self::One { json, .. } => plain_json(String::from_utf8_lossy(json).into_owned()),
            Self::Several(answers) => fleet::json(answers),
        }
    }

    fn text(&self, wanted: &Wanted) -> String {
        match self {
            Self::One { status, .. } => one::table(status, wanted),
            Self::Several(answers) => fleet::text(answers, wanted),
        }
    }
}

pub(super) fn status(args: &StatusArgs) -> u8 {
    let known = match args.discover.is_empty() {
        true => addresses(args.config.as_ref(), &args.url),
        false => Ok(Vec::new()),
    };
    let addresses = match known {
        Ok(addresses) => addresses,
        Err(code) => return code,
    };
    let daemons = Daemons { addresses, names: args.discover.clone() };
    let drawn = args.watch && !args.json && io::stdout().is_terminal();
    let shown = runtime().map_err(Failure::from).and_then(|runtime| match drawn {
        true => runtime.block_on(watch::watch(&daemons)),
        false => runtime.block_on(print(args, &daemons)),
    });
    match shown {
        Ok(true) => DONE,
        Ok(false) => FAILED,
        Err(failure) => {
            complain!("{failure}");
            FAILED
        }
    }
}

/// What each daemon says of itself.
///
/// # Errors
/// The first failure of any.
pub(super) fn ask_each(addresses: &[String]) -> Result<Vec<Status>, Failure> {
    let ask = async {
        let mut answers = Vec::with_capacity(addresses.len());
        for address in addresses {
            answers.push(read(address, &ask::status(address).await?)?);
        }
        Ok(answers)
    };
    runtime()?.block_on(ask)
}

/// Returns whether each daemon was ready when last asked.
#[expect(clippy::disallowed_methods, reason = "asks again after a while")]
async fn print(args: &StatusArgs, daemons: &Daemons) -> Result<bool, Failure> {
    loop {
        let (text, ready) = match daemons.ask().await {
            Ok(answered) if args.json => (answered.json(), answered.ready()),
            Ok(answered) => (answered.text(&Wanted::all()), answered.ready()),
            // A daemon that restarts comes back.
            Err(failure) if args.watch => (format!("standpipe: {failure}\n"), false),
            Err(failure) => return Err(failure),
        };
        let mut out = io::stdout();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        if !args.watch || written.is_err() {
            return Ok(ready);
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

fn read(address: &str, answer: &[u8]) -> Result<Status, Failure> {
    serde_json::from_slice(answer)
        .map_err(|error| Failure::Answer { address: address.to_owned(), why: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::addresses::{DEFAULT_ADDRESS, reachable};

    #[test]
    fn what_listens_everywhere_is_asked_on_this_machine() {
        for (listen, expected) in [
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:2", "[::1]:2"),
            ("10.0.0.1:3", "10.0.0.1:3"),
            ("127.0.0.1:9909", DEFAULT_ADDRESS),
        ] {
            assert_eq!(reachable(listen.parse().expect("an address")).to_string(), expected);
        }
    }
}

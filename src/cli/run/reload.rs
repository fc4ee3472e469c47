//! Another configuration for a daemon that runs: asked for by a signal, found on disk, or because a region was found late.
//!
//! Knows what needs a restart. Does not know what the daemon does with a change.

use std::convert::Infallible;
use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::config::{Config, Stream};
use crate::daemon::{Change, Changed};
use crate::engine::port::WantedStreams;
use crate::local::Streams;
use crate::model::settings::{ByLane, StreamId};
use crate::shell::firehose::{Destination, Origin};
use crate::shell::systemd;

use super::super::{configuration, signals};
use super::watching::ContentWatch;
use super::{
    RunArgs, all, aside, connect, delivery_streams, overrides, places, source_files, tell_unencrypted,
    tell_unmatched,
};

/// The configuration that the daemon has.
#[derive(Clone, Debug)]
pub(super) struct InEffect {
    /// Without the streams that paths name.
    base: Config,
    /// With them; regions that were found are no part of it.
    config: Config,
    /// The names that paths made.
    opened: Vec<Arc<str>>,
    /// The ways to the streams of `config`, in their order.
    ways: ByLane<Destination>,
}

/// Why the daemon is to have another configuration.
enum Why {
    /// Somebody asked for it, or a file has changed.
    Asked,
    /// The regions of its streams are known now.
    Located,
    /// Files were found for streams that are not open.
    Wanted(WantedStreams),
}

impl InEffect {
    pub(super) fn new(
        base: Config,
        config: &Config,
        opened: Vec<Arc<str>>,
        ways: ByLane<Destination>,
    ) -> Self {
        Self { base, config: config.clone(), opened, ways }
    }

    fn is_located(&self) -> bool {
        self.ways.values().all(|way| way.region().is_some())
    }

    /// The names that are to be open from now on: those that were, and those that are wanted. Where that is more than may be
    /// open, those that nothing is under way for make room.
    fn names_with(&self, WantedStreams { wanted, unused }: &WantedStreams) -> Vec<Arc<str>> {
        let new = wanted.iter().filter(|name| !self.opened.contains(name)).cloned();
        let mut names: Vec<_> = self.opened.iter().cloned().chain(new).collect();
        if self.base.with_streams(names.iter().map(|name| &**name)).lacks(wanted) {
            names.retain(|name| wanted.contains(name) || !unused.contains(name));
        }
        names
    }

    /// With these streams open. The ways that are known stay, where it `keeps` them; else each is looked for anew.
    ///
    /// # Errors
    /// When the embedded delivery stream cannot open one.
    async fn with(
        &self,
        base: Config,
        opened: Vec<Arc<str>>,
        keeps: bool,
        (origin, embedded): (&Origin, &Option<Streams>),
    ) -> Result<Self, Vec<String>> {
        let config = base.with_streams(opened.iter().map(|name| &**name));
        if let Some(streams) = embedded {
            streams.add(delivery_streams(&config)).await.map_err(|fault| vec![fault.to_string()])?;
        }
        let known = |stream: &Stream| {
            let place = self.config.streams.iter().position(|known| known == stream).map(StreamId)?;
            keeps.then(|| self.ways.of_stream(place).to_vec())
        };
        let ways = connect(&config, origin, known).await;
        Ok(Self { base, config, opened, ways })
    }
}

/// Reads the configuration again whenever it is asked for, and hands it to the daemon; so it does with the quotas of
/// regions that were not known at the start, and with streams that files are found for.
pub(super) async fn reload(
    (mut hangups, mut wanted): (Option<signals::Hangups>, mpsc::UnboundedReceiver<WantedStreams>),
    args: &RunArgs,
    (started_with, mut in_effect): (&Config, InEffect),
    (origin, embedded): (&Origin, Option<Streams>),
    changes: mpsc::Sender<Change>,
) -> Infallible {
    // One pass over the files ends before anybody changes its configuration.
    let may_change = hangups.is_some();
    let mut is_located = !may_change || in_effect.is_located();
    let mut watch = ContentWatch::new(args, &in_effect.base);
    loop {
        let why = tokio::select! {
            biased;
            () = next(&mut hangups) => {
                info!("asked to read the configuration again");
                Why::Asked
            }
            () = all(in_effect.ways.values().map(Destination::located)), if !is_located => Why::Located,
            () = watch.changed(), if may_change && in_effect.base.reload_on_change => {
                info!("the configuration has changed and is read again");
                Why::Asked
            }
            Some(wanted) = wanted.recv() => Why::Wanted(wanted),
        };
        let is_asked = !matches!(why, Why::Wanted(_));
        let is_located_late = matches!(why, Why::Located);
        let next = match why {
            Why::Located => Ok(in_effect.clone()),
            Why::Asked => read_again(args, &mut watch, (started_with, &in_effect), (origin, &embedded)).await,
            Why::Wanted(wanted) => {
                let opened = in_effect.names_with(&wanted);
                in_effect.with(in_effect.base.clone(), opened, true, (origin, &embedded)).await
            }
        };
        let next = next.and_then(|next| {
            let mut changed = next.config.clone();
            changed.locate(&places(&next.ways))?;
            Ok((next, changed))
        });
        let change = match next {
            Ok((next, config)) => {
                if is_located_late {
                    tell_unencrypted(&config, true);
                }
                in_effect = next;
                is_located = !may_change || in_effect.is_located();
                let (sources, destinations) = (source_files(&config), in_effect.ways.clone());
                Change::To(Box::new(Changed { sources, destinations, config, is_asked }))
            }
            Err(faults) => {
                faults.iter().for_each(|fault| unusable(fault));
                Change::Unusable
            }
        };
        send(&changes, change).await;
    }
}

/// Waits for the next hangup; for ever where none is listened to.
async fn next(hangups: &mut Option<signals::Hangups>) {
    match hangups {
        Some(hangups) => hangups.next().await,
        None => std::future::pending().await,
    }
}

fn unusable(fault: &dyn std::fmt::Display) {
    error!(%fault, "the configuration cannot be used; the one before stays in effect");
}

/// Hands a change to the daemon, and tells the service manager that this is done.
async fn send(changes: &mpsc::Sender<Change>, change: Change) {
    // Nobody takes it while stopping.
    let _ = changes.send(change).await;
    systemd::ready();
}

/// Reads the configuration, and finds the way to each of its streams; every way is looked for anew.
///
/// # Errors
/// Everything for which it cannot be used.
async fn read_again(
    args: &RunArgs,
    watch: &mut ContentWatch,
    (started_with, in_effect): (&Config, &InEffect),
    reached: (&Origin, &Option<Streams>),
) -> Result<InEffect, Vec<String>> {
    systemd::reloading();
    let (file, overrides) = (args.config.clone(), overrides(args));
    let read = aside(move || configuration(file.as_ref(), &overrides)).await;
    let config = read.map_err(|faults| faults.lines())?;
    watch.took(&config);
    warn_of_what_needs_a_restart(started_with, &config);
    tell_unmatched(&config);
    let opened = in_effect.opened.iter().filter(|name| config.may_open(name)).cloned().collect();
    in_effect.with(config, opened, false, reached).await
}

fn warn_of_what_needs_a_restart(started_with: &Config, config: &Config) {
    let keys = [
        ("state_dir", started_with.state_dir != config.state_dir),
        ("health.listen", started_with.health.listen != config.health.listen),
        ("health.hosts", started_with.health.hosts != config.health.hosts),
        ("log", started_with.log != config.log),
    ];
    for (key, _) in keys.iter().filter(|(_, differs)| *differs) {
        warn!(key, "changed in the configuration, and takes effect after a restart");
    }
}

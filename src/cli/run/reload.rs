//! Another configuration for a daemon that runs: asked for by a signal, found on disk, or because a region was found late.
//!
//! Knows what needs a restart. Does not know what the daemon does with a change.

use std::convert::Infallible;

use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::config::Config;
use crate::daemon::{Change, Changed};
use crate::local::Streams;
use crate::model::settings::ByLane;
use crate::shell::firehose::{Destination, Origin};
use crate::shell::systemd;

use super::super::{configuration, signals};
use super::watching::ContentWatch;
use super::{
    RunArgs, all, aside, connect, delivery_streams, overrides, regions, source_files, tell_unmatched,
};

/// Reads the configuration again whenever it is asked for, and hands it to the daemon; so it does with the quotas of
/// regions that were not known at the start.
pub(super) async fn reload(
    hangups: Option<signals::Hangups>,
    args: &RunArgs,
    started_with: &Config,
    (origin, embedded, ways): (&Origin, Option<Streams>, ByLane<Destination>),
    changes: mpsc::Sender<Change>,
) -> Infallible {
    let Some(mut hangups) = hangups else {
        return std::future::pending().await;
    };
    let mut in_effect = (started_with.clone(), ways);
    let mut is_located = in_effect.1.values().all(|way| way.region().is_some());
    let mut watch = ContentWatch::new(args, started_with);
    loop {
        let is_to_read = tokio::select! {
            biased;
            () = hangups.next() => {
                info!("asked to read the configuration again");
                true
            }
            () = all(in_effect.1.values().map(Destination::located)), if !is_located => false,
            () = watch.changed(), if in_effect.0.reload_on_change => {
                info!("the configuration has changed and is read again");
                true
            }
        };
        let (config, destinations) = match is_to_read {
            false => in_effect.clone(),
            true => match read_again(args, &mut watch, started_with, (origin, &embedded)).await {
                Ok(read) => read,
                Err(faults) => {
                    faults.iter().for_each(|fault| unusable(fault));
                    send(&changes, Change::Unusable).await;
                    continue;
                }
            },
        };
        is_located = destinations.values().all(|way| way.region().is_some());
        let mut changed = config.clone();
        let change = match changed.found_regions(&regions(&destinations)) {
            Ok(()) => {
                in_effect = (config, destinations.clone());
                let sources = source_files(&changed);
                Change::To(Box::new(Changed { sources, destinations, config: changed }))
            }
            Err(faults) => {
                faults.iter().for_each(|fault| unusable(fault));
                Change::Unusable
            }
        };
        send(&changes, change).await;
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

/// Reads the configuration, and finds the way to each of its streams.
///
/// # Errors
/// Everything for which it cannot be used.
async fn read_again(
    args: &RunArgs,
    watch: &mut ContentWatch,
    started_with: &Config,
    (origin, embedded): (&Origin, &Option<Streams>),
) -> Result<(Config, ByLane<Destination>), Vec<String>> {
    systemd::reloading();
    let (file, overrides) = (args.config.clone(), overrides(args));
    let read = aside(move || configuration(file.as_ref(), &overrides)).await;
    let config = read.map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    watch.took(&config);
    warn_of_what_needs_a_restart(started_with, &config);
    tell_unmatched(&config);
    if let Some(streams) = embedded {
        streams.add(delivery_streams(&config)).await.map_err(|fault| vec![fault.to_string()])?;
    }
    let destinations = connect(&config, origin).await;
    Ok((config, destinations))
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

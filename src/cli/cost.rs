//! `standpipe cost`: what a running daemon's records are billed, and what packing and compression would save.
//!
//! Knows `/status` and the service's rule (each record is rounded up to 5 KiB). The daemon counts since it was started, so
//! a day and a month are that time's average, made longer or shorter, and it is said so.
//!
//! *Invariant:* what was counted, what follows from it, and what is assumed are told apart.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::model::text::{plain, plain_json};
use crate::shell::http::status::{Status, Stream};

use super::status::{addresses, ask_each};
use super::{DONE, FAILED};

/// Dollars for each GB of the first 500 TB a month in us-east-1, by Direct PUT:
/// <https://aws.amazon.com/firehose/pricing/>.
const PRICE_PER_GB: f64 = 0.029;

/// Bytes of a GB on the service's bill: its pricing page divides KB by 1,048,576.
const GB: f64 = (1_u64 << 30) as f64;

/// How many times smaller records become where nothing was measured: lines of a web service with random IDs became 4.4 to
/// 5.7 times smaller (docs/performance.md).
const COMPRESSION_RATIO: f64 = 4.0;

const DAY: f64 = 24.0 * 60.0 * 60.0;

/// Days of a month.
const MONTH: f64 = 30.0;

/// Says what a running daemon's records are billed, and what packing and compression would save
///
/// Asks the health endpoint of the daemon, which counts since it was started: what a day and a month of 30 days cost is that
/// time's average. The service bills each record rounded up to 5 KiB. Delivery, format conversion, VPC and the destination
/// have prices of their own, and are not in it. Exits 0, or 1 when the daemon does not answer.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  standpipe cost                          the daemon of /etc/standpipe/standpipe.toml
  standpipe cost --price-per-gb 0.031     where a GB costs as much
  standpipe cost --url http://10.0.0.7:9909 --json")]
pub(super) struct CostArgs {
    /// Configuration file of the daemon, for its `health.listen` [default: $STANDPIPE_CONFIG, else
    /// /etc/standpipe/standpipe.toml, where it can be read; else 127.0.0.1:9909 is asked]
    #[arg(short, long, value_name = "FILE", conflicts_with = "url")]
    config: Option<PathBuf>,
    /// Where the daemon answers, such as http://127.0.0.1:9909; may be given several times
    #[arg(long, value_name = "URL")]
    url: Vec<String>,
    /// What a GB (2^30 bytes) costs, in dollars; the default is that of the first 500 TB a month in us-east-1, by Direct PUT
    #[arg(long, value_name = "DOLLARS", default_value_t = PRICE_PER_GB, value_parser = positive)]
    price_per_gb: f64,
    /// How many times smaller compressed records are assumed to be, where no stream compresses and nothing is measured
    #[arg(long, value_name = "TIMES", default_value_t = COMPRESSION_RATIO, value_parser = ratio)]
    compression_ratio: f64,
    /// As JSON: an array with an object for each stream of each daemon
    #[arg(long)]
    json: bool,
}

/// What one stream is billed. Amounts are in bytes and dollars.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Cost {
    /// Which daemon says so.
    daemon: String,
    stream: String,
    delivery_stream: String,
    /// What the counts cover, up to now: since the daemon was started.
    seconds: f64,
    records: u64,
    bytes: u64,
    billed_bytes: u64,
    price_per_gb: f64,
    dollars: f64,
    /// The average of that time.
    dollars_a_day: f64,
    dollars_a_month: f64,
    packing: Saving,
    compression: Saving,
}

/// What a setting saves.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Saving {
    is_on: bool,
    /// Times that records are smaller than what they hold of files: measured where compression is on, else assumed.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<f64>,
    /// The part of today's bill that it would save at most, or, of compression that is on, saves, 0 to 1. Absent where it
    /// is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dollars_a_month: Option<f64>,
}

fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    let is_price = number.is_finite() && number >= 0.0;
    is_price.then_some(number).ok_or_else(|| "not a price".to_owned())
}

fn ratio(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    let is_ratio = number.is_finite() && number >= 1.0;
    is_ratio.then_some(number).ok_or_else(|| "not a ratio of at least 1".to_owned())
}

pub(super) fn cost(args: &CostArgs) -> u8 {
    let addresses = match addresses(args.config.as_ref(), &args.url) {
        Ok(addresses) => addresses,
        Err(code) => return code,
    };
    let answers = match ask_each(&addresses) {
        Ok(answers) => answers,
        Err(failure) => {
            complain!("{failure}");
            return FAILED;
        }
    };
    let costs: Vec<_> = addresses
        .iter()
        .zip(&answers)
        .flat_map(|(address, status)| status.streams.iter().map(move |it| (address, status, it)))
        .map(|(address, status, stream)| Cost::of(args, address, status, stream))
        .collect();
    let text = match args.json {
        true => plain_json(format!("{:#}\n", serde_json::json!(costs))),
        false => page(args, &costs),
    };
    // Nobody may be reading.
    let _ = io::stdout().write_all(text.as_bytes());
    DONE
}

impl Cost {
    fn of(args: &CostArgs, address: &str, status: &Status, stream: &Stream) -> Self {
        let seconds = status.uptime_seconds;
        let dollars = |bytes: f64| bytes / GB * args.price_per_gb;
        let days = seconds / DAY;
        let billed = stream.billed_bytes as f64;
        let a_day = if days > 0.0 { dollars(billed) / days } else { 0.0 };
        let saving = |is_on, ratio: Option<f64>, part: Option<f64>| Saving {
            is_on,
            ratio,
            part,
            dollars_a_month: part.map(|part| a_day * MONTH * part),
        };
        let is_compressed = stream.compression != "none" && !stream.compression.is_empty();
        let part = |less: f64| (billed > 0.0).then(|| (less / billed).clamp(0.0, 1.0));
        let packing = match stream.packing {
            true => saving(true, None, None),
            false => saving(false, None, part(billed - stream.bytes_delivered as f64)),
        };
        let compression = match is_compressed {
            // What the files have, against what is billed for it.
            true => {
                let plain = stream.file_bytes_delivered as f64;
                let ratio = (stream.bytes_delivered > 0).then(|| plain / stream.bytes_delivered as f64);
                let part = (plain > 0.0).then(|| (1.0 - billed / plain).clamp(0.0, 1.0));
                let saved = part.filter(|part| *part < 1.0).map(|part| part / (1.0 - part));
                Saving { is_on: true, ratio, part, dollars_a_month: saved.map(|times| a_day * MONTH * times) }
            }
            false => {
                let ratio = args.compression_ratio;
                saving(false, Some(ratio), part(billed - stream.bytes_delivered as f64 / ratio))
            }
        };
        Self {
            daemon: address.to_owned(),
            stream: stream.name.clone(),
            delivery_stream: stream.delivery_stream.clone(),
            seconds,
            records: stream.records_delivered,
            bytes: stream.bytes_delivered,
            billed_bytes: stream.billed_bytes,
            price_per_gb: args.price_per_gb,
            dollars: dollars(billed),
            dollars_a_day: a_day,
            dollars_a_month: a_day * MONTH,
            packing,
            compression,
        }
    }
}

/// Everything for people, with what is assumed.
fn page(args: &CostArgs, costs: &[Cost]) -> String {
    let mut out = String::new();
    let several = costs.iter().any(|cost| cost.daemon != costs[0].daemon);
    for cost in costs {
        write_cost(&mut out, cost, several).expect("writing to a string cannot fail");
    }
    let price = match args.price_per_gb == PRICE_PER_GB {
        true => "the price in us-east-1 for the first 500 TB a month, Direct PUT",
        false => "as --price-per-gb says",
    };
    let text = format!(
        "\nA GB (2^30 bytes) costs ${} ({price}). The service rounds each record up to 5 KiB.\n\
         Counted since the daemon was started; a day and a month of 30 days are the average of that time.\n\
         Packing at best: each record full. A record holds what a file gets within pack_delay.\n",
        args.price_per_gb
    );
    out + &text
}

fn write_cost(out: &mut String, cost: &Cost, with_daemon: bool) -> std::fmt::Result {
    let daemon = if with_daemon { format!("  {}", plain(&cost.daemon)) } else { String::new() };
    writeln!(
        out,
        "STREAM {}  delivery stream {}{daemon}",
        plain(&cost.stream),
        plain(&cost.delivery_stream)
    )?;
    writeln!(
        out,
        "  since the start {} ago: {} records, {} delivered, {} billed: {}",
        super::status::duration(cost.seconds),
        cost.records,
        gigabytes(cost.bytes),
        gigabytes(cost.billed_bytes),
        money(cost.dollars)
    )?;
    if cost.billed_bytes == 0 {
        return writeln!(out, "  nothing was delivered, so nothing can be said");
    }
    writeln!(
        out,
        "  at this rate: {} a day, {} a month",
        money(cost.dollars_a_day),
        money(cost.dollars_a_month)
    )?;
    let part = |saving: &Saving| saving.part.unwrap_or_default() * 100.0;
    let a_month = |saving: &Saving| money(saving.dollars_a_month.unwrap_or_default());
    match cost.packing.is_on {
        true => writeln!(out, "  packing is on")?,
        false => writeln!(
            out,
            "  packing would save up to {:.0} %: {} a month",
            part(&cost.packing),
            a_month(&cost.packing)
        )?,
    }
    let saving = &cost.compression;
    match (saving.is_on, saving.ratio, saving.part) {
        (true, Some(ratio), Some(_)) => writeln!(
            out,
            "  compression is on: records are {ratio:.1} times smaller than what they hold of files (measured), \
             which saves {:.0} %: {} a month",
            part(saving),
            a_month(saving)
        ),
        (true, ..) => writeln!(out, "  compression is on"),
        (false, ratio, _) => writeln!(
            out,
            "  packing with compression would save up to {:.0} %: {} a month, if records become {} times smaller \
             (assumed)",
            part(saving),
            a_month(saving),
            ratio.unwrap_or_default()
        ),
    }
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.3} GB", bytes as f64 / GB)
}

/// Dollars with two digits, of small sums more.
fn money(dollars: f64) -> String {
    match dollars {
        0.0 => "$0".to_owned(),
        ..0.01 => format!("${dollars:.6}"),
        ..1.0 => format!("${dollars:.4}"),
        _ => format!("${dollars:.2}"),
    }
}

#[cfg(test)]
mod tests;

//! Dead letters that are sent again.

use std::collections::VecDeque;

use bytes::Bytes;

use super::*;
use crate::engine::port::{Letter, LetterEnd, LetterId};
use crate::engine::shaping::gzip_member;
use crate::model::settings::{Compression, Packing};
use crate::rules::quota::Cost;

fn streams(settings: StreamSettings) -> Streams {
    let checkpoint = CheckpointSettings { interval: Duration::from_secs(1), max_bytes: 1 << 30 };
    Streams::try_new(&[settings], checkpoint, 1, at(0)).unwrap()
}

fn letter(number: i64, data: &'static [u8]) -> Letter {
    Letter { id: LetterId(number), stream: "stream-0".into(), records: vec![Bytes::from_static(data)] }
}

/// Sends what there is until nothing is left, and answers each request at once by what `judge` makes of its data.
fn play(streams: &mut Streams, mut judge: impl FnMut(&Bytes) -> Verdict) -> Vec<(i64, LetterEnd)> {
    let (mut ends, mut now) = (Vec::new(), at(0));
    let mut counts = vec![StreamCounts::default()];
    let mut waiting = Waiting(BTreeMap::new());
    loop {
        let (puts, _, held) = streams.send(&mut waiting, now);
        ends.extend(held);
        if puts.is_empty() {
            match streams.deadline() {
                Some(at) => now = now.max(at),
                None => break,
            }
        }
        for put in puts {
            let verdicts: Vec<_> = put.records.iter().map(&mut judge).collect();
            let outcome = Outcome { verdicts, took: Duration::from_millis(1) };
            let judged =
                streams.judge_letters(put.request, &outcome, |_| Encryption::Optional, &mut counts, now);
            ends.extend(judged.expect("it has letters").0);
        }
    }
    let mut ends = streams.whole_letters(ends);
    assert!(!streams.any_under_way());
    ends.sort_by_key(|(letter, _)| *letter);
    ends.into_iter().map(|(letter, end)| (letter.0, end)).collect()
}

fn kept_for(end: &LetterEnd) -> &str {
    match end {
        LetterEnd::Kept(why) => &why.code,
        LetterEnd::Accepted => "accepted",
        LetterEnd::NotSent => "not sent",
    }
}

fn ends_of(ends: &[(i64, LetterEnd)]) -> Vec<(i64, &str)> {
    ends.iter().map(|(letter, end)| (*letter, kept_for(end))).collect()
}

#[test]
fn a_letter_is_accepted_or_kept_and_one_that_is_refused_spoils_no_batch() {
    for api in [Api::PutRecord, Api::Auto, Api::PutRecordBatch] {
        let mut streams = streams(StreamSettings { api, ..settings() });
        let letters = vec![letter(1, b"a"), letter(2, b"bad"), letter(3, b"c")];
        assert_eq!(streams.add_letters(letters, at(0)), []);
        // As the service does: a batch with a bad record is refused as a whole.
        let mut is_batch_refused = api != Api::PutRecord;
        let mut left = 3;
        let ends = play(&mut streams, |data| {
            if is_batch_refused {
                left -= 1;
                is_batch_refused = left > 0;
                return rejected();
            }
            if data == &b"bad"[..] { rejected() } else { delivered() }
        });
        assert_eq!(ends_of(&ends), [(1, "accepted"), (2, "InvalidRecord"), (3, "accepted")], "{api:?}");
    }
}

/// What the service says of each of the records, and what becomes of the letter.
#[test]
fn a_letter_of_several_records_has_one_end() {
    let (yes, no) = (delivered(), rejected());
    for (verdicts, end) in [
        (vec![yes.clone(), yes.clone(), yes.clone()], "accepted"),
        (vec![yes.clone(), no.clone(), yes.clone()], "InvalidRecord"),
        (vec![no, yes.clone(), yes], "InvalidRecord"),
    ] {
        let mut streams = streams(StreamSettings { api: Api::PutRecord, ..settings() });
        let records = ["a", "b", "c"].map(|data| Bytes::from_static(data.as_bytes())).to_vec();
        let none = Letter { records: Vec::new(), ..letter(2, b"") };
        let ends = streams.add_letters(vec![Letter { records, ..letter(1, b"") }, none], at(0));
        let ends = ends.into_iter().map(|(letter, end)| (letter.0, end)).collect::<Vec<_>>();
        assert_eq!(ends_of(&ends), [(2, "accepted")], "of which nothing is sent");
        let mut verdicts = verdicts.into_iter();
        let ends = play(&mut streams, |_| verdicts.next().expect("three records"));
        assert_eq!(ends_of(&ends), [(1, end)]);
    }
}

#[test]
fn what_fails_is_sent_again_eight_times_at_most() {
    for (failures, end) in [(1, "accepted"), (7, "accepted"), (8, "Code"), (99, "Code")] {
        let mut streams = streams(settings());
        streams.add_letters(vec![letter(1, b"a")], at(0));
        let mut verdicts: VecDeque<_> = (0..failures).map(|_| retry(RetryReason::Throttled)).collect();
        let ends = play(&mut streams, |_| verdicts.pop_front().unwrap_or_else(delivered));
        assert_eq!(ends_of(&ends), [(1, end)], "after {failures}");
    }
}

#[test]
fn a_letter_of_a_stream_that_is_gone_or_held_or_that_is_too_large_blocks_no_other() {
    let mut streams = streams(settings());
    let gone = Letter { stream: "gone".into(), ..letter(1, b"a") };
    let large = Letter { records: vec![vec![0; 1_024_001].into()], ..letter(2, b"") };
    let ends = streams.add_letters(vec![gone, large, letter(3, b"c")], at(0));
    let codes: Vec<_> = ends.iter().map(|(letter, end)| (letter.0, kept_for(end))).collect();
    assert_eq!(codes, [(1, "NoStream"), (2, "TooLarge")]);
    assert_eq!(ends_of(&play(&mut streams, |_| delivered())), [(3, "accepted")]);

    streams.add_letters(vec![letter(4, b"d"), letter(5, b"e")], at(0));
    let ends = play(&mut streams, |_| retry(RetryReason::Setup));
    assert_eq!(ends_of(&ends), [(4, "Code"), (5, "Code")]);
    streams.lanes[LANE].circuit.stop(Retry::not_encrypted(), at(0));
    streams.add_letters(vec![letter(6, b"f")], at(0));
    assert_ne!(ends_of(&play(&mut streams, |_| delivered())), [(6, "accepted")], "the stream is held");
}

/// What was kept before the stream was compressed, or before it became a record.
#[test]
fn a_plain_letter_is_compressed_where_records_are_and_a_compressed_one_stays_as_it_is() {
    let packing = |compression| Packing::On { bytes: 1_000, delay: Duration::ZERO, compression };
    let member = gzip_member(b"a\n", 100).expect("it is short");
    for (compression, sent) in [
        (Compression::Gzip, [member.clone(), member.clone()]),
        (Compression::None, [b"a\n".to_vec(), member.clone()]),
    ] {
        let mut streams = streams(StreamSettings { packing: packing(compression), ..settings() });
        let compressed = Letter { records: vec![member.clone().into()], ..letter(2, b"") };
        streams.add_letters(vec![letter(1, b"a\n"), compressed], at(0));
        let mut seen = Vec::new();
        play(&mut streams, |data| {
            seen.push(data.to_vec());
            delivered()
        });
        assert_eq!(seen, sent, "{compression:?}");
    }
}

#[test]
fn letters_that_are_stopped_were_not_sent_and_those_under_way_get_their_end() {
    let mut streams = streams(StreamSettings {
        api: Api::PutRecord,
        max_in_flight: NonZeroU32::new(1).unwrap(),
        ..settings()
    });
    streams.add_letters(vec![letter(1, b"a"), letter(2, b"b")], at(0));
    let (puts, ..) = streams.send(&mut Waiting(BTreeMap::new()), at(0));
    assert_eq!(puts.len(), 1);
    assert_eq!(streams.stop_letters(), [(LetterId(2), LetterEnd::NotSent)]);
    assert!(streams.any_under_way(), "a drain waits for it");
    let outcome = Outcome { verdicts: vec![delivered()], took: Duration::ZERO };
    let mut counts = vec![StreamCounts::default()];
    let judged =
        streams.judge_letters(puts[0].request, &outcome, |_| Encryption::Optional, &mut counts, at(1));
    assert_eq!(judged.unwrap().0, [(LetterId(1), LetterEnd::Accepted)]);
    assert_eq!((counts[0].records_delivered, streams.any_under_way()), (1, false));
}

/// L5: with records of files and letters together, no more leaves in any second than the quota allows; and each of the two
/// gets about half of it.
#[test]
fn l5_records_and_letters_together_stay_within_the_quota_and_share_it() {
    for (api, requests, records, bytes) in [
        (Api::PutRecord, 50, 5_000, 1 << 20),
        (Api::PutRecordBatch, 50, 200, 1 << 20),
        (Api::Auto, 1_000, 5_000, 20 << 10),
    ] {
        let quota = QuotaSettings {
            requests_per_second: NonZeroU32::new(requests).unwrap(),
            records_per_second: NonZeroU32::new(records).unwrap(),
            bytes_per_second: bytes,
            share: 0.9,
            adaptive: Adaptive::Off,
        };
        let mut streams = streams(StreamSettings { api, quota, ..settings() });
        let mut state = beginning(1, whose(0, 1));
        let line = "x".repeat(199) + "\n";
        let fresh = read(&mut state, &vec![line.as_str(); 3_000], at(0));
        streams.offer(&mut state, fresh);
        let letters = (0..3_000)
            .map(|number| Letter { records: vec![Bytes::from(vec![b'y'; 200])], ..letter(number, b"") });
        streams.add_letters(letters.collect(), at(0));
        let mut waiting = Waiting([(Incarnation(1), state)].into());
        let mut counts = vec![StreamCounts::default()];
        let (mut now, mut left) = (at(0), Vec::<(Instant, Cost)>::new());
        let (mut of_files, mut of_letters) = (0, 0);
        while now < at(5) {
            let (puts, ..) = streams.send(&mut waiting, now);
            let is_idle = puts.is_empty();
            for put in puts {
                let bytes: usize = put.records.iter().map(Bytes::len).sum();
                left.push((now, Cost::of_request(put.records.len(), bytes)));
                let verdicts = vec![delivered(); put.records.len()];
                let outcome = Outcome { verdicts, took: Duration::ZERO };
                let encryption = |_| Encryption::Optional;
                let judged = streams.judge_letters(put.request, &outcome, encryption, &mut counts, now);
                match judged {
                    Some((ends, _)) => of_letters += ends.len(),
                    None => {
                        let judged = streams.judge(put.request, outcome, encryption, &mut counts, now);
                        of_files += judged.delivered.len();
                    }
                }
            }
            if is_idle {
                now = streams.deadline().expect("both wait for the quota").max(now);
            }
        }
        let allowed = [f64::from(requests) * 0.9, f64::from(records) * 0.9, (bytes / 1024) as f64 * 0.9];
        for (index, (from, _)) in left.iter().enumerate() {
            let in_second =
                left[index..].iter().take_while(|(at, _)| at.since(*from) < Duration::from_secs(1));
            let mut sum = [0; 3];
            for (_, cost) in in_second {
                sum = [sum[0] + cost.requests, sum[1] + cost.records, sum[2] + cost.kib];
            }
            for (used, allowed) in sum.into_iter().zip(allowed) {
                assert!(f64::from(used) <= allowed, "L5: {api:?}: {sum:?} within {allowed:?} from {from:?}");
            }
        }
        let share = of_letters as f64 / (of_letters + of_files) as f64;
        assert!((0.4..0.6).contains(&share), "{api:?}: {of_letters} letters beside {of_files} records");
    }
}

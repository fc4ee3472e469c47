//! RecordIds in the state: with their checkpoint or not at all, for a week, and within their room.

use super::*;
use crate::model::audit::{Acknowledged, AuditBlock, AuditedFile};
use crate::model::record::Entry;
use crate::model::record_id::RecordId;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// RecordIds of 1,000 records, each of ten bytes, with so many bytes of text.
fn block(incarnation: u64, from: u64, id_bytes: usize, unix_ms: i64) -> Arc<AuditBlock> {
    let Checkpoint { path, target, identity, origin, stream, .. } = checkpoint(incarnation, 0);
    let record = |number: u64| {
        let start = Offset::new(number * 10);
        // No two have much in common.
        let id =
            format!("{:x}", xxhash_rust::xxh3::xxh3_128(&number.to_le_bytes())).repeat(id_bytes.div_ceil(32));
        let id = RecordId::alone(&id[..id_bytes.min(id.len())], unix_ms);
        Acknowledged {
            entry: Entry(number),
            span: Span::new(start, start.plus(10)),
            left_out: Vec::new(),
            id,
        }
    };
    let file = AuditedFile {
        incarnation: Incarnation(incarnation),
        stream,
        delivery_stream: "at-aws".into(),
        path,
        target,
        identity,
        origin,
    };
    Arc::new(AuditBlock { file, records: (from..from + 1000).map(record).collect(), max_bytes: 1 << 20 })
}

fn with(blocks: &[Arc<AuditBlock>], checkpoints: &[Checkpoint]) -> Save {
    Save { audit: blocks.to_vec(), ..save(checkpoints) }
}

fn blocks(dir: &Path, wanted: &WantedBlocks) -> Vec<StoredBlock> {
    let mut found = Vec::new();
    let each = |block| {
        found.push(block);
        true
    };
    Reader::open(dir).unwrap().audit(wanted, each).unwrap();
    found
}

#[test]
fn what_is_committed_is_read_back_also_after_a_crash() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path());
    let (first, second) = (block(3, 0, 48, now_ms()), block(4, 0, 48, now_ms()));
    store.commit(&with(&[Arc::clone(&first), Arc::clone(&second)], &[checkpoint(3, 10_000)])).unwrap();
    let copy = crashed(dir.path());
    load(copy.path());
    for dir in [dir.path(), copy.path()] {
        let found = blocks(dir, &WantedBlocks::All);
        assert_eq!(found.iter().map(|block| &block.file).collect::<Vec<_>>(), [&first.file, &second.file]);
        for (found, block) in found[0].records.iter().zip(&first.records) {
            assert_eq!((&*found.id, found.span), (block.id.as_str(), block.span));
            assert_eq!(found.unix_ms, block.id.unix_ms());
        }
        let of_one = blocks(dir, &WantedBlocks::Of([Incarnation(4)].into()));
        assert_eq!(of_one.len(), 1);
        let reader = Reader::open(dir).unwrap();
        let by_target = reader.audited(Path::new("/srv/web.log"), None).unwrap();
        assert_eq!(by_target, [Incarnation(3)].into());
        let by_file = reader.audited(Path::new("/elsewhere"), Some(second.file.identity)).unwrap();
        assert_eq!(by_file, [Incarnation(4)].into());
        let streams = reader.audited_streams().unwrap();
        assert_eq!((streams.len(), &*streams[0].stream), (1, "app-logs"));
    }
}

#[test]
fn a_commit_that_fails_keeps_no_record_id() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path());
    store.commit(&save(&[checkpoint(1, 1)])).unwrap();
    sql(
        dir.path(),
        "CREATE TRIGGER boom BEFORE INSERT ON dead_letters BEGIN SELECT RAISE(ABORT, 'boom'); END",
    );
    let wanted = with(&[block(1, 0, 48, now_ms())], &[checkpoint(1, 10_000)]);
    store.commit(&Save { dead_letters: vec![letter("code", b"data")], ..wanted.clone() }).unwrap_err();
    assert!(blocks(dir.path(), &WantedBlocks::All).is_empty());
    store.commit(&wanted).unwrap();
    assert_eq!(blocks(dir.path(), &WantedBlocks::All).len(), 1);
}

#[test]
fn record_ids_are_kept_for_seven_days() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path());
    let ages = [8, 6, 0].map(|days| block(1, days, 48, now_ms() - i64::try_from(days).unwrap() * DAY_MS));
    for block in ages {
        store.commit(&with(&[block], &[])).unwrap();
    }
    // They are looked for once an hour, and at a start.
    drop(store);
    open(dir.path()).0.commit(&save(&[checkpoint(1, 11)])).unwrap();
    let left: Vec<_> = blocks(dir.path(), &WantedBlocks::All)
        .iter()
        .map(|block| block.records[0].span.start().bytes() / 10)
        .collect();
    assert_eq!(left, [6, 0]);
}

#[test]
fn the_oldest_record_ids_of_a_stream_go_where_it_has_no_room() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path());
    // A megabyte is the room; each block takes some 200,000 bytes.
    for number in 0..40 {
        store.commit(&with(&[block(1, number * 1000, 200, now_ms())], &[])).unwrap();
        let found = blocks(dir.path(), &WantedBlocks::All);
        assert!(found.len() <= 6, "{number}: {}", found.len());
        assert_eq!(
            found.last().unwrap().records[0].span.start().bytes(),
            number * 10_000,
            "the newest stays"
        );
    }
    assert!(blocks(dir.path(), &WantedBlocks::All).len() >= 4);
    let size = fs::metadata(database(dir.path())).unwrap().len();
    assert!(size < 4 << 20, "{size} bytes for what is used again");
}

#[test]
fn damage_costs_a_row_and_nothing_else() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path());
    let both = [block(1, 0, 48, now_ms()), block(2, 0, 48, now_ms())];
    store.commit(&with(&both, &[checkpoint(1, 10_000)])).unwrap();
    drop(store);
    sql(dir.path(), "UPDATE audit SET path = CAST('/other' AS BLOB) WHERE id = 1");
    assert_eq!(blocks(dir.path(), &WantedBlocks::All).len(), 1);
    assert_eq!(load(dir.path()).checkpoints.len(), 1);
}

/// `checkpoints forget` gives up the position, and not what was shipped by it.
#[test]
fn a_position_that_is_forgotten_leaves_its_record_ids() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path());
    store.commit(&with(&[block(1, 0, 48, now_ms())], &[checkpoint(1, 10_000)])).unwrap();
    store.commit(&forget(&[1])).unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    assert!(reader.checkpoints().unwrap().is_empty());
    assert_eq!(reader.audited(Path::new("/var/log/app/web.log"), None).unwrap(), [Incarnation(1)].into());
}

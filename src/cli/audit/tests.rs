use std::path::Path;

use super::*;
use crate::model::identity::{Identity, Origin};

fn kept(id: &str, start: u64, end: u64) -> Kept {
    let span = Span::new(Offset::new(start), Offset::new(end));
    Kept { id: id.to_owned(), span, left_out: Vec::new(), unix_ms: 1_795_900_000_000 }
}

fn block(path: &str, records: Vec<Kept>) -> StoredBlock {
    let file = AuditedFile {
        incarnation: Incarnation(0x1f),
        stream: "logs".into(),
        delivery_stream: "logs-1".into(),
        path: Path::new(path).into(),
        target: None,
        identity: Identity { device: 0x803, inode: 0x12, birth_nanos: None },
        origin: Origin { device: 0x803, inode: 0x11 },
    };
    StoredBlock { file, records }
}

fn shown(found: &[Found], json: bool) -> String {
    let mut out = Vec::new();
    write(&mut out, found, &BTreeMap::new(), json).expect("memory");
    String::from_utf8(out).expect("text")
}

#[test]
fn pieces_of_one_message_stand_together_for_its_bytes() {
    let records = vec![kept("a", 0, 5), kept("b", 5, 5), kept("c", 5, 5), kept("d", 5, 9), kept("e", 9, 12)];
    let found = together(block("/a.log", records));
    let held: Vec<_> = found
        .iter()
        .map(|found| (&*found.record.id, found.bytes.start().bytes(), found.bytes.end().bytes(), found.of))
        .collect();
    assert_eq!(held, [("a", 0, 5, 1), ("b", 5, 9, 3), ("c", 5, 9, 3), ("d", 5, 9, 3), ("e", 9, 12, 1)]);
    let at = |offset| {
        let holds = found.iter().filter(|found| found.holds(Offset::new(offset)));
        holds.map(|found| &*found.record.id).collect::<Vec<_>>().concat()
    };
    assert_eq!([0, 4, 5, 8, 9, 11, 12].map(at), ["a", "a", "bcd", "bcd", "e", "e", ""]);
}

#[test]
fn a_line_that_was_left_out_of_a_packed_record_is_in_none() {
    let gap = Span::new(Offset::new(3), Offset::new(6));
    let found = together(block("/a.log", vec![Kept { left_out: vec![gap], ..kept("a", 0, 9) }]));
    let holds = [2, 3, 5, 6].map(|at| found[0].holds(Offset::new(at)));
    assert_eq!(holds, [true, false, false, true]);
    assert_eq!(held(&found[0]), [[0, 3], [6, 9]]);
    assert!(
        shown(&found, false).contains("bytes 0-9  2026-11-28T")
            && shown(&found, false).contains("(without 3-6)")
    );
}

#[test]
fn a_name_and_a_record_id_cannot_steer_the_terminal() {
    let found = together(block("/a\u{1b}[2J.log", vec![kept("id\u{202e}", 0, 5)]));
    for json in [false, true] {
        let shown = shown(&found, json);
        assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown}");
    }
    let object: serde_json::Value = serde_json::from_str(&shown(&found, true)).expect("JSON");
    assert_eq!(object["id"], "803-11-1f");
    assert_eq!(object["path"], "/a\u{1b}[2J.log");
    assert_eq!(object["record_id"], "id\u{202e}");
}

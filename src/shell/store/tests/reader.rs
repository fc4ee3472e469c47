//! What others see beside a running store.

use super::*;

#[test]
fn a_reader_sees_what_is_durable_beside_a_running_store() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path());
    store.commit(&save(&[checkpoint(1, 10)])).unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    let stored = reader.checkpoints().unwrap();
    assert_eq!(stored[0].checkpoint, checkpoint(1, 10));
    assert!(stored[0].updated_ms > 1_500_000_000_000);

    let letters = (0..10_u8).map(|n| letter("code", &vec![n; usize::from(n)])).collect();
    store.commit(&Save { dead_letters: letters, ..save(&[checkpoint(1, 11)]) }).unwrap();
    assert_eq!(reader.checkpoints().unwrap()[0].checkpoint, checkpoint(1, 11));
    assert_eq!(reader.dead_letter_bytes().unwrap(), 45);

    let mut seen = Vec::new();
    loop {
        let after = seen.last().map_or(DeadLetterId::default(), |it: &StoredDeadLetter| it.id);
        let page = reader.dead_letters(after, 3).unwrap();
        if page.is_empty() {
            break;
        }
        seen.extend(page);
    }
    let lengths: Vec<_> = seen.iter().map(|it| it.letter.data.len()).collect();
    assert_eq!(lengths, (0..10).collect::<Vec<_>>());
    assert!(seen[0].time_ms > 1_500_000_000_000);

    let ids: Vec<_> = seen.iter().filter(|it| it.letter.data.len() > 5).map(|it| it.id).collect();
    store.delete_dead_letters(&ids).unwrap();
    assert_eq!((store.dead_letter_bytes(), reader.dead_letter_bytes().unwrap()), (15, 15));
}

#[test]
fn a_reader_where_no_daemon_has_been_says_so_and_makes_nothing() {
    let dir = TempDir::new().unwrap();
    let error = Reader::open(dir.path()).unwrap_err();
    assert!(matches!(&error, StoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound));
    assert_eq!(error.exit_code(), 74);
    assert_eq!(content(dir.path()), []);
}

#[test]
fn operators_can_read_the_views() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path());
    store.commit(&Save { dead_letters: vec![letter("code", b"123")], ..save(&[checkpoint(1, 10)]) }).unwrap();
    let connection = Connection::open(database(dir.path())).unwrap();
    let text = |query: &str| connection.query_row(query, [], |row| row.get::<_, String>(0)).unwrap();
    let shown = text("SELECT path || ' ' || offset || ' ' || born FROM checkpoints_readable");
    assert_eq!(shown, "/var/log/app/web.log 10 2023-11-14 22:13:20");
    assert_eq!(
        text("SELECT path || ' ' || code || ' ' || bytes FROM dead_letters_readable"),
        "/var/log/app/web.log code 3"
    );
}

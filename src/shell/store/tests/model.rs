//! Against a model: any fields, any sequence of saves, any moment for a crash.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStringExt as _;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::message::{Channel, Part, RuntimeMetadata};
use crate::model::said::{Said, SaidIn, Unmade};

fn any_path() -> impl Strategy<Value = Arc<Path>> {
    prop::collection::vec(1_u8.., 1..40).prop_map(|bytes| Arc::from(PathBuf::from(OsString::from_vec(bytes))))
}

fn any_checkpoint() -> impl Strategy<Value = Checkpoint> {
    (
        (any::<u64>(), any::<String>(), any_path()),
        (any::<u64>(), any::<u64>(), any::<Option<i64>>()),
        (any::<u16>(), any::<u128>(), any::<u64>(), any::<u16>(), any::<u128>()),
        (
            any::<Option<(u64, u64)>>(),
            prop::option::of(any_path()),
            any::<Option<(i64, i64, u32)>>(),
            any::<u64>(),
            (any::<Option<(u64, [u8; 16])>>(), any::<u64>()),
            (any::<(u16, u128)>(), prop::collection::vec((1_u64..50, 1_u64..50), 0..=64)),
        ),
    )
        .prop_map(|((number, stream, path), (device, inode, birth_nanos), rest, later)| Checkpoint {
            settled: any_settled(rest.2, later.5),
            incarnation: Incarnation(number),
            stream: Arc::from(stream),
            path,
            target: later.1,
            identity: Identity { device, inode, birth_nanos },
            seen: later.2.map(|(first_nanos, last_nanos, owner)| Seen { first_nanos, last_nanos, owner }),
            origin: later.0.map_or(Origin { device, inode }, |(device, inode)| Origin { device, inode }),
            skipped_bytes: later.3,
            fingerprint: Fingerprint::from_parts(rest.0, rest.1),
            offset: Offset::new(rest.2),
            window: Window::from_parts(rest.3, rest.4),
            seen_bytes: later.4.1,
            proof: later.4.0.map(|(to, digest)| Proof { to, digest }),
        })
}

/// Ranges of such lengths behind such gaps; none where the file would be too long.
fn any_settled(frontier: u64, ((len, hash), ranges): ((u16, u128), Vec<(u64, u64)>)) -> Settled {
    let mut end = frontier;
    let mut spans = Vec::new();
    for (gap, len) in ranges {
        let Some(next) = end.checked_add(gap + len) else { return Settled::default() };
        spans.push(Span::new(Offset::new(end + gap), Offset::new(next)));
        end = next;
    }
    Settled::try_new(Offset::new(frontier), spans, Window::from_parts(len, hash)).expect("ranges in order")
}

fn any_letter() -> impl Strategy<Value = DeadLetter> {
    (
        (any::<String>(), any::<String>(), any_path(), any::<u64>()),
        (any::<String>(), any::<String>(), any::<Vec<u8>>()),
        proptest::option::of((any::<u64>(), any::<String>(), any::<bool>())),
    )
        .prop_map(|((stream, source, path, offset), (code, message, data), unmade)| DeadLetter {
            stream: Arc::from(stream),
            source: Arc::from(source),
            path,
            offset: Offset::new(offset),
            code: Arc::from(code),
            message: Arc::from(message),
            data: Bytes::from(data),
            target: unmade.is_some().then(|| Path::new("/real").into()),
            unmade: unmade.map(|(at, time, is_error)| Box::new(any_unmade(at, time, is_error))),
        })
}

fn any_unmade(at: u64, time: String, is_error: bool) -> Unmade {
    let channel = if is_error { Channel::Stderr } else { Channel::Stdout };
    let metadata = Some(RuntimeMetadata { channel, time: time.into() });
    let said =
        Said { at: Offset::new(at), before: at / 2, has_newline: is_error, part: Part::GoesOn, metadata };
    let (origin, incarnation) = (Origin { device: at, inode: 2 }, Incarnation(at));
    Unmade { said, file: SaidIn { origin, incarnation, unix_time: Duration::from_millis(3) } }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_field_comes_back_as_it_was_saved(
        checkpoints in prop::collection::vec(any_checkpoint(), 0..8),
        dead_letters in prop::collection::vec(any_letter(), 0..4),
    ) {
        let dir = TempDir::new().unwrap();
        let save = Save { checkpoints: checkpoints.clone(), forgotten: Vec::new(), dead_letters: dead_letters.clone(), ..Save::default() };
        open(dir.path()).0.commit(&save).unwrap();

        let mut expected: Vec<_> = checkpoints;
        expected.sort_by_key(|it| it.incarnation);
        let (_store, loaded) = open(dir.path());
        let mut found = loaded.checkpoints;
        found.sort_by_key(|it| it.incarnation);
        prop_assert_eq!(found, expected);

        let reader = Reader::open(dir.path()).unwrap();
        let letters = reader.dead_letters(DeadLetterId::default(), 100).unwrap();
        let bytes: u64 = dead_letters.iter().map(|it| it.data.len() as u64).sum();
        prop_assert_eq!(letters.into_iter().map(|it| it.letter).collect::<Vec<_>>(), dead_letters);
        prop_assert_eq!(loaded.dead_letter_bytes, bytes);
        prop_assert_eq!(reader.dead_letter_bytes().unwrap(), bytes);
    }

    #[test]
    fn the_state_is_what_the_saves_add_up_to(
        steps in prop::collection::vec((0_u64..6, any::<Option<u32>>(), any::<bool>()), 1..24),
    ) {
        let dir = TempDir::new().unwrap();
        let (mut store, _) = open(dir.path());
        let mut model = BTreeMap::new();
        for (number, offset, reopened) in steps {
            let change = match offset {
                Some(offset) => {
                    let one = checkpoint(number, u64::from(offset));
                    model.insert(number, one.clone());
                    save(&[one])
                }
                None => {
                    model.remove(&number);
                    forget(&[number])
                }
            };
            store.commit(&change).unwrap();
            let copy = crashed(dir.path());
            prop_assert_eq!(load(copy.path()).checkpoints, model.values().cloned().collect::<Vec<_>>());
            if reopened {
                drop(store);
                store = open(dir.path()).0;
            }
        }
    }
}

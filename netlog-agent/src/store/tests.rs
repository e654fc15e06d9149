use std::os::unix::fs::PermissionsExt;

use netlog_core::log::LoggedEvent;
use proptest::prelude::*;

use super::*;

fn sample(id: u128) -> LogObject {
    let at = UtcDateTime::from_unix_timestamp(1_700_000_000).unwrap();
    LogObject {
        name: format!("log {id}"),
        resource_id: Some(Uuid::from_u128(77)),
        event: LoggedEvent::Drop,
        revision_number: 3,
        created_at: at,
        updated_at: at,
        ..LogObject::new(Uuid::from_u128(id), "demo")
    }
}

#[test]
fn log_objects_and_slots_outlive_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made/on/the/way/netlog.db");
    let ports: Vec<Uuid> = (0..5).map(Uuid::from_u128).collect();
    let store = Store::open(&path).unwrap();
    store.create_logs(&[sample(1), sample(2)]).unwrap();
    let slots = store.slots(&ports).unwrap();
    drop(store);

    let store = Store::open(&path).unwrap();
    assert_eq!(store.logs().unwrap(), [sample(1), sample(2)]);
    assert_eq!(store.log(Uuid::from_u128(2)).unwrap(), Some(sample(2)));
    assert_eq!(store.slots(&ports).unwrap(), slots);
    let next = store.slots(&[Uuid::from_u128(9), ports[0]]).unwrap();
    assert_eq!(next, [6, slots[0]]);
    for file in std::fs::read_dir(path.parent().unwrap()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", file.path());
    }
}

#[test]
fn a_bulk_create_is_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("netlog.db")).unwrap();
    let mut broken = sample(2);
    broken.revision_number = u64::MAX;
    store.create_logs(&[sample(1), broken]).unwrap_err();
    store.create_logs(&[sample(1), sample(1)]).unwrap_err();
    assert_eq!(store.logs().unwrap(), []);
}

#[test]
fn a_refused_change_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("netlog.db")).unwrap();
    store.create_logs(&[sample(1)]).unwrap();
    let id = Uuid::from_u128(1);
    store
        .update_log(id, |log| {
            log.name = "changed".to_owned();
            Err(StoreError::Foreign { path: "".into() })
        })
        .unwrap_err();
    assert_eq!(store.logs().unwrap(), [sample(1)]);
    let updated = store.update_log::<StoreError>(id, |log| {
        log.enabled = false;
        Ok(true)
    });
    assert!(!updated.unwrap().unwrap().enabled);
    assert!(!store.log(id).unwrap().unwrap().enabled);
    let missing = Uuid::from_u128(5);
    assert_eq!(
        store
            .update_log::<StoreError>(missing, |_| Ok(true))
            .unwrap(),
        None
    );
    assert_eq!(
        store.delete_log::<StoreError>(missing, |_| Ok(())).unwrap(),
        None
    );
    store.delete_log::<StoreError>(id, |_| Ok(())).unwrap();
    assert_eq!(store.logs().unwrap(), []);
}

#[test]
fn a_change_of_any_field_is_kept_and_of_no_other() {
    let changes: [fn(&mut LogObject); 12] = [
        |log| log.project_id = "other".to_owned(),
        |log| log.name = "other".to_owned(),
        |log| log.description = "other".to_owned(),
        |log| log.resource_type = "other".to_owned(),
        |log| log.resource_id = None,
        |log| log.target_id = Some(Uuid::from_u128(78)),
        |log| log.event = LoggedEvent::Accept,
        |log| log.enabled = !log.enabled,
        |log| log.revision_number += 1,
        |log| log.created_at += Duration::from_secs(1),
        |log| log.updated_at += Duration::from_secs(1),
        |_| {},
    ];
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("netlog.db")).unwrap();
    store.create_logs(&[sample(1), sample(2)]).unwrap();
    let mut expected = sample(1);
    for change in changes {
        let before = expected.clone();
        change(&mut expected);
        let told = store.update_log::<StoreError>(expected.id, |log| {
            assert_eq!(*log, before);
            change(log);
            Ok(true)
        });
        assert_eq!(told.unwrap().as_ref(), Some(&expected));
        assert_eq!(store.logs().unwrap(), [expected.clone(), sample(2)]);
    }
}

#[test]
fn of_these_log_objects_those_go_that_are_to() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("netlog.db")).unwrap();
    let mut disabled = sample(1);
    disabled.enabled = false;
    store
        .create_logs(&[disabled.clone(), sample(2), sample(3), sample(4)])
        .unwrap();
    let asked = [4, 9, 1, 3].map(Uuid::from_u128);
    let deleted = store.delete_logs_if(&asked, |log| log.id != sample(3).id);
    assert_eq!(deleted.unwrap(), [sample(4), disabled]);
    assert_eq!(store.logs().unwrap(), [sample(2), sample(3)]);
}

#[test]
fn other_databases_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    let other = Connection::open(&path).unwrap();
    other
        .execute_batch("CREATE TABLE songs (title TEXT)")
        .unwrap();
    assert!(matches!(
        Store::open(&path),
        Err(StoreError::Foreign { .. })
    ));

    let path = folder.path().join("newer.db");
    drop(Store::open(&path).unwrap());
    let newer = Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 99, .. }));
    assert!(
        error.to_string().contains("newer.db: has layout 99"),
        "{error}"
    );

    let path = folder.path().join("text.db");
    std::fs::write(&path, "this is not a database, only a text of some length").unwrap();
    assert!(matches!(Store::open(&path), Err(StoreError::Sqlite { .. })));
    let error = Store::open("/proc/netlog/netlog.db").unwrap_err();
    assert!(matches!(error, StoreError::Create { .. }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// However ports arrive, and however often the store is opened: one port, one slot.
    #[test]
    fn slots_are_stable_and_unique(rounds in prop::collection::vec(prop::collection::vec(0u128..40, 0..20), 1..6)) {
        let folder = tempfile::tempdir().unwrap();
        let mut known = BTreeMap::new();
        for round in rounds {
            let store = Store::open(folder.path().join("netlog.db")).unwrap();
            let ports: Vec<Uuid> = round.into_iter().map(Uuid::from_u128).collect();
            for (port, slot) in ports.iter().zip(store.slots(&ports).unwrap()) {
                prop_assert_eq!(*known.entry(*port).or_insert(slot), slot);
            }
        }
        let mut slots: Vec<u32> = known.values().copied().collect();
        slots.sort_unstable();
        prop_assert_eq!(slots, (1..=u32::try_from(known.len()).unwrap()).collect::<Vec<_>>());
    }
}

/// A log object that is not there.
#[derive(Debug, PartialEq, Eq)]
struct Missing(Uuid);

impl From<StoreError> for Missing {
    fn from(error: StoreError) -> Self {
        panic!("{error}")
    }
}

#[test]
fn a_limit_is_kept_with_its_log_object_and_goes_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("netlog.db");
    let [one, two, none] = [1, 2, 3].map(Uuid::from_u128);
    let quota = |rate| Quota::new(rate, 25).unwrap();
    let set = |store: &Store, limits: &[(Uuid, Option<Quota>)]| {
        store.update_log_limits(
            |_| Ok::<_, Missing>(limits.iter().copied().collect()),
            Missing,
        )
    };
    let store = Store::open(&path).unwrap();
    store.create_logs(&[sample(1), sample(2)]).unwrap();
    set(&store, &[(one, Some(quota(10))), (two, Some(quota(20)))]).unwrap();
    let changed = set(&store, &[(one, Some(quota(11)))]).unwrap();
    let change = LogChange {
        log: one,
        before: Some(quota(10)),
        after: Some(quota(11)),
    };
    assert_eq!(changed, [change]);
    // All of it or nothing.
    let refused = set(&store, &[(one, None), (none, Some(quota(1)))]);
    assert_eq!(refused, Err(Missing(none)));

    // A change of the log object is none of its limit.
    let update = |log: &mut LogObject| {
        log.enabled = false;
        Ok::<_, StoreError>(true)
    };
    store.update_log(one, update).unwrap();
    drop(store);
    let store = Store::open(&path).unwrap();
    let both = BTreeMap::from([(one, quota(11)), (two, quota(20))]);
    assert_eq!(store.log_limits().unwrap(), both);
    assert_eq!(store.log_limit(two).unwrap(), Some(quota(20)));
    assert_eq!(store.log_limit(none).unwrap(), None);

    store.delete_log::<StoreError>(one, |_| Ok(())).unwrap();
    assert_eq!(
        store.log_limits().unwrap(),
        BTreeMap::from([(two, quota(20))])
    );
    store.delete_logs_if(&[two], |_| true).unwrap();
    assert_eq!(store.log_limits().unwrap(), BTreeMap::new());
}

use std::{os::unix::fs::PermissionsExt, time::UNIX_EPOCH};

use super::{super::quota::Quota, *};

fn month() -> rate_limit::Quota {
    rate_limit::Quota { requests: 1_000_000, per: rate_limit::Period::Month, time_zone: "Europe/Paris".to_owned() }
}

fn book(ledger: &Arc<Ledger>) -> Arc<Book> {
    ledger.book(Title::new(&PolicyKey::new("shop", "plans"), "month", &month()))
}

fn take(book: &Book, key: &str, cost: u64) {
    let quota = Quota::new(&month()).unwrap();
    assert!(quota.take(book, book.accounts.key(key), key, cost, SystemTime::now()).is_ok());
}

fn used(book: &Book) -> BTreeMap<String, u64> {
    let mut used = BTreeMap::new();
    book.accounts.for_each(|account| {
        used.insert(account.key.to_string(), account.used);
    });
    used
}

fn is(said: &[(&str, u64)]) -> BTreeMap<String, u64> {
    said.iter().map(|(key, used)| ((*key).to_owned(), *used)).collect()
}

#[test]
fn what_is_used_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::in_folder(folder.path().join("state"));
    let first = book(&ledger);
    take(&first, "a", 2);
    take(&first, "b \n\u{1f}\"", 5);
    ledger.write();
    take(&first, "a", 1);
    // It is written down at the end.
    drop(ledger);
    let mode = fs::metadata(folder.path().join("state/quotas")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it names callers");
    let second = book(&Ledger::in_folder(folder.path().join("state")));
    assert_eq!(used(&second), is(&[("a", 3), ("b \n\u{1f}\"", 5)]));
    take(&second, "a", 1);
    assert_eq!(used(&second)["a"], 4);
}

#[test]
fn a_line_that_is_torn_or_damaged_is_left_out_and_the_others_stand() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::in_folder(folder.path().to_owned());
    let first = book(&ledger);
    take(&first, "a", 2);
    ledger.write();
    take(&first, "b", 5);
    drop(ledger);
    let path = folder.path().join("quotas");
    let whole = fs::read(&path).unwrap();
    for length in (0..whole.len()).step_by(7).chain([whole.len()]) {
        let cut = &whole[..length];
        let complete = cut.iter().filter(|byte| **byte == b'\n').count();
        fs::write(&path, cut).unwrap();
        let second = book(&Ledger::in_folder(folder.path().to_owned()));
        assert_eq!(used(&second), is(&[("a", 2), ("b", 5)][..complete]), "{length} bytes");
        take(&second, "c", 1);
    }
    fs::write(&path, [b"what is this?\n\xff\n", &*whole].concat()).unwrap();
    assert_eq!(used(&book(&Ledger::in_folder(folder.path().to_owned()))), is(&[("a", 2), ("b", 5)]));
}

#[test]
fn a_journal_that_becomes_long_is_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::in_folder(folder.path().to_owned());
    let first = book(&ledger);
    let mut longest = 0;
    for _ in 0..30 {
        (0..500).for_each(|n| take(&first, &n.to_string(), 1));
        ledger.write();
        longest = longest.max(fs::metadata(folder.path().join("quotas")).unwrap().len());
    }
    assert!(longest < 2 * SLACK, "{longest} bytes");
    drop((ledger, first));
    let second = used(&book(&Ledger::in_folder(folder.path().to_owned())));
    assert_eq!((second.len(), second["499"]), (500, 30));
}

#[test]
fn what_was_used_in_a_term_that_is_over_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::in_folder(folder.path().to_owned());
    let first = book(&ledger);
    let quota = Quota::new(&month()).unwrap();
    let long_ago = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    assert!(quota.take(&first, first.accounts.key("a"), "a", 1, long_ago).is_ok());
    drop((ledger, first));
    assert_eq!(used(&book(&Ledger::in_folder(folder.path().to_owned()))), is(&[]));
}

#[test]
fn a_book_stays_while_its_policy_is_away() {
    let ledger = Arc::new(Ledger::default());
    take(&book(&ledger), "a", 7);
    assert_eq!(used(&book(&ledger)), is(&[("a", 7)]));
}

use super::*;

const NOW_MS: u64 = 1000;

/// What a test row says: a value is told apart by its revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Put,
    PutUntilLater,
    PutUntilNow,
    Delete,
}

type Row = (u64, Says);

fn stored((_, says): Row) -> (Kind, Vec<u8>) {
    match says {
        Says::Put => (Kind::Put, b"value".to_vec()),
        Says::PutUntilLater => (Kind::PutExpiring, (NOW_MS + 1).to_le_bytes().to_vec()),
        Says::PutUntilNow => (Kind::PutExpiring, NOW_MS.to_le_bytes().to_vec()),
        Says::Delete => (Kind::Delete, Vec::new()),
    }
}

/// Runs rows of one key, newest first, through a collector, as the writer does.
fn collect(collector: &mut Collector<'_>, key: &[u8], rows: &[Row]) -> Vec<Row> {
    let mut out = Vec::new();
    for &row in rows {
        let (kind, value) = stored(row);
        let verdict = collector.judge(key, Revision(row.0), kind, &value);
        if verdict != Verdict::Skip {
            out.extend(collector.take_held().map(|revision| (revision.0, Says::Delete)));
            out.push(if verdict == Verdict::Row { row } else { (row.0, Says::Delete) });
        }
    }
    out
}

/// The revision of the value that a reader at `at` sees in rows, newest first.
fn view(rows: &[Row], at: u64) -> Option<u64> {
    let (revision, says) = rows.iter().find(|(revision, _)| *revision <= at)?;
    matches!(says, Says::Put | Says::PutUntilLater).then_some(*revision)
}

fn retention(snapshots: &[u64], visible: u64) -> Retention {
    Retention::new(snapshots.iter().copied().map(Revision), Revision(visible), NOW_MS)
}

/// Every history of revisions 1 to 5 (each absent or one of four rows), newest first.
fn histories() -> impl Iterator<Item = Vec<Row>> {
    let says = [Says::Put, Says::PutUntilLater, Says::PutUntilNow, Says::Delete];
    (0..5usize.pow(5)).map(move |mut code| {
        let mut rows = Vec::new();
        for revision in 1..=5 {
            if code % 5 > 0 {
                rows.insert(0, (revision, says[code % 5 - 1]));
            }
            code /= 5;
        }
        rows
    })
}

/// Every set of snapshots at 0 to 6 that has a member; the last is what was visible.
fn snapshot_sets() -> Vec<Vec<u64>> {
    (1u32..1 << 7).map(|bits| (0..7).filter(|i| bits >> i & 1 == 1).collect()).collect()
}

#[test]
fn every_reader_sees_the_same_before_and_after() {
    let sets = snapshot_sets();
    for rows in histories() {
        for set in &sets {
            let visible = *set.last().unwrap();
            let retention = retention(set, visible);
            for bottom in [false, true] {
                let kept = collect(&mut Collector::new(&retention, bottom), b"k", &rows);
                // Off the bottom, an older row may lie below; it must stay hidden where it was hidden.
                let below: &[Row] = if bottom { &[] } else { &[(0, Says::Put)] };
                let (before, after) = ([&rows, below].concat(), [&kept, below].concat());
                for at in set.iter().copied().chain(visible..=6) {
                    assert_eq!(
                        view(&before, at),
                        view(&after, at),
                        "at {at}: {rows:?} -> {kept:?}, snapshots {set:?}, bottom {bottom}"
                    );
                }
                assert!(kept.is_sorted_by(|newer, older| newer.0 > older.0), "{kept:?}");
            }
        }
    }
}

#[test]
fn nothing_is_kept_that_no_reader_needs() {
    let sets = snapshot_sets();
    for rows in histories() {
        for set in &sets {
            let visible = *set.last().unwrap();
            let retention = retention(set, visible);
            for bottom in [false, true] {
                let kept = collect(&mut Collector::new(&retention, bottom), b"k", &rows);
                let case = format!("{rows:?} -> {kept:?}, snapshots {set:?}, bottom {bottom}");
                assert!(!kept.iter().any(|(_, says)| *says == Says::PutUntilNow), "{case}");
                let old: Vec<_> = kept.iter().filter(|(revision, _)| *revision <= visible).collect();
                for (revision, _) in &old {
                    let newest_at = |at: u64| rows.iter().find(|row| row.0 <= at).map(|row| row.0);
                    assert!(set.iter().any(|at| newest_at(*at) == Some(*revision)), "{case}");
                }
                assert!(!bottom || old.last().is_none_or(|row| row.1 != Says::Delete), "{case}");
            }
        }
    }
}

#[test]
fn rows_above_what_was_visible_are_kept() {
    let retention = retention(&[], 2);
    let rows = [(5, Says::Delete), (4, Says::Put), (3, Says::PutUntilNow), (2, Says::Delete), (1, Says::Put)];
    let kept = collect(&mut Collector::new(&retention, true), b"k", &rows);
    assert_eq!(kept, [(5, Says::Delete), (4, Says::Put), (3, Says::Delete)]);
}

#[test]
fn the_first_of_equal_rows_is_kept_and_keys_do_not_mix() {
    let retention = retention(&[1], 9);
    let mut collector = Collector::new(&retention, true);
    assert_eq!(collect(&mut collector, b"a", &[(5, Says::Put), (5, Says::Delete)]), [(5, Says::Put)]);
    // A tombstone held back at the end of one key is forgotten, not written with the next.
    assert_eq!(collect(&mut collector, b"b", &[(5, Says::Delete)]), []);
    assert_eq!(collect(&mut collector, b"c", &[(5, Says::Put)]), [(5, Says::Put)]);
    assert_eq!(
        collect(&mut collector, b"d", &[(5, Says::Delete), (1, Says::Put)]),
        [(5, Says::Delete), (1, Says::Put)]
    );
}

#[test]
#[should_panic(expected = "out of order")]
fn rows_of_a_key_out_of_order_are_a_bug() {
    let retention = retention(&[], 9);
    collect(&mut Collector::new(&retention, false), b"k", &[(1, Says::Put), (2, Says::Put)]);
}

#[test]
fn retention_sorts_and_names_its_ends() {
    let retention = retention(&[7, 3, 7, 5], 5);
    assert_eq!((retention.oldest(), retention.visible()), (Revision(3), Revision(7)));
}

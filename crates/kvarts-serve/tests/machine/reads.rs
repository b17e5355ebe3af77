//! Reads that name a moment: pages of one scan, expiry by one time, and how far back one can go.
use crate::support::{
    DIR, KEYSPACE, RETENTION_MS, apply, apply_put, command, get_at, get_request, open, options, put, put_for,
};
use bytes::Bytes;
use kvarts_engine::fs::MemFs;
use kvarts_serve::machine::{Error, Machine};
use kvarts_serve::muscle::{OsTime, Time};
use kvarts_wire::v1;

fn scan(start: &str, stop: &str) -> v1::ScanRequest {
    let (start, stop) = (Bytes::copy_from_slice(start.as_bytes()), Bytes::copy_from_slice(stop.as_bytes()));
    v1::ScanRequest { keyspace: KEYSPACE, start, stop, ..Default::default() }
}

fn keys_of(page: &v1::ScanResponse) -> Vec<String> {
    let starts = std::iter::once(0).chain(page.key_ends.iter().copied());
    let ranges = starts.zip(&page.key_ends).map(|(start, &end)| start as usize..end as usize);
    ranges.map(|range| String::from_utf8(page.keys[range].to_vec()).unwrap()).collect()
}

/// All pages of a scan, `between` them something else is done.
fn pages(machine: &Machine, mut request: v1::ScanRequest, mut between: impl FnMut()) -> Vec<String> {
    let mut keys = Vec::new();
    loop {
        let page = machine.scan_page(&request, 0).unwrap();
        let found = keys_of(&page);
        assert!(found.len() <= request.page_rows as usize);
        keys.extend(found);
        if !page.more {
            return keys;
        }
        let last = Bytes::from(keys.last().unwrap().clone());
        if request.reverse {
            (request.stop, request.include_stop) = (last, false);
        } else {
            (request.start, request.exclude_start) = (last, true);
        }
        request.freshness = Some(v1::Freshness { revision: page.revision, now_ms: page.now_ms, ..Default::default() });
        between();
    }
}

fn filled() -> Machine {
    let machine = open(&MemFs::new()).unwrap();
    for number in 0..50 {
        apply_put(&machine, 1_000, &format!("key{number:02}"), "old");
    }
    let other = v1::Put { keyspace: KEYSPACE + 1, key: "key".into(), value: "other".into(), ..Default::default() };
    let operation = v1::Operation { kind: Some(v1::operation::Kind::Put(other)) };
    apply(&machine, 1_000, &[command(vec![operation])]);
    machine
}

#[test]
fn pages_of_a_scan_show_one_moment_in_both_directions() {
    let machine = filled();
    for reverse in [false, true] {
        let mut expected = keys_of(&machine.scan_page(&scan("", ""), 0).unwrap());
        let mut round = 0;
        let request = v1::ScanRequest { page_rows: 7, reverse, ..scan("", "") };
        let keys = pages(&machine, request, || {
            round += 1;
            apply_put(&machine, 1_000, &format!("key{round:02}x"), "new");
            let range = v1::DeleteRange { keyspace: KEYSPACE, start: "key3".into(), stop: "key4".into() };
            let gone = v1::Operation { kind: Some(v1::operation::Kind::DeleteRange(range)) };
            apply(&machine, 1_000, &[command(vec![gone])]);
            machine.compact().unwrap();
        });
        if reverse {
            expected.reverse();
        }
        assert!(expected.len() > 40);
        assert_eq!(keys, expected, "pages leave out what came later, and keep what went");
    }
}

#[test]
fn bounds_limits_and_columns_are_those_asked_for() {
    let machine = filled();
    let page = |request: v1::ScanRequest| machine.scan_page(&request, 0).unwrap();
    let base = scan("key10", "key13");
    assert_eq!(keys_of(&page(base.clone())), ["key10", "key11", "key12"]);
    let open = v1::ScanRequest { exclude_start: true, include_stop: true, ..base.clone() };
    assert_eq!(keys_of(&page(open)), ["key11", "key12", "key13"]);
    let limited = page(v1::ScanRequest { limit: 2, ..base.clone() });
    assert_eq!((keys_of(&limited).len(), limited.more), (2, false));
    let paged = page(v1::ScanRequest { limit: 3, page_rows: 2, ..base.clone() });
    assert_eq!((keys_of(&paged).len(), paged.more), (2, true));
    let small = page(v1::ScanRequest { page_bytes: 1, ..base.clone() });
    assert_eq!((keys_of(&small).len(), small.more), (1, true));
    let bare = page(v1::ScanRequest { keys_only: true, ..base.clone() });
    assert!(bare.values.is_empty() && bare.value_ends.is_empty() && bare.revisions.len() == 3);
    let whole = page(base.clone());
    assert_eq!((&whole.values[..], &whole.value_ends[..]), (&b"oldoldold"[..], &[3, 6, 9][..]));
    assert!(keys_of(&page(scan("key13", "key10"))).is_empty());
    assert!(keys_of(&page(scan("a", "b"))).is_empty());
}

#[test]
fn counts_are_of_the_rows_that_a_scan_would_show() {
    let machine = filled();
    let count =
        |request: v1::ScanRequest| machine.scan_page(&v1::ScanRequest { count_only: true, ..request }, 0).unwrap();
    let all = count(scan("", ""));
    assert_eq!((all.count, all.more, all.keys.len()), (50, false, 0));
    assert_eq!(count(scan("key10", "key20")).count, 10);
    assert_eq!(count(v1::ScanRequest { limit: 7, ..scan("", "") }).count, 7);
}

#[test]
fn expiry_is_judged_by_the_later_of_clock_and_log_unless_a_time_is_pinned() {
    let machine = open(&MemFs::new()).unwrap();
    let written = apply(&machine, 1_000_000, &[command(vec![put_for("a", "1", 500)])])[0].revision;
    let get = |pin, now_ms| get_at(&machine, "a", pin, now_ms).unwrap();
    assert!(get(None, 0).is_some() && get(None, 1_499).is_some() && get(None, 1_500).is_none());
    apply_put(&machine, 1_600_000, "b", "2");
    assert!(get(None, 0).is_none(), "a node whose clock is behind does not bring it back");
    assert!(get(Some((written, 1_499)), 9_999).is_some() && get(Some((written, 1_500)), 0).is_none());
    let request = v1::ScanRequest {
        freshness: Some(v1::Freshness { revision: written, now_ms: 1_499, ..Default::default() }),
        ..scan("", "")
    };
    assert_eq!(keys_of(&machine.scan_page(&request, 9_999).unwrap()), ["a"]);
    assert_eq!(keys_of(&machine.scan_page(&scan("", ""), 0).unwrap()), ["b"]);
}

#[test]
fn compaction_takes_an_expired_row_once_nobody_may_read_before_its_end() {
    let end_us = 1_500_000 + RETENTION_MS * 1_000;
    // b, c, and the position now and at the floor; and a, until then.
    for (last_us, rows) in [(end_us - 1_000, 5), (end_us, 4)] {
        let machine = open(&MemFs::new()).unwrap();
        apply(&machine, 1_000_000, &[command(vec![put_for("a", "1", 500), put("b", "2")])]);
        machine.compact().unwrap();
        apply_put(&machine, last_us, "c", "3");
        machine.compact().unwrap();
        assert_eq!(machine.stats().unwrap().trees[0].table_rows, rows, "at {last_us}");
        assert_eq!(get_at(&machine, "a", None, 0).unwrap(), None);
    }
}

#[test]
fn the_past_is_kept_for_the_window_and_then_refused() {
    let machine = open(&MemFs::new()).unwrap();
    let start_us = 100_000_000;
    let old = apply_put(&machine, start_us, "a", "old");
    let new = apply_put(&machine, start_us + 1, "a", "new");
    let now_ms = start_us / 1_000;
    let at = |revision| get_at(&machine, "a", Some((revision, now_ms)), 0);
    apply_put(&machine, start_us + RETENTION_MS * 1_000, "b", "1");
    machine.compact().unwrap();
    assert_eq!(at(old).unwrap().as_deref(), Some("old"), "just inside");
    apply_put(&machine, start_us + 2_000 + RETENTION_MS * 1_000, "b", "2");
    machine.compact().unwrap();
    let refused = at(old).unwrap_err();
    assert_eq!((refused.kind(), refused.retryable()), ("Compacted", false), "{refused}");
    assert_eq!(get_at(&machine, "a", None, 0).unwrap().as_deref(), Some("new"));
    let future = at(new + 1_000_000_000).unwrap_err();
    assert!(matches!(future, Error::Behind { .. }) && future.retryable() && future.kind() == "Unavailable");
}

#[test]
fn many_keys_are_answered_in_the_order_asked() {
    let machine = filled();
    let response = machine.get(&get_request(&["key20", "nothing", "key10", "key20"], None), 0).unwrap();
    let found: Vec<bool> = response.rows.iter().map(|row| row.found).collect();
    assert_eq!(found, [true, false, true, true]);
    assert!(response.rows[0].revision > response.rows[2].revision);
    let bare = v1::GetRequest { keys_only: true, ..get_request(&["key20"], None) };
    let bare = machine.get(&bare, 0).unwrap();
    assert!(bare.rows[0].found && bare.rows[0].value.is_empty());
}

#[test]
fn what_is_held_stays_readable_however_much_time_goes_by() {
    let now = OsTime.now();
    for held in [true, false] {
        let (fs, options) = (MemFs::new(), options());
        let holds = std::sync::Arc::clone(&options.holds);
        let machine = Machine::open(std::sync::Arc::new(fs), std::path::Path::new(DIR), options).unwrap();
        apply(&machine, 1_000_000, &[command(vec![put("a", "1"), put_for("b", "2", 5_000)])]);
        let pin = Some((1_000_000, 1_000));
        if held {
            holds.hold(1, 1_000, now + std::time::Duration::from_secs(60));
        }
        for lap in 1..20 {
            apply_put(&machine, 1_000_000 + lap * 1_000_000, "a", "other");
            machine.compact().unwrap();
        }
        let seen = ["a", "b"].map(|key| get_at(&machine, key, pin, 0).map_err(|error| error.to_string()));
        if held {
            assert_eq!(seen, [Ok(Some("1".to_owned())), Ok(Some("2".to_owned()))]);
        } else {
            assert!(seen.iter().all(Result::is_err), "{seen:?}");
        }
        // Once the hold is over, time goes on.
        holds.expire(now + std::time::Duration::from_secs(120));
        apply_put(&machine, 30_000_000, "a", "last");
        machine.compact().unwrap();
        assert!(get_at(&machine, "a", pin, 0).is_err());
    }
}

#[test]
fn a_page_tells_when_rows_expire_if_it_is_asked() {
    let machine = open(&MemFs::new()).unwrap();
    apply(&machine, 1_000_000, &[command(vec![put("a", "1"), put_for("b", "2", 5_000), put("c", "3")])]);
    for flushed in [false, true] {
        let page = |with_expiries, reverse| {
            let request = v1::ScanRequest { with_expiries, reverse, ..scan("", "") };
            machine.scan_page(&request, 0).unwrap().expiries
        };
        assert_eq!(page(true, false), [0, 6_000, 0], "flushed: {flushed}");
        assert_eq!(page(true, true), [0, 6_000, 0], "flushed: {flushed}");
        assert!(page(false, false).is_empty());
        machine.compact().unwrap();
    }
}

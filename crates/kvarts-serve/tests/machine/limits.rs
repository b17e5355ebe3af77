//! What a leader must refuse before it logs it.
use crate::support::{KEYSPACE, command, get_request, incr, put, special};
use bytes::Bytes;
use kvarts_engine::options::KEY_BYTES_MAX;
use kvarts_serve::machine::{VALUE_BYTES_MAX, check_command, check_get};
use kvarts_wire::v1;
use kvarts_wire::v1::command::Special;
use kvarts_wire::v1::condition::Kind as Ask;
use kvarts_wire::v1::operation::Kind as Step;

fn put_if(key: Bytes, value: Bytes, ask: Option<Ask>) -> v1::Command {
    let condition = ask.map(|kind| v1::Condition { kind: Some(kind) });
    let put = v1::Put { keyspace: KEYSPACE, key, value, condition, ttl_ms: 0, keep_ttl: false };
    command(vec![v1::Operation { kind: Some(Step::Put(put)) }])
}

fn zeros(bytes: usize) -> Bytes {
    vec![0; bytes].into()
}

#[test]
fn what_can_be_applied_passes() {
    let longest = put_if(zeros(KEY_BYTES_MAX), zeros(VALUE_BYTES_MAX), Some(Ask::Absent(true)));
    let opened = special(Special::OpenSession(v1::OpenSession {}));
    let fenced = v1::Command { fence: Some(v1::Fence { lock: "door".into(), token: 0 }), ..command(vec![incr("n")]) };
    for good in [longest, opened, fenced, command(vec![put("a", "")])] {
        check_command(&good).unwrap();
    }
}

#[test]
fn what_cannot_be_applied_is_refused_with_its_kind() {
    let empty_key = put_if(zeros(0), zeros(1), None);
    let long_key = put_if(zeros(KEY_BYTES_MAX + 1), zeros(1), None);
    let long_value = put_if("k".into(), zeros(VALUE_BYTES_MAX + 1), None);
    let value = zeros(VALUE_BYTES_MAX);
    let large = command((0..3).flat_map(|_| put_if("k".into(), value.clone(), None).operations).collect());
    let nameless = special(Special::MoveLock(v1::MoveLock { lock: zeros(0) }));
    for bad in [empty_key, long_key, long_value, large, nameless] {
        assert_eq!(check_command(&bad).unwrap_err().kind(), "LimitExceeded");
    }
    let unsure = put_if("k".into(), zeros(1), Some(Ask::Absent(false)));
    let strange = v1::Incr { key: "k".into(), encoding: 9, ..Default::default() };
    let strange = command(vec![v1::Operation { kind: Some(Step::Incr(strange)) }]);
    let both = v1::Command { special: Some(Special::OpenSession(v1::OpenSession {})), ..command(vec![incr("n")]) };
    let uncounted = v1::Command { session: 5, ..command(vec![incr("n")]) };
    for bad in [command(Vec::new()), unsure, strange, both, uncounted, command(vec![v1::Operation { kind: None }])] {
        assert_eq!(check_command(&bad).unwrap_err().kind(), "InvalidArgument");
    }
    assert_eq!(check_get(&get_request(&[""], None)).unwrap_err().kind(), "LimitExceeded");
}

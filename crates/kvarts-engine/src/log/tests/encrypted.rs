use super::*;
use crate::keys::{Identity, Keys, MasterKey, Witness};
use std::collections::HashSet;
use std::sync::Mutex;

/// The nonces of everything that was sealed, in order.
#[derive(Default)]
struct Nonces(Mutex<Vec<([u8; 32], [u8; 12])>>);

impl Witness for Nonces {
    fn sealed(&self, key: [u8; 32], nonce: [u8; 12]) {
        self.0.lock().unwrap().push((key, nonce));
    }
}

fn identity(witness: &Arc<Nonces>) -> Identity {
    let keys = Keys::new(MasterKey::take(&mut [1; 32]), []).watched(witness.clone());
    Identity::new(STORE, Some(Arc::new(keys)))
}

#[test]
fn what_is_appended_after_a_failed_append_has_another_nonce() {
    let (fs, nonces) = (store(), Arc::new(Nonces::default()));
    let hooked = Hooked::new(fs.clone(), Arc::new(|_, sync| sync()));
    let fails = hooked.fails.clone();
    let identity = identity(&nonces);
    let mut log = LogWriter::create(Arc::new(hooked), dir(), &identity, FileId(1), 4096, LogMode::Written).unwrap();
    log.append(b"one").unwrap();
    for _ in 0..3 {
        let next = log.prepare(FileId(2), 64).unwrap();
        fails.store(true, Ordering::SeqCst);
        assert!(matches!(log.rotate_to(next), Err(Error::StorageFull(_))), "the end of the file fails");
        fails.store(true, Ordering::SeqCst);
        assert!(log.append(b"in vain").is_err());
    }
    log.append(b"two").unwrap();
    log.rotate(FileId(2), 8).unwrap();
    log.append(b"three").unwrap();
    let sealed = nonces.0.lock().unwrap().clone();
    assert_eq!(sealed.len(), 10, "each try was sealed");
    assert_eq!(sealed.iter().collect::<HashSet<_>>().len(), sealed.len(), "no nonce comes twice: {sealed:?}");
    let mut payloads = Vec::new();
    let report = replay(&fs, dir(), &identity, &[FileId(1), FileId(2)], &mut |batch| {
        payloads.push(batch.payload.to_vec());
        Ok(())
    });
    assert_eq!(report.unwrap().torn, None);
    assert_eq!(payloads, [&b"one"[..], b"two", b"three"]);
}

#[test]
fn a_log_whose_header_was_damaged_after_records_came_is_damage() {
    let (fs, identity) = (store(), identity(&Arc::default()));
    let mut log = LogWriter::create(Arc::new(fs.clone()), dir(), &identity, FileId(1), 4096, LogMode::Mapped).unwrap();
    log.append(b"one").unwrap();
    let mode = LogMode::Written;
    super::super::PreparedLog::create(&fs, &path(2), &identity, FileId(2), 4096, 0, mode).unwrap();
    fs.corrupt(&path(2), 50, 1).unwrap();
    let recover = |fs: &MemFs| replay(fs, dir(), &identity, &[FileId(1), FileId(2)], &mut |_| Ok(()));
    assert_eq!(recover(&fs).unwrap().batches, 1, "nothing stands in it: its making was cut short");
    fs.corrupt(&path(2), 200, 1).unwrap();
    assert_eq!(damage(recover(&fs)).0, path(2));
}

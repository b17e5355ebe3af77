//! Keys of the codec `tuple`.
use crate::Verdict;
use kvarts_formats::tuple::{Item, NESTING_MAX, Reader, Writer};

/// Tuples with every kind of item.
pub fn seeds() -> Vec<Vec<u8>> {
    let int = |negative, magnitude| Item::Int { negative, magnitude };
    let user = [Item::Text("user".into()), int(false, 42), Item::Text("na\0me".into())];
    let plain = [
        Item::Null,
        Item::Bytes(b"\0\xff\0"[..].into()),
        int(true, 1),
        int(false, u64::MAX),
        int(true, u64::MAX - 1),
        Item::Long { negative: true, magnitude: vec![7; 20].into() },
        Item::Single(1.5f32.to_bits()),
        Item::Double((-0.0f64).to_bits()),
        Item::Bool(true),
        Item::Uuid([9; 16]),
        Item::Versionstamp([1; 12]),
    ];
    let nested = [Item::Begin, Item::Null, Item::Begin, Item::Text("é".into()), Item::End, Item::End, Item::Null];
    let deep: Vec<Item<'_>> =
        std::iter::repeat_n(Item::Begin, NESTING_MAX).chain(std::iter::repeat_n(Item::End, NESTING_MAX)).collect();
    [&user[..], &plain, &nested, &deep].map(written).to_vec()
}

/// What is read has no other form.
pub fn run(input: &[u8]) -> Verdict {
    let (mut reader, mut items) = (Reader::new(input), Vec::new());
    loop {
        match reader.next() {
            Ok(Some(item)) => items.push(item),
            Ok(None) => break,
            Err(error) => return sentence(&error),
        }
    }
    assert_eq!(written(&items), input, "a tuple has one form");
    "ok".to_owned()
}

fn written(items: &[Item<'_>]) -> Vec<u8> {
    let mut writer = Writer::new();
    items.iter().for_each(|item| writer.item(item).expect("what was read can be written"));
    writer.finish()
}

/// What a refusal says, without the offset.
pub fn sentence(error: &kvarts_formats::FormatError) -> Verdict {
    error.to_string().chars().filter(|mark| !mark.is_ascii_digit()).collect()
}

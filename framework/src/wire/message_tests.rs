use proptest::prelude::*;

use super::super::along::ON_BEHALF_LIMIT;
use super::super::trace::TraceContext;
use super::*;

fn trace() -> Along {
    let trace = TraceContext { trace: [1; 16], span: [2; 8], flags: 1, state: "a=b".into() };
    Along { trace: Some(trace), on_behalf: None }
}

fn all<'a>(name: &'a str, body: &'a [u8], number: u64) -> Vec<Item<'a>> {
    let target = number as u32;
    vec![
        Item::Bind { target, name, message: "chat.Say", version: 3 },
        Item::Tell { target, body },
        Item::Call { call: number, target, shape: Shape::Both, body },
        Item::Request { call: number, body },
        Item::RequestsEnd { call: number },
        Item::Reply { call: number, body },
        Item::RepliesEnd { call: number },
        Item::Failed { call: number, code: 7, text: name },
        Item::Cancel { call: number },
        Item::Consumed { target, tells: 3, cost: number },
        Item::Credit { call: number, of_requests: true, cost: 9 },
        Item::Undelivered { target, count: number, code: 1, text: name },
        Item::Watch { watch: number, name },
        Item::Unwatch { watch: number },
        Item::Status { watch: number, up: false, code: 2 },
        Item::Deliver { log: [5; 16], number, before: number / 2, target, expires: 77, body },
        Item::Taken { log: [5; 16], number, code: 0, text: "" },
        Item::Begin { total: target },
        Item::Part { bytes: body },
    ]
}

fn batch(items: &[Item<'_>], along: Option<&Along>) -> Vec<u8> {
    let mut bytes = Vec::new();
    items.iter().for_each(|item| item.encode(along, &mut bytes));
    bytes
}

fn read(bytes: &[u8]) -> Result<Vec<(Item<'_>, Option<Along>)>, ItemError> {
    let (mut items, mut all) = (Items::new(bytes), Vec::new());
    while let Some(item) = items.next_item()? {
        all.push(item);
    }
    Ok(all)
}

#[test]
fn the_bytes_are_held() {
    let mut bytes =
        batch(&[Item::Tell { target: 300, body: b"hi" }, Item::Cancel { call: 1 }], None);
    Item::Call { call: 2, target: 0, shape: Shape::Ask, body: b"?" }
        .encode(Some(&trace()), &mut bytes);
    let golden = b"\x02\xac\x02\x02hi\x09\x01\x83\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\
                   \x02\x02\x02\x02\x02\x02\x02\x02\x01\x03a=b\x02\x00\x00\x01?";
    assert_eq!(bytes, golden);
    let (tell, for_till) = (Item::Tell { target: 1, body: b"a" }, trace().on_behalf_of("till"));
    let bytes = batch(&[tell], Some(&for_till));
    assert_eq!((bytes[0], &bytes[30..]), (0xc2, &b"\x04till\x01\x01a"[..]));
    let bytes = batch(&[tell], Some(&Along::default().on_behalf_of("till")));
    assert_eq!(bytes, b"\x42\x04till\x01\x01a");
}

#[test]
fn tells_are_read_the_fast_way_as_they_are_the_other_way() {
    let long = vec![7; 0x4000];
    for (target, length) in [(0, 0), (0x7f, 1), (0x80, 0x7f), (0x3fff, 0x80), (3, 0x3fff)] {
        let tell = Item::Tell { target, body: &long[..length] };
        let bytes = batch(&[tell, Item::Cancel { call: 1 }], None);
        let mut items = Items::new(&bytes);
        assert_eq!(items.next_tell(), Some((target, &long[..length])));
        assert_eq!(items.next_tell(), None);
        assert_eq!(read(&bytes).unwrap()[0], (tell, None));
        assert_eq!(items.next_item(), Ok(Some((Item::Cancel { call: 1 }, None))));
    }
    // What it leaves is there for the other way, whatever that says of it.
    for (target, length) in [(0x4000, 1), (1, 0x4000)] {
        let tell = Item::Tell { target, body: &long[..length] };
        let bytes = batch(std::slice::from_ref(&tell), None);
        let mut items = Items::new(&bytes);
        assert_eq!(items.next_tell(), None);
        assert_eq!(items.next_item(), Ok(Some((tell, None))));
    }
    for wrong in
        [&b"\x02"[..], b"\x02\x01", b"\x02\x80\x00\x00", b"\x02\x01\x02a", b"\x02\x01\x81\x00a"]
    {
        let mut items = Items::new(wrong);
        assert_eq!(items.next_tell(), None, "{wrong:?}");
        assert!(items.next_item().is_err(), "{wrong:?}");
    }
    let traced = batch(&[Item::Tell { target: 1, body: b"a" }], Some(&trace()));
    assert_eq!(Items::new(&traced).next_tell(), None);
}

#[test]
fn nothing_is_read_behind_an_error() {
    let mut bytes = batch(&[Item::Cancel { call: 1 }], None);
    bytes.extend([35, 9, 1]);
    let mut items = Items::new(&bytes);
    assert!(items.next_item().unwrap().is_some());
    assert_eq!(items.next_item(), Err(ItemError::UnknownKind { found: 35 }));
    assert_eq!(items.next_item(), Ok(None));
}

#[test]
fn what_is_cut_off_claims_too_much_or_is_no_text_is_an_error() {
    for (bytes, wrong) in [
        (&b"\x02\x00\x05hi"[..], "middle of an item"),
        (b"\x02\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01hi", "middle of an item"),
        (b"\x09\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "number"),
        (b"\x09\x80\x00", "number"),
        (b"\x02\xff\xff\xff\xff\x7f\x00", "target"),
        (b"\x0d\x01\x01\xff", "text"),
        (b"\x0f\x01\x02\x00", "status"),
        (b"\x03\x01\x00\x04\x00", "shape"),
        (b"\x42\x01\x0a\x01\x00", "control characters"),
        (b"\x42\x01\xff\x01\x00", "text"),
        (b"\x42\x00\x01\x00", "no text"),
    ] {
        let error = read(bytes).unwrap_err().to_string();
        assert!(error.contains(wrong), "{bytes:?}: {error}");
    }
}

#[test]
fn texts_are_cut_and_names_that_are_too_long_are_refused() {
    let long = "x".repeat(1000);
    let bytes = batch(&[Item::Failed { call: 1, code: 1, text: &long }], None);
    let [(Item::Failed { text, .. }, None)] = read(&bytes).unwrap()[..] else {
        panic!("another item")
    };
    assert_eq!(text.len(), TEXT_LIMIT);
    let bytes = batch(&[Item::Watch { watch: 1, name: &long }], None);
    assert!(matches!(read(&bytes), Err(ItemError::Field { field: "name", .. })));
}

#[test]
fn a_name_that_may_not_be_said_is_not_said_and_never_another_one() {
    let longest = "x".repeat(ON_BEHALF_LIMIT);
    assert_eq!(Along::default().on_behalf_of(&longest).on_behalf(), Some(&*longest));
    let tell = [Item::Tell { target: 1, body: b"a" }];
    for unsaid in ["", "\n", "till\u{7}s", "admin\0mallory", &format!("{longest}y")] {
        // Who had said another one before says none.
        let along = trace().on_behalf_of("till").on_behalf_of(unsaid);
        assert_eq!(along.on_behalf(), None, "{unsaid:?}");
        let made = Along { on_behalf: Some(unsaid.into()), ..trace() };
        assert_eq!(batch(&tell, Some(&made)), batch(&tell, Some(&trace())), "{unsaid:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(
        name in ".{0,40}", body: Vec<u8>, number: u64, traced: bool, who in ".{0,9}"
    ) {
        let items = all(&name, &body, number);
        let along = traced.then(trace).unwrap_or_default().on_behalf_of(&who).any();
        let bytes = batch(&items, along.as_ref());
        let expected: Vec<_> = items.into_iter().map(|item| (item, along.clone())).collect();
        prop_assert_eq!(read(&bytes).unwrap(), expected);
    }

    #[test]
    fn any_bytes_end_in_items_or_an_error(bytes: Vec<u8>) {
        if let Ok(items) = read(&bytes) {
            let mut again = Vec::new();
            items.iter().for_each(|(item, along)| item.encode(along.as_ref(), &mut again));
            prop_assert_eq!(again, bytes);
        }
    }

    #[test]
    fn the_overhead_is_bounded(number: u64, body: Vec<u8>) {
        for item in all("", &body, number).into_iter().skip(1) {
            let mut bytes = Vec::new();
            item.encode(None, &mut bytes);
            prop_assert!(bytes.len() <= body.len() + Item::OVERHEAD);
        }
    }
}

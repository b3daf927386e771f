//! Inboxes that need no disk.

use bytes::Bytes;
use estafette::delivery::ContentKind;
use estafette::pipeline::Inbox;
use estafette_actors::sink::{MemorySink, NullSink};
use estafette_actors::source::BytesSource;

use crate::harness::{block_on, content, deliver, offer};

#[test]
fn a_delivery_is_handed_over_whole() {
    let (inbox, mut deliveries) = MemorySink::channel(5000, 1);
    let data = Bytes::from(vec![3; 5000]);
    deliver(&mut BytesSource::new("blob", data.clone()).unwrap(), &inbox).unwrap();
    let delivered = deliveries.try_recv().unwrap();
    assert_eq!(delivered.bytes, data);
    assert_eq!(delivered.offer.content, content(ContentKind::Bytes, "blob", Some(5000)));
}

#[test]
fn what_is_too_long_or_one_too_many_or_for_nobody_is_refused() {
    let (inbox, deliveries) = MemorySink::channel(3, 1);
    assert!(
        deliver(&mut BytesSource::new("blob", "four").unwrap(), &inbox)
            .unwrap_err()
            .text()
            .contains("holds 3 at most")
    );
    let small = offer(content(ContentKind::Bytes, "blob", None));
    let mut under_way = inbox.open(&small).unwrap();
    assert!(inbox.open(&small).unwrap_err().reason.contains("waiting there already"));
    assert!(block_on(under_way.write(0, &Bytes::from("four"))).is_err());
    assert!(block_on(under_way.write(1, &Bytes::from("x"))).is_err(), "a gap is no content");
    under_way.abort("cancelled");
    drop(inbox.open(&small).unwrap());
    drop(deliveries);
    assert!(inbox.open(&small).unwrap_err().reason.contains("takes no more"));
}

#[test]
fn the_null_sink_counts() {
    let inbox = NullSink::new();
    for _ in 0..2 {
        deliver(&mut BytesSource::new("blob", "12345").unwrap(), &inbox).unwrap();
    }
    assert_eq!((inbox.bytes(), inbox.deliveries()), (10, 2));
}

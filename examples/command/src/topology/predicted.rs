//! The calculation of what routes will do: how long deliveries take, how busy lines are, and how
//! long receivers may be away.

use std::time::Duration;

use estafette_topology::{Away, Bound, Full, Prediction, Way};

use crate::event::Event;
use crate::output::Output;
use crate::table::table;
use crate::units;

pub(super) fn tell(predictions: &[Prediction], output: &Output) {
    for prediction in predictions {
        output.event(&Event::Predicted(prediction));
    }
    if predictions.is_empty() {
        return;
    }
    let heads = [
        "route",
        "to",
        "content D",
        "sent E(D·R)",
        "T = E(D·R)/S",
        "line busy",
        "receiver may be away",
    ];
    let rows: Vec<_> = predictions.iter().map(|prediction| (row(prediction), None)).collect();
    output.result(&format!("\n{}", table(heads, &[2, 3, 4, 5], &rows)));
    for prediction in predictions {
        for way in prediction.ways.iter().filter(|way| way.busy > 1.0) {
            output.remark(&format!(
                "route {}: {} gets more than can be sent to it, {:.1} times as much: {}",
                units::printable(&prediction.route),
                units::printable(&way.to),
                way.busy,
                bound(way)
            ));
        }
    }
}

fn row(prediction: &Prediction) -> [String; 7] {
    let said = |of: Option<String>| of.unwrap_or_else(|| "-".into());
    let busy = prediction.ways.iter().map(|way| way.busy).reduce(f64::max);
    [
        units::printable(&prediction.route),
        units::printable(&prediction.to.to_string()),
        units::bytes(prediction.bytes),
        units::bytes(prediction.wire_bytes),
        said(prediction.seconds.map(units::seconds)),
        said(busy.map(|busy| format!("{:.1} %", 100.0 * busy))),
        away(&prediction.away),
    ]
}

fn bound(way: &Way) -> String {
    let speed = units::rate(way.speed);
    match way.bound_by {
        Bound::Sender => format!("the line of {} carries {speed}", units::printable(&way.from)),
        Bound::Rate => format!("its `rate` lets {speed} through"),
        Bound::Receiver => format!("its line carries {speed}"),
        _ => format!("the window gives {speed} over the latency of both lines; make it larger"),
    }
}

fn away(away: &Away) -> String {
    let time = Duration::try_from_secs_f64(away.seconds).unwrap_or(Duration::MAX);
    let why = match away.bound_by {
        Full::Expires => "then deliveries expire".to_owned(),
        Full::Outbox => format!("then the outbox has {} deliveries", away.limit),
        Full::OutboxBytes => format!("then the outbox has {}", units::bytes(away.limit)),
        Full::RelayPackages => format!("then the relay has {} packages", away.limit),
        Full::RelayBytes => format!("then the relay has {}", units::bytes(away.limit)),
        _ => "then something is full".to_owned(),
    };
    format!("{}: {why}", units::span(time))
}

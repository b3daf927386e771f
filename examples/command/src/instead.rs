//! Hints for a call that found nothing: names and types that are there.

use estafette::RemoteErrorKind;
use estafette::remote::{Description, Taken};

use crate::call::Call;
use crate::units::printable;

/// Names in a hint.
const NAMED_MOST: usize = 8;

pub(crate) fn is_json(taken: &Taken) -> bool {
    taken.forms.iter().any(|form| form == "json")
}

/// A hint at what there is instead.
pub(crate) fn instead(call: &Call, kind: RemoteErrorKind, there: &Description) -> String {
    let (peer, name) = call.to.split_once('/').unwrap_or((&call.to, ""));
    let listed = |all: Vec<String>| {
        let more = all.len().saturating_sub(NAMED_MOST);
        let some = all.into_iter().take(NAMED_MOST).collect::<Vec<_>>().join(", ");
        if more > 0 { format!("{some} and {more} more") } else { some }
    };
    let Some(named) = there.names.iter().find(|described| described.name == name) else {
        let actors = there.names.iter().filter(|described| !described.inbox);
        let actors: Vec<_> = actors.map(|actor| printable(&actor.name)).collect();
        if actors.is_empty() {
            return format!("there is no actor at {peer} that this node may send to");
        }
        return format!("{peer} has: {}", listed(actors));
    };
    if named.inbox {
        return format!("it is an inbox, for files and folders: estafette send PATH {peer}/{name}");
    }
    let of_that_name = named.takes.iter().filter(|taken| taken.message == call.message);
    if kind == RemoteErrorKind::NoSuchMessage && of_that_name.clone().any(|taken| !is_json(taken)) {
        return "it takes that type from programs that have it, and not as JSON: `json` in its \
                `#[remote(…)]`, or `takes_json`, lets it"
            .into();
    }
    let types: Vec<_> = named
        .takes
        .iter()
        .filter(|taken| is_json(taken))
        .map(|taken| match taken.version {
            1 if kind != RemoteErrorKind::VersionMismatch => printable(&taken.message),
            version => format!("{}@{version}", printable(&taken.message)),
        })
        .collect();
    if types.is_empty() {
        return format!("{} takes nothing as JSON", call.to);
    }
    format!("as JSON, {} takes: {}", call.to, listed(types))
}

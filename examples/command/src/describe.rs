//! `estafette describe`: what may be sent to another node.

use std::process::ExitCode;

use estafette::remote::{Described, Description, Taken};
use estafette::{RemoteError, RemoteErrorKind};

use crate::arguments::{Describe, Global};
use crate::ask::{self, Broken, Line};
use crate::call::{Call, Heard};
use crate::error::CommandError;
use crate::event::Event;
use crate::output::Output;
use crate::schema_text;
use crate::table::table;
use crate::units::printable;

/// Names in a hint.
const NAMED_MOST: usize = 8;

pub(crate) async fn run(
    global: &Global,
    options: &Describe,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let what = options.what.trim_end_matches('/');
    let mut line = Line::open(global, &Call::describe(what), output).await?;
    let heard = line.next().await;
    let missing = match &heard {
        Ok(Some(Heard::Description(there))) if what.contains('/') && there.names.is_empty() => {
            Some(missing(&mut line, what).await)
        }
        _ => None,
    };
    line.close().await;
    match heard {
        Ok(Some(Heard::Description(there))) => {
            print(what, &there, output);
            missing.map_or(Ok(ExitCode::SUCCESS), Err)
        }
        Ok(_) => Err(CommandError::io("the node said nothing", "try it again")),
        Err(Broken::Call(error))
            if matches!(error.kind, RemoteErrorKind::NoSuchName | RemoteErrorKind::Forbidden) =>
        {
            let text = format!("{what:?} does not describe itself: {error}");
            let hint = "its program is of an older release: ask whoever runs it what it takes";
            Err(CommandError { message: text, hint: hint.into(), ..error.into() })
        }
        Err(Broken::Call(error)) => Err(error.into()),
        Err(Broken::Line(error)) => Err(error),
    }
}

/// The error where nothing of that name is there, as far as this node may see.
async fn missing(line: &mut Line<'_>, what: &str) -> CommandError {
    let text = format!("{what:?} is nothing that this node may send to");
    let error = RemoteError::new(RemoteErrorKind::NoSuchName, text);
    ask::explained(line, &Call::describe(what), error).await
}

fn print(what: &str, there: &Description, output: &Output) {
    let peer = what.split('/').next().unwrap_or_default();
    let is_one = what.contains('/');
    for described in &there.names {
        output.event(&Event::name(peer, described));
    }
    if there.names.is_empty() {
        // Of one name that is not there, an error says so.
        if !is_one {
            output.remark("nothing is there that this node may send to");
        }
        return;
    }
    let rows: Vec<_> = there.names.iter().flat_map(|described| rows(described, is_one)).collect();
    output.result(&table(["name", "takes", "version", "ways", "as JSON"], &[], &rows));
    if let Some(last) = &there.more {
        output.remark(&format!("there is more behind {}", printable(last)));
    }
}

/// Of one that is described alone, how messages look is told, too.
fn rows(described: &Described, is_one: bool) -> Vec<([String; 5], Option<String>)> {
    let Described { name, inbox, up, takes, cut, .. } = described;
    let name = printable(name);
    let nothing = String::new;
    if *inbox {
        let row = [name, "files and folders".into(), nothing(), "send".into(), nothing()];
        return vec![(row, None)];
    }
    let mut rows: Vec<_> = takes
        .iter()
        .enumerate()
        .map(|(nth, taken)| {
            let name = if nth == 0 { name.clone() } else { nothing() };
            let json = if is_json(taken) { "yes" } else { "no" };
            let ways: Vec<_> = taken.ways.iter().map(|way| printable(way)).collect();
            let version = taken.version.to_string();
            let looks = is_one.then(|| looks(taken)).flatten();
            ([name, printable(&taken.message), version, ways.join(", "), json.into()], looks)
        })
        .collect();
    if let Some((_, note)) = rows.last_mut() {
        let dead = (!up).then_some("its actor is dead, or is being started anew");
        let more = cut.then_some("it takes more types than these");
        let notes: Vec<_> = [dead, more].into_iter().flatten().collect();
        let notes = note.take().into_iter().chain(notes.into_iter().map(str::to_owned));
        *note = notes.reduce(|all, more| format!("{all}; {more}"));
    }
    rows
}

/// What its JSON looks like, and that of its answer.
fn looks(taken: &Taken) -> Option<String> {
    let message = schema_text::line(taken.schema.as_deref()?)?;
    let answer = taken.answer_schema.as_deref().and_then(schema_text::line);
    let answer = answer.map(|answer| format!(" → {answer}")).unwrap_or_default();
    Some(printable(&(message + &answer)))
}

fn is_json(taken: &Taken) -> bool {
    taken.forms.iter().any(|form| form == "json")
}

/// What might have been meant by a call that found nothing.
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

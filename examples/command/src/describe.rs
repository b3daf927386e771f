//! `estafette describe`: what may be sent to another node.

use std::process::ExitCode;

use estafette::remote::{Described, Description, Taken};
use estafette::{RemoteError, RemoteErrorKind};

use crate::arguments::{Describe, Global};
use crate::call::{Broken, Call, Heard};
use crate::error::CommandError;
use crate::event::Event;
use crate::instead::is_json;
use crate::line::{Line, explained};
use crate::output::Output;
use crate::schema_text;
use crate::table::table;
use crate::units::printable;

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
    explained(line, &Call::describe(what), error).await
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
    if takes.is_empty() {
        let row = [name, "any message".into(), nothing(), "deliver".into(), "yes".into()];
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

/// The form of its JSON, and of its answer's.
fn looks(taken: &Taken) -> Option<String> {
    let message = schema_text::line(taken.schema.as_deref()?)?;
    let answer = taken.answer_schema.as_deref().and_then(schema_text::line);
    let answer = answer.map(|answer| format!(" → {answer}")).unwrap_or_default();
    Some(printable(&(message + &answer)))
}

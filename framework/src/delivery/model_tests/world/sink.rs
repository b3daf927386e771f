//! A sink, which makes its file durable and visible in steps that a crash may come between.

use super::*;

impl World {
    /// A sink takes its next step.
    pub(super) fn advance(&mut self, stream: u64) {
        use receiving::Event;
        let Some(receiver) = &mut self.receiver else { return };
        let closed = receiver.incoming.get(&stream).is_none_or(|known| known.closed);
        let task = receiver.sinks.get(&stream).copied().expect("it runs");
        let next = match task {
            SinkTask::Opening if closed && self.disk.note == Note::None => {
                self.mail(Event::Opened(stream, Ok(Sink::Nothing)));
                None
            }
            SinkTask::Opening if self.disk.note == Note::Intent && self.disk.part.is_none() => {
                self.mail(Event::Opened(stream, Ok(Sink::Committed)));
                None
            }
            SinkTask::Opening if self.disk.remembered => {
                self.mail(Event::Opened(stream, Ok(Sink::Remembered)));
                None
            }
            SinkTask::Opening => {
                let had = match (self.disk.note, self.disk.part) {
                    (Note::Intent, Some(_)) => CONTENT,
                    (Note::Part(had), Some(_)) => had,
                    _ => 0,
                };
                (self.disk.note, self.disk.part) = (Note::Part(had), Some(had));
                if let Some(known) = receiver.incoming.get_mut(&stream) {
                    known.got = had;
                }
                self.mail(Event::Opened(stream, Ok(Sink::Runs)));
                Some(SinkTask::Writing { got: had, stop: None })
            }
            SinkTask::Writing { got, stop } => {
                if stop == Some(true) {
                    self.disk.note = Note::Part(prefix(got));
                } else {
                    (self.disk.note, self.disk.part) = (Note::None, None);
                }
                self.mail(Event::Stopped(stream));
                None
            }
            SinkTask::Discarding => {
                (self.disk.note, self.disk.part) = (Note::None, None);
                self.mail(Event::Stopped(stream));
                None
            }
            SinkTask::Syncing => {
                if self.broken != Some(Break::NoIntent) {
                    self.disk.note = Note::Intent;
                }
                self.disk.part = Some(CONTENT);
                Some(SinkTask::Intended)
            }
            SinkTask::Intended => {
                self.disk.part = None;
                self.commits += 1;
                self.mail(Event::Committed(stream));
                None
            }
        };
        self.set_sink(stream, next);
    }

    pub(super) fn set_sink(&mut self, stream: u64, task: Option<SinkTask>) {
        let sinks = &mut self.receiver.as_mut().expect("it lives").sinks;
        match task {
            Some(task) => _ = sinks.insert(stream, task),
            None => _ = sinks.remove(&stream),
        }
    }
}

/// The chunks before the first one that is not there.
pub(super) fn prefix(got: u8) -> u8 {
    (0..CHUNKS)
        .map(|bit| 1 << bit)
        .take_while(|chunk| got & chunk != 0)
        .fold(0, |prefix, chunk| prefix | chunk)
}

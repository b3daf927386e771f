//! Faults of a node's settings, as far as they can be seen before it starts.

use std::process::ExitCode;

use crate::arguments::Global;
use crate::config::InboxTable;
use crate::error::CommandError;
use crate::event::Event;
use crate::into::resolved;
use crate::output::Output;
use crate::service::{INBOX, Service, checked, config};
use crate::{per_peer, settings};

impl Service<'_> {
    /// Says all that would keep it from starting, as far as that can be seen without it.
    pub(crate) fn check(&self, global: &Global, output: &Output) -> ExitCode {
        let config = config(global, self);
        let config = config.and_then(|config| {
            config.check().map_err(|fault| CommandError::usage(fault, "change that setting"))
        });
        let into = self.into.filter(|into| per_peer::split(into).is_none());
        let into = into.map_or(Ok(()), |into| checked(global, into, self.taking).map(drop));
        let key = settings::key_path(global).and_then(|key| {
            if key.exists() { settings::identity(global).map(drop) } else { Ok(()) }
        });
        let inboxes = self.inboxes.iter().map(|inbox| self.check_inbox(global, inbox));
        let apart = self.folders_apart();
        let faults: Vec<_> = [config, into, key]
            .into_iter()
            .chain(inboxes)
            .chain([apart])
            .filter_map(Result::err)
            .collect();
        faults.iter().for_each(|fault| output.error(fault));
        if let Some(first) = faults.first() {
            return ExitCode::from(first.kind.exit_code());
        }
        output.event(&Event::Checked { file: global.config.as_deref().map(settings::shown) });
        output.result("flags, variables and the configuration are right");
        ExitCode::SUCCESS
    }

    /// Looks at an inbox of the configuration: at a folder, as at that of `--into`.
    pub(crate) fn check_inbox(
        &self,
        global: &Global,
        inbox: &InboxTable,
    ) -> Result<(), CommandError> {
        if inbox.name == INBOX && (self.into.is_some() || self.to_stdout) {
            return Err(inbox.fault("the inbox of `into` is called so"));
        }
        let Some(into) = inbox.folder() else { return Ok(()) };
        if per_peer::split(&into).is_some() {
            return Err(inbox.fault("{peer} is for `into` alone"));
        }
        checked(global, &into, self.taking).map(drop).map_err(|error| inbox.fault(error.message))
    }

    /// Refuses a folder of the configuration that is, or lies in, another one, or the other way
    /// round: what one inbox takes could replace, or pass for, what the other one has taken.
    pub(crate) fn folders_apart(&self) -> Result<(), CommandError> {
        // Around those of the senders, where each has one.
        let into =
            self.into.map(|into| per_peer::split(into).map_or(into.to_owned(), |(at, _)| at));
        let mut taken: Vec<_> =
            into.iter().map(|into| ("that of `into`".to_owned(), resolved(into))).collect();
        for inbox in self.inboxes {
            let Some(folder) = inbox.folder().map(|folder| resolved(&folder)) else { continue };
            for (whose, other) in &taken {
                let how = match (folder.starts_with(other), other.starts_with(&folder)) {
                    (true, true) => "is",
                    (true, false) => "lies in",
                    (false, true) => "holds",
                    (false, false) => continue,
                };
                return Err(inbox.fault(format!(
                    "its folder {} {how} {whose}, {}: each inbox needs one of its own",
                    settings::shown(&folder),
                    settings::shown(other)
                )));
            }
            taken.push((inbox.named(), folder));
        }
        Ok(())
    }
}

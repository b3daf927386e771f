//! Faults of a node's settings, as far as they can be seen before it starts. A start looks at the
//! same, and says the same.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use estafette::Identity;
use estafette::node::{MemoryStore, Store, Trust};
use estafette_actors::spool::Spool;

use crate::arguments::{Global, InboxTable};
use crate::error::CommandError;
use crate::event::Event;
use crate::into::resolved;
use crate::output::Output;
use crate::service::{Service, checked, config};
use crate::settings::INBOX;
use crate::{connection, control, into, known_folders, page, per_peer, settings};

impl Service<'_> {
    /// Says all that would keep it from starting, as far as that can be seen without it.
    pub(crate) fn check(&self, global: &Global, output: &Output) -> ExitCode {
        if let Some(code) = self.say_faults(global, output) {
            return code;
        }
        output.event(&Event::Checked { file: global.config.as_deref().map(settings::shown) });
        output.result("flags, variables and the configuration are right");
        ExitCode::SUCCESS
    }

    /// Says all that keeps it from starting, if anything does; the code is that of the first.
    pub(crate) fn say_faults(&self, global: &Global, output: &Output) -> Option<ExitCode> {
        let codes: Vec<_> = self.faults(global).iter().map(|fault| output.fail(fault)).collect();
        codes.first().copied()
    }

    /// Makes nothing.
    fn faults(&self, global: &Global) -> Vec<CommandError> {
        let looks = [
            look_at_limits(global, self),
            look_at_key(global),
            look_at_spool(global),
            self.look_at_into(global),
            page::look(self.page),
            #[cfg(feature = "doors")]
            crate::secured::certificates(self.secured).map(drop),
            #[cfg(feature = "grpc")]
            crate::grpc::look(self.grpc),
            #[cfg(feature = "webhooks")]
            crate::webhook::look(self.posting),
        ];
        let inboxes = self.inboxes.iter().map(|inbox| self.look_at_inbox(global, inbox));
        let looks = looks.into_iter().chain(inboxes).chain([self.folders_apart()]);
        let mut faults: Vec<_> = looks.filter_map(Result::err).collect();
        faults.extend(self.look_at_peers(global).err().unwrap_or_default());
        faults
    }

    /// The folder that deliveries go to, or the one around those of the senders.
    pub(crate) fn folder(&self) -> Option<PathBuf> {
        let into = self.into?;
        Some(per_peer::split(into).map_or_else(|| into.to_owned(), |(around, _)| around))
    }

    fn look_at_into(&self, global: &Global) -> Result<(), CommandError> {
        match self.folder() {
            Some(into) => Ok(checked(global, &into, self.taking)?.look()?),
            None => Ok(()),
        }
    }

    /// Looks at an inbox of the configuration: at a folder, as at that of `--into`.
    fn look_at_inbox(&self, global: &Global, inbox: &InboxTable) -> Result<(), CommandError> {
        if inbox.name == INBOX && (self.into.is_some() || self.to_stdout) {
            return Err(inbox.fault("the inbox of `into` is called so"));
        }
        let Some(into) = inbox.folder() else { return Ok(()) };
        if per_peer::split(&into).is_some() {
            return Err(inbox.fault("{peer} is for `into` alone"));
        }
        known_folders::check(global, &into).map_err(|error| inbox.said_of(error))?;
        if !self.taking.into_home {
            into::check(global, &into).map_err(|error| inbox.fault(error.message))?;
        }
        let folder = estafette_actors::sink::FileSink::into_dir(&into);
        folder.look().map_err(|refusal| inbox.unmade(refusal))
    }

    /// Refuses a folder of the configuration that is, or lies in, another one, or the other way
    /// round: what one inbox takes could replace, or pass for, what the other one has taken.
    fn folders_apart(&self) -> Result<(), CommandError> {
        let mut taken: Vec<_> = self
            .folder()
            .iter()
            .map(|into| ("that of `into`".to_owned(), resolved(into)))
            .collect();
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

    /// Looks whether each peer of `--connect` is known, and can be dialled.
    fn look_at_peers(&self, global: &Global) -> Result<(), Vec<CommandError>> {
        if self.connect.is_empty() {
            return Ok(());
        }
        // A key that can't be read has its own fault.
        let own = settings::existing_identity(global).map(|key: Identity| key.peer());
        let trust = existing_trust(global).map_err(|error| vec![error])?;
        let trust = own.into_iter().fold(trust, Trust::owned_by);
        connection::find(&trust, own, self.connect).map(drop)
    }
}

fn look_at_limits(global: &Global, service: &Service<'_>) -> Result<(), CommandError> {
    let config = config(global, service)?;
    config.check().map_err(|fault| CommandError::usage(fault, "change that setting"))
}

fn look_at_key(global: &Global) -> Result<(), CommandError> {
    // Made when it is needed first, and only then.
    let is_there = settings::key_path(global)?.exists() || settings::spool_mark(global)?.exists();
    if is_there { settings::identity(global).map(drop) } else { Ok(()) }
}

fn look_at_spool(global: &Global) -> Result<(), CommandError> {
    let (spool, key) = (settings::spool_path(global)?, settings::key_path(global)?);
    // The folder of the key is made with it.
    if spool.parent() == key.parent() && !spool.exists() {
        return Ok(());
    }
    Spool::look(spool).map_err(control::spool_fault)
}

/// The trust of the node, if anybody is trusted yet.
fn existing_trust(global: &Global) -> Result<Trust, CommandError> {
    let store: Arc<dyn Store> = match settings::trust_path(global)?.exists() {
        true => settings::store(global)?,
        false => Arc::<MemoryStore>::default(),
    };
    Ok(Trust::load(store)?)
}

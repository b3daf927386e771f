//! This program as one of its servers: a process of its own, until its standard input ends.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// The variables that make this program a server: its role, and what that needs.
pub(crate) const ROLE: &str = "ESTAFETTE_DOORS_ROLE";
pub(crate) const OF: &str = "ESTAFETTE_DOORS_OF";

/// A process that serves.
pub(crate) struct Role {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    said: String,
}

impl Role {
    pub(crate) fn start(role: &str, of: &str) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.env(ROLE, role).env(OF, of).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let output = BufReader::new(process.stdout.take().context("its output")?);
        let input = process.stdin.take();
        let mut role = Self { process, input, output, said: String::new() };
        role.said = role.line().context("the role ended at once")?;
        Ok(role)
    }

    /// The words that it said about itself.
    pub(crate) fn said(&self) -> &str {
        &self.said
    }

    pub(crate) fn process(&self) -> u32 {
        self.process.id()
    }

    /// Has it do something.
    pub(crate) fn order(&self, what: &str) -> Result<()> {
        Ok(writeln!(self.input.as_ref().context("its input")?, "{what}")?)
    }

    /// The next line it says.
    pub(crate) fn line(&mut self) -> Result<String> {
        let mut said = String::new();
        self.output.read_line(&mut said)?;
        ensure!(!said.is_empty(), "a server has ended");
        Ok(said.trim_end().into())
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.process.wait();
    }
}

/// Says where it is.
pub(crate) fn announce(what: &str) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{what}")?;
    Ok(out.flush()?)
}

/// The orders for it, until there are no more.
pub(crate) fn orders() -> impl Iterator<Item = String> {
    std::io::stdin().lines().map_while(Result::ok)
}

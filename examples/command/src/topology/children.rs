//! All nodes of this machine, each in a process of its own: their events as one, restarts, and one
//! end for all.

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use estafette_topology::{Document, Topology};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::accepted::Accepted;
use super::child::{Children, Next, Process, RESTART, Said};
use super::hearing::hear;
use super::lines::Lines;
use super::once::{ASK_AGAIN, PENDING};
use super::only::Only;
use super::process::{cant_start, this_program};
use super::reload::folder_of_run;
use super::watch::{LOOK, Watch};
use crate::arguments::{Global, RunOptions};
use crate::attached::NEVER;
use crate::control::{Asked, Server, Topological, reloads};
use crate::error::{CommandError, ErrorKind};
use crate::output::Output;
use crate::signals::Signals;
use crate::units;

/// A process that ran for so long is started again as if for the first time.
const STEADY: Duration = Duration::from_secs(60);
/// Longer than its own time for what runs, a process is not waited for: it may write down what is
/// over for 15 s.
const LINGER: Duration = Duration::from_secs(20);

pub(super) async fn run(
    global: &Global,
    options: &RunOptions,
    (document, mut watch): (&Document, Watch),
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let (mut signals, mut hang_up) = Signals::of_reloading()?;
    let topology = document.topology();
    let (here, away) = by_place(topology)?;
    let _only = Only::take(topology, &here, &options.topology.file)?;
    // Together they would make the same ones.
    topology.make_keys()?;
    let (said, mut hear) = mpsc::channel(256);
    let (_server, mut asked_for) = listen(topology, &here)?;
    let lines = Lines::new(&here, output);
    let accepted = Accepted::of(topology, &here);
    accepted.write(document.text())?;
    let of = (topology, accepted);
    let mut children = Children::of(of, (global, options), (lines, output), said)?;
    for name in away {
        output.remark(&format!("{} is of another machine", units::printable(&name)));
    }
    for name in here {
        children.start(&name)?;
    }
    let mut asked = 0;
    let mut ask = tokio::time::interval(ASK_AGAIN);
    let (mut before, mut look) = (None, tokio::time::interval(LOOK));
    while !(children.is_stopping() && children.running() == 0) {
        tokio::select! {
            said = hear.recv() => {
                // This process holds one end itself.
                let Some((name, said)) = said else { break };
                if matches!(said, Said::Ended(_) | Said::Again(_)) {
                    children.is_unseen = watch.is_unseen();
                }
                children.heard(&name, said).await;
                if !children.is_stopping() && children.is_hopeless() {
                    children.stop(Signal::TERM);
                }
            }
            _ = ask.tick(), if options.once && !children.is_stopping() => {
                before = children.look_done(before).await;
            }
            _ = look.tick(), if !children.is_stopping() && !children.is_checking() => {
                if let Some(document) = watch.changed(global, output) {
                    children.begin(&document);
                }
            }
            Some(asked) = asked_for.recv() => children.ask_to_reload(asked),
            () = over(children.answers_until()) => children.miss_answers(),
            () = hang_up.reload() => children.wants_reload = !children.is_stopping(),
            () = signals.next() => {
                asked += 1;
                children.stop(if asked < 3 { Signal::TERM } else { Signal::KILL });
                if asked > 1 {
                    children.killed_at = Some(Instant::now() + LINGER);
                }
            }
            // Whatever they say meanwhile.
            () = over(children.killed_at) => children.stop(Signal::KILL),
        }
        children.reload_for_those_who_ask(&mut watch);
        children.is_faulty = watch.is_faulty();
    }
    children.end(asked)
}

/// Waits until then; for ever without a time.
async fn over(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The socket by which this process is asked to reload its topology.
fn listen(
    topology: &Topology,
    here: &[String],
) -> Result<(Option<Server>, mpsc::Receiver<Asked>), CommandError> {
    let (reloads, asked) = reloads();
    let of = Topological { taps: None, reloads: Some(reloads) };
    let Some(folder) = folder_of_run(topology, here) else { return Ok((None, asked)) };
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    made.map_err(|error| {
        let folder = crate::settings::shown(&folder);
        let text = format!("{folder} can't be made: {error}");
        CommandError::io(text, "let this user write there, or say another `state` in the file")
    })?;
    Ok((Some(Server::start_with(&folder, None, of)?), asked))
}

/// The nodes that are of this machine, of which there is one, and the others.
fn by_place(topology: &Topology) -> Result<(Vec<String>, Vec<String>), CommandError> {
    let (here, away): (Vec<_>, Vec<_>) =
        topology.nodes.keys().cloned().partition(|name| topology.is_here(name));
    if here.is_empty() {
        return Err(CommandError::usage(
            "none of the nodes is of this machine: all have ids, and no key of them is here",
            "bring the key of one here, or leave its id out",
        ));
    }
    Ok((here, away))
}

impl<'a> Children<'a> {
    /// None that runs yet.
    fn of(
        (topology, accepted): (&Topology, Accepted),
        (global, options): (&'a Global, &'a RunOptions),
        (lines, output): (Lines, &'a Output),
        said: mpsc::Sender<(String, Said)>,
    ) -> Result<Self, CommandError> {
        Ok(Self {
            program: this_program()?,
            global,
            options,
            topology: Arc::new(topology.clone()),
            accepted,
            is_refused: false,
            is_faulty: false,
            is_unseen: false,
            wants_reload: false,
            nodes: BTreeMap::new(),
            reloading: None,
            asked: Vec::new(),
            waits: 0,
            lines,
            output,
            said,
            killed_at: None,
            is_done: false,
            dead: 0,
        })
    }
}

impl Children<'_> {
    fn start(&mut self, name: &str) -> Result<(), CommandError> {
        let as_before = self.runs_as_before(name);
        let process = self.spawn(name, as_before.as_deref());
        let node = self.nodes.entry(name.to_owned()).or_default();
        (node.wait, node.pending, node.next) = (None, None, Next::Restart);
        node.unread = (0, node.unread.0 + node.unread.1);
        (node.lacks, node.looks) = (false, None);
        (node.is_outdated, node.is_up, node.owes, node.fault) = (false, false, 1, None);
        if as_before.is_none() {
            node.applied = Arc::clone(&self.topology);
        }
        node.process = Some(process.map_err(|error| cant_start(name, &self.program, &error))?);
        Ok(())
    }

    /// Starts it again, or for a reload: a failure is told, and it is tried again.
    pub(super) fn start_again(&mut self, name: &str) {
        let Err(mut error) = self.start(name) else { return };
        self.miss(name, &error);
        let Some(again) = self.wait(name) else { return };
        error.message = format!("{}; tried again in {}", error.message, units::span(again));
        self.output.error(&error);
    }

    /// Starts it when some time has passed: twice as much as the last time.
    fn wait(&mut self, name: &str) -> Option<Duration> {
        let node = self.nodes.get_mut(name)?;
        self.waits += 1;
        let (number, again) = (self.waits, node.restart);
        node.wait = Some(number);
        node.restart = (again * 2).min(RESTART.1);
        let (name, said) = (name.to_owned(), self.said.clone());
        tokio::spawn(async move {
            sleep(again).await;
            // Whoever listens may be gone.
            let _ = said.send((name, Said::Again(number))).await;
        });
        Some(again)
    }

    fn spawn(&self, name: &str, as_before: Option<&Path>) -> std::io::Result<Process> {
        let Global { drain, verbose, quiet, log_format, .. } = self.global;
        let mut command = Command::new(&self.program);
        command
            .arg("run")
            .arg(&self.options.topology.file)
            .args(["--node", name, "--with-parent", "--json", "--drain"])
            .arg(format!("{}ms", drain.as_millis()))
            .args((0..*verbose).map(|_| "-v"))
            .args(quiet.then_some("-q"))
            .args(["--log-format", log_format.name()])
            .args(self.accepted.file().map(|_| "--accepted"))
            .args(self.accepted.file())
            .args(as_before.map(|_| "--applied"))
            .args(as_before)
            .env_remove("ESTAFETTE_CONFIG")
            .env_remove("ESTAFETTE_NODE")
            .env_remove("ESTAFETTE_ONCE")
            // A Ctrl-C is for this process, which tells the others.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let lost = || std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())).ok_or_else(lost)?;
        let stdin = child.stdin.take().ok_or_else(lost)?;
        tokio::spawn(hear(name.to_owned(), child, self.said.clone()));
        Ok(Process { pid, stdin, since: Instant::now(), is_asked: false, has_ended: false })
    }

    async fn heard(&mut self, name: &str, said: Said) {
        match said {
            Said::Line { from_log: true, text } => self.lines.log(name, &text),
            Said::Line { from_log: false, text } => {
                let event = serde_json::from_str::<Map<String, Value>>(&text);
                let Ok(event) = event else { return self.lines.log(name, &text) };
                self.event(name, &event);
            }
            Said::Gone => {
                let process = self.nodes.get_mut(name).and_then(|node| node.process.as_mut());
                process.into_iter().for_each(|process| process.has_ended = true);
            }
            Said::Checked(faults) => self.checked(faults).await,
            Said::Ended(code) if self.looks_once_more(name, code) => {}
            Said::Ended(code) if self.looks_at_files(name, code) => {}
            Said::Ended(code) => self.ended(name, code),
            Said::Looked(code, lacks) => self.looked(name, code, lacks),
            Said::Left(code, kept) => self.left(name, code, kept),
            Said::Again(number) => {
                let waits = self.nodes.get(name).is_some_and(|node| node.wait == Some(number));
                if waits && !self.is_stopping() {
                    self.start_again(name);
                }
            }
        }
    }

    fn event(&mut self, name: &str, event: &Map<String, Value>) {
        let number = |key: &str| event.get(key).and_then(Value::as_u64);
        match event.get("event").and_then(Value::as_str) {
            Some("pending") => {
                if let Some(node) = self.nodes.get_mut(name) {
                    node.process.iter_mut().for_each(|process| process.is_asked = false);
                    node.unread.0 = number("unread").unwrap_or_default();
                    node.held = number("held").unwrap_or_default();
                    node.pending = [number("open"), number("dead"), number("activity")]
                        .into_iter()
                        .collect::<Option<Vec<_>>>()
                        .and_then(|numbers| numbers.try_into().ok());
                }
                return;
            }
            Some("reloaded") => return self.answered(name, event),
            Some("error") => {
                let message = event.get("message").and_then(Value::as_str);
                if let Some(node) = self.nodes.get_mut(name) {
                    node.fault = message.map(str::to_owned);
                }
            }
            _ => {}
        }
        self.lines.event(name, event);
    }

    /// A process has ended: started again, unless it was to end, or can't run as it is.
    pub(super) fn ended(&mut self, name: &str, code: Option<i32>) {
        let is_stopping = self.is_stopping();
        let Some(node) = self.nodes.get_mut(name) else { return };
        let ran = node.process.take().map(|process| process.since.elapsed());
        (node.code, node.is_killed) = (code, code.is_none());
        if is_stopping {
            return;
        }
        match node.next {
            Next::Restart => {}
            // It is one of those who wait now.
            Next::Now => return self.start_those_who_waited(),
            Next::Nothing => {
                self.nodes.remove(name);
                self.start_those_who_waited();
                return self.settle(name);
            }
        }
        if node.before.is_some() {
            return self.go_back(name);
        }
        let fault = node.fault.take().unwrap_or_else(|| "its process has ended".into());
        self.miss(name, &CommandError::io(fault, ""));
        let Some(node) = self.nodes.get_mut(name) else { return };
        if ran.is_some_and(|ran| ran >= STEADY) {
            node.restart = RESTART.0;
        }
        // What is wrong with its words is wrong the next time, too, unless they have changed.
        let usage = Some(i32::from(ErrorKind::Usage.exit_code()));
        // And one run ends for a node that can't start, as it does where that is its only one.
        let is_vain = self.options.once && !node.is_up && code.is_some_and(|code| code != 0);
        let is_hopeless = (code == usage && !node.is_outdated) || is_vain;
        let lacks = node.lacks && !is_hopeless;
        let again = if is_hopeless || lacks { None } else { self.wait(name) };
        self.lines.ended(name, code, (again, lacks));
        if lacks {
            self.wait_for_files(name);
        }
    }

    fn running(&self) -> usize {
        self.nodes.values().filter(|node| node.process.is_some()).count()
    }

    /// Returns `true` if no node runs, nor will; or one that all of it is waited for.
    fn is_hopeless(&self) -> bool {
        let mut given_up =
            self.nodes.values().map(|node| node.process.is_none() && !node.will_start());
        if self.options.once { given_up.any(|up| up) } else { given_up.all(|up| up) }
    }

    /// Asks each node that has not said it what it still has to do; one that looks at much takes its
    /// time, and is not asked again meanwhile.
    async fn ask(&mut self) {
        for node in self.nodes.values_mut().filter(|node| node.pending.is_none()) {
            if let Some(process) = node.process.as_mut().filter(|process| !process.is_asked) {
                process.is_asked = true;
                // One that has ended is heard of.
                let _ = process.stdin.write_all(format!("{PENDING}\n").as_bytes()).await;
            }
        }
    }

    /// Ends them, if nothing is open, and nothing has happened since it was so `before`; else asks
    /// again. Returns what had happened when all of them said last that nothing is open.
    async fn look_done(&mut self, before: Option<u64>) -> Option<u64> {
        let said: Option<Vec<_>> = self.nodes.values().map(|node| node.pending).collect();
        let Some(said) = said else {
            self.ask().await;
            return before;
        };
        let is_done = said.iter().all(|[open, ..]| *open == 0);
        let standing = is_done.then(|| said.iter().map(|[_, _, activity]| activity).sum());
        if standing.is_some() && standing == before {
            (self.is_done, self.dead) = (true, said.iter().map(|[_, dead, _]| dead).sum());
            self.stop(Signal::TERM);
        }
        self.nodes.values_mut().for_each(|node| node.pending = None);
        self.ask().await;
        standing
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.killed_at.is_some()
    }

    fn stop(&mut self, signal: Signal) {
        let is_last = signal == Signal::KILL;
        // Who asked hears that this process ends.
        (self.reloading, self.asked) = (None, Vec::new());
        let patience = if is_last { NEVER } else { self.global.drain.min(NEVER) + LINGER };
        if is_last || self.killed_at.is_none() {
            self.killed_at = Some(Instant::now() + patience);
        }
        let processes = self.nodes.values().filter_map(|node| node.process.as_ref());
        for process in processes.filter(|process| !process.has_ended) {
            let _ = kill_process(process.pid, signal);
        }
    }

    fn end(self, asked: u32) -> Result<ExitCode, CommandError> {
        let cancelled = i32::from(ErrorKind::Cancelled.exit_code());
        let unread: u64 = self.nodes.values().map(|node| node.unread.0 + node.unread.1).sum();
        let held: u64 = self.nodes.values().map(|node| node.held).sum();
        let mut nodes = self.nodes.iter();
        if let Some((name, _)) = nodes.clone().find(|(_, node)| node.is_killed) {
            let text = "was killed: deliveries were cut off";
            return Err(CommandError::cancelled(format!("{} {text}", units::printable(name))));
        }
        match nodes.find(|(_, node)| node.code.is_some_and(|code| code != 0)) {
            None if self.dead > 0 => Err(super::once::given_up(self.dead)),
            None if self.options.once && !self.is_done => Err(super::once::stopped()),
            None if self.options.once && held > 0 => Err(super::once::held_back(held)),
            None if self.options.once && unread > 0 => Err(super::once::left_out(unread)),
            None => Ok(ExitCode::SUCCESS),
            Some((_, node)) if node.code == Some(cancelled) || asked > 1 => {
                Err(CommandError::cancelled("stopped by a signal: deliveries were cut off"))
            }
            Some((name, node)) => {
                let code = node.code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
                self.output.remark(&format!("{} ended with {code}", units::printable(name)));
                Ok(ExitCode::from(code))
            }
        }
    }
}

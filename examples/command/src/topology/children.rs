//! All nodes of this machine, each in a process of its own: their events as one, restarts, and one
//! end for all.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use estafette_topology::{NodeChange, Topology};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::lines::Lines;
use super::once::{ASK_AGAIN, PENDING};
use super::only::Only;
use super::process::{cant_start, this_program};
use super::watch::{LOOK, Watch};
use crate::arguments::{Global, RunOptions};
use crate::attached::NEVER;
use crate::error::{CommandError, ErrorKind};
use crate::output::Output;
use crate::signals::Signals;
use crate::units;

/// The wait before a process that has ended is started again: doubled each time, up to the second.
const RESTART: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// A process that ran for so long is started again as if for the first time.
const STEADY: Duration = Duration::from_secs(60);
/// Longer than its own time for what runs, a process is not waited for: it may write down what is
/// over for 15 s.
const LINGER: Duration = Duration::from_secs(20);
/// The longest line of a process that is read whole, in bytes.
const LINE_MOST: u64 = 1 << 20;

/// Something that a process did.
enum Said {
    Line {
        from_log: bool,
        text: String,
    },
    Ended(Option<i32>),
    /// The wait of this number is over.
    Again(u64),
}

/// One node, and its process.
struct Node {
    process: Option<Process>,
    restart: Duration,
    /// The number of the wait after which it is started again. Others that end were for a start
    /// that has come about in another way.
    wait: Option<u64>,
    /// Set if its process was started before the file said what it says now of it.
    is_outdated: bool,
    /// The exit code of the last one.
    code: Option<i32>,
    /// Set if its last process ended by a signal.
    is_killed: bool,
    /// Open, given up, and what has happened.
    pending: Option<[u64; 3]>,
    /// The step that follows the end of its process.
    next: Next,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// It was not meant to end.
    Restart,
    /// It is started again at once: a reload asks for it.
    Now,
    /// It is in the topology no longer.
    Nothing,
}

impl Default for Node {
    fn default() -> Self {
        let (process, wait, code, pending) = (None, None, None, None);
        let (restart, next) = (RESTART.0, Next::Restart);
        Self { process, restart, wait, is_outdated: false, code, is_killed: false, pending, next }
    }
}

struct Process {
    pid: Pid,
    stdin: ChildStdin,
    since: Instant,
}

struct Children<'a> {
    /// The path at the start: where another version took its place, the system says that the one
    /// which runs is deleted.
    program: PathBuf,
    global: &'a Global,
    options: &'a RunOptions,
    topology: Topology,
    nodes: BTreeMap<String, Node>,
    /// The number of the last wait.
    waits: u64,
    lines: Lines,
    output: &'a Output,
    said: mpsc::Sender<(String, Said)>,
    /// The time when all that still run are killed, once they are to end.
    killed_at: Option<Instant>,
    /// Deliveries that were given up, in the end.
    dead: u64,
}

pub(super) async fn run(
    global: &Global,
    options: &RunOptions,
    (topology, mut watch): (&Topology, Watch),
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let mut signals = Signals::new()?;
    let (here, away) = by_place(topology)?;
    let _only = Only::take(topology, &here, &options.topology.file)?;
    // Together they would make the same ones.
    topology.make_keys()?;
    let (said, mut hear) = mpsc::channel(256);
    let mut children = Children {
        program: this_program()?,
        global,
        options,
        topology: topology.clone(),
        nodes: BTreeMap::new(),
        waits: 0,
        lines: Lines::new(&here, output),
        output,
        said,
        killed_at: None,
        dead: 0,
    };
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
                children.heard(&name, said);
                if !children.is_stopping() && children.is_hopeless() {
                    children.stop(Signal::TERM);
                }
            }
            _ = ask.tick(), if options.once && !children.is_stopping() => {
                before = children.look_done(before).await;
            }
            _ = look.tick(), if !children.is_stopping() => {
                if let Some(document) = watch.changed(global, output) {
                    children.reload(document.topology());
                }
            }
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

impl Children<'_> {
    fn start(&mut self, name: &str) -> Result<(), CommandError> {
        let process = self.spawn(name);
        let node = self.nodes.entry(name.to_owned()).or_default();
        (node.wait, node.pending, node.next) = (None, None, Next::Restart);
        node.is_outdated = false;
        node.process = Some(process.map_err(|error| cant_start(name, &self.program, &error))?);
        Ok(())
    }

    /// Starts it again, or for a reload: a failure is told, and it is tried again.
    fn start_again(&mut self, name: &str) {
        let Err(mut error) = self.start(name) else { return };
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

    fn spawn(&self, name: &str) -> std::io::Result<Process> {
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
        self.listen(name, child);
        Ok(Process { pid, stdin, since: Instant::now() })
    }

    /// Hears all that a process says, and then how it ended.
    fn listen(&self, name: &str, mut child: Child) {
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (name, said) = (name.to_owned(), self.said.clone());
        tokio::spawn(async move {
            let out = async {
                if let Some(stdout) = stdout {
                    forward(&name, stdout, false, &said).await;
                }
            };
            let log = async {
                if let Some(stderr) = stderr {
                    forward(&name, stderr, true, &said).await;
                }
            };
            tokio::join!(out, log);
            let code = child.wait().await.ok().and_then(|status| status.code());
            // Whoever listens may be gone.
            let _ = said.send((name, Said::Ended(code))).await;
        });
    }

    fn heard(&mut self, name: &str, said: Said) {
        match said {
            Said::Line { from_log: true, text } => self.lines.log(name, &text),
            Said::Line { from_log: false, text } => {
                let event = serde_json::from_str::<Map<String, Value>>(&text);
                let Ok(event) = event else { return self.lines.log(name, &text) };
                if event.get("event").and_then(Value::as_str) == Some("pending") {
                    let number = |key: &str| event.get(key).and_then(Value::as_u64);
                    if let Some(node) = self.nodes.get_mut(name) {
                        node.pending = [number("open"), number("dead"), number("activity")]
                            .into_iter()
                            .collect::<Option<Vec<_>>>()
                            .and_then(|numbers| numbers.try_into().ok());
                    }
                    return;
                }
                self.lines.event(name, &event);
            }
            Said::Ended(code) => self.ended(name, code),
            Said::Again(number) => {
                let waits = self.nodes.get(name).is_some_and(|node| node.wait == Some(number));
                if waits && !self.is_stopping() {
                    self.start_again(name);
                }
            }
        }
    }

    /// A process has ended: started again, unless it was to end, or can't run as it is.
    fn ended(&mut self, name: &str, code: Option<i32>) {
        let is_stopping = self.is_stopping();
        let Some(node) = self.nodes.get_mut(name) else { return };
        let ran = node.process.take().map(|process| process.since.elapsed());
        (node.code, node.is_killed) = (code, code.is_none());
        if is_stopping {
            return;
        }
        match node.next {
            Next::Restart => {}
            Next::Now => return self.start_again(name),
            Next::Nothing => {
                self.nodes.remove(name);
                return;
            }
        }
        if ran.is_some_and(|ran| ran >= STEADY) {
            node.restart = RESTART.0;
        }
        // What is wrong with its words is wrong the next time, too, unless they have changed.
        let usage = Some(i32::from(ErrorKind::Usage.exit_code()));
        let is_hopeless = code == usage && !node.is_outdated;
        let again = if is_hopeless { None } else { self.wait(name) };
        self.lines.ended(name, code, again);
    }

    /// Starts, ends and restarts nodes as another topology says. Those that only change look at the
    /// file themselves.
    fn reload(&mut self, new: &Topology) {
        if let Err(error) = new.make_keys() {
            self.output.error(&error.into());
            return;
        }
        for (name, change) in self.topology.changes(new) {
            self.change(&name, change, new.is_here(&name));
        }
        self.topology = new.clone();
    }

    fn change(&mut self, name: &str, change: NodeChange, is_here: bool) {
        let Some(node) = self.nodes.get_mut(name) else {
            if is_here {
                self.lines.add(name);
                self.lines.reloaded(name, &change);
                self.start_again(name);
            }
            return;
        };
        let change = if is_here { change } else { NodeChange::Ends };
        let was_told_to_end = node.next != Next::Restart;
        node.is_outdated = true;
        match &change {
            NodeChange::Ends => node.next = Next::Nothing,
            // It looks at the file itself.
            NodeChange::Reloads(_) if node.process.is_some() && !was_told_to_end => return,
            _ => node.next = Next::Now,
        }
        self.lines.reloaded(name, &change);
        match &node.process {
            // A second signal would cut off what it finishes.
            Some(_) if was_told_to_end => {}
            // One that has ended is not waited for yet, so its number is still its own.
            Some(process) => drop(kill_process(process.pid, Signal::TERM)),
            // It waits, or was given up: what it is now is as good as new.
            None if change == NodeChange::Ends => drop(self.nodes.remove(name)),
            None => {
                node.restart = RESTART.0;
                self.start_again(name);
            }
        }
    }

    fn running(&self) -> usize {
        self.nodes.values().filter(|node| node.process.is_some()).count()
    }

    /// Returns `true` if no node runs, nor will; or one that all of it is waited for.
    fn is_hopeless(&self) -> bool {
        let mut given_up =
            self.nodes.values().map(|node| node.process.is_none() && node.wait.is_none());
        if self.options.once { given_up.any(|up| up) } else { given_up.all(|up| up) }
    }

    /// Asks each node what it still has to do.
    async fn ask(&mut self) {
        for node in self.nodes.values_mut() {
            node.pending = None;
            if let Some(process) = &mut node.process {
                // One that has ended is heard of.
                let _ = process.stdin.write_all(format!("{PENDING}\n").as_bytes()).await;
            }
        }
    }

    /// The sum of what has happened, if all nodes have said that nothing is open.
    fn standing(&self) -> Option<u64> {
        let done = |node: &Node| match node.pending {
            Some([0, _, activity]) => Some(activity),
            _ => None,
        };
        self.nodes.values().map(done).sum()
    }

    /// Ends them, if nothing is open, and nothing has happened since it was so `before`; else asks
    /// again. Returns what has happened by now.
    async fn look_done(&mut self, before: Option<u64>) -> Option<u64> {
        let standing = self.standing();
        if standing.is_some() && standing == before {
            self.dead = self.given_up();
            self.stop(Signal::TERM);
        }
        self.ask().await;
        standing
    }

    fn given_up(&self) -> u64 {
        self.nodes.values().filter_map(|node| Some(node.pending?[1])).sum()
    }

    fn is_stopping(&self) -> bool {
        self.killed_at.is_some()
    }

    fn stop(&mut self, signal: Signal) {
        let is_last = signal == Signal::KILL;
        let patience = if is_last { NEVER } else { self.global.drain.min(NEVER) + LINGER };
        if is_last || self.killed_at.is_none() {
            self.killed_at = Some(Instant::now() + patience);
        }
        for process in self.nodes.values().filter_map(|node| node.process.as_ref()) {
            // One that has ended is not waited for yet, so its number is still its own.
            let _ = kill_process(process.pid, signal);
        }
    }

    fn end(self, asked: u32) -> Result<ExitCode, CommandError> {
        let cancelled = i32::from(ErrorKind::Cancelled.exit_code());
        let mut nodes = self.nodes.iter();
        if let Some((name, _)) = nodes.clone().find(|(_, node)| node.is_killed) {
            let text = "was killed: deliveries were cut off";
            return Err(CommandError::cancelled(format!("{} {text}", units::printable(name))));
        }
        match nodes.find(|(_, node)| node.code.is_some_and(|code| code != 0)) {
            None if self.dead > 0 => Err(super::once::given_up(self.dead)),
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

/// Hands on each line, until there are no more.
async fn forward(
    name: &str,
    from: impl tokio::io::AsyncRead + Unpin,
    from_log: bool,
    said: &mpsc::Sender<(String, Said)>,
) {
    use tokio::io::AsyncReadExt;
    let mut from = BufReader::new(from);
    loop {
        let mut line = Vec::new();
        // A longer one is told in pieces.
        let read = (&mut from).take(LINE_MOST).read_until(b'\n', &mut line).await;
        if !matches!(read, Ok(1..)) {
            return;
        }
        let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
        if said.send((name.to_owned(), Said::Line { from_log, text })).await.is_err() {
            return;
        }
    }
}

//! Reloads of all nodes of this machine. All that can be tried beside what runs is tried first: where
//! something can't be done, nothing is changed. Then each node does its part, and one that does not
//! come up is started as it was.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use estafette_topology::{Document, NodeChange, Topology};
use rustix::process::{Signal, kill_process};
use serde_json::{Map, Value};
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::child::{Children, Next, RESTART, Reloading, Said};
use super::once::RELOAD;
use super::plan::applied_file;
use super::reload::{at_fault, told};
use super::tried::{Part, tried, unchanged};
use super::watch::Watch;
use crate::control::{Asked, Outcome, Reply};
use crate::error::{CommandError, ErrorKind};

/// The longest that a node may take to say what has come of a reload; those that are started again
/// take as long as they take.
const ANSWER_MOST: Duration = Duration::from_secs(60);

impl Children<'_> {
    /// Somebody wants the file to be looked at.
    pub(super) fn ask_to_reload(&mut self, asked: Asked) {
        if asked.file == told(&self.options.topology.file) && !self.is_stopping() {
            self.asked.push(asked);
        } else {
            asked.tell(Ok(vec![Reply::NotOfIt]));
        }
    }

    /// Looks at the file for those who have asked, or a signal, unless changes are being tried.
    pub(super) fn reload_for_those_who_ask(&mut self, watch: &mut Watch) {
        let is_asked = self.wants_reload || !self.asked.is_empty();
        if !is_asked || self.is_checking() || self.is_stopping() {
            return;
        }
        self.wants_reload = false;
        match watch.look(self.global, self.output) {
            Some(document) => self.begin(&document),
            None => {
                let error = at_fault(&self.options.topology.file);
                self.asked.drain(..).for_each(|asked| asked.tell(Err(error.clone())));
            }
        }
    }

    /// Returns `true` while changes are tried, which have not begun.
    pub(super) fn is_checking(&self) -> bool {
        self.reloading.as_ref().is_some_and(|reloading| reloading.tried.is_some())
    }

    /// Begins to make the nodes what another topology says: tries it beside them. What is left of
    /// the reload before it goes on with this one.
    pub(super) fn begin(&mut self, document: &Document) {
        let new = Arc::new(document.topology().clone());
        let reloading = self.reloading.get_or_insert_default();
        reloading.asked.append(&mut self.asked);
        (reloading.new, reloading.text) = (Arc::clone(&new), document.text().to_owned());
        let changes = self.changes(&new);
        let part = |(name, change): &(String, NodeChange)| {
            let applied = self.nodes.get(name).map(|node| Arc::clone(&node.applied));
            Part { name: name.clone(), change: change.clone(), applied }
        };
        let parts: Vec<_> = changes.iter().map(part).collect();
        let (said, registry) = (self.said.clone(), self.global.program.registry.clone());
        tokio::spawn(async move {
            let faults = tried(parts, &new, &registry).await;
            // Whoever listens may be gone.
            let _ = said.send((String::new(), Said::Checked(faults))).await;
        });
        if let Some(reloading) = &mut self.reloading {
            reloading.tried = Some(changes);
        }
    }

    /// The changes of nodes of this machine, each from what it runs.
    fn changes(&self, new: &Topology) -> Vec<(String, NodeChange)> {
        let known = self.nodes.iter().filter(|(_, node)| node.next != Next::Nothing);
        let known = known.filter_map(|(name, node)| {
            let change = match new.is_here(name) {
                true => node.applied.change_of(name, new)?,
                false => NodeChange::Ends,
            };
            Some((name.clone(), change))
        });
        let is_new = |name: &&String| {
            let node = self.nodes.get(*name);
            node.is_none_or(|node| node.next == Next::Nothing) && new.is_here(name)
        };
        let started = new.nodes.keys().filter(is_new);
        known.chain(started.map(|name| (name.clone(), NodeChange::Starts))).collect()
    }

    /// It was tried: done, or refused.
    pub(super) async fn checked(&mut self, mut faults: Vec<(String, CommandError)>) {
        let Some(reloading) = &mut self.reloading else { return };
        let changes = reloading.tried.take().unwrap_or_default();
        let written = if faults.is_empty() { self.accepted.write(&reloading.text) } else { Ok(()) };
        if let Err(error) = written {
            // It is of all of them.
            let names = changes.iter().map(|(name, _)| name).chain(self.nodes.keys());
            let unchanged = unchanged(error);
            faults.extend(names.take(1).map(|name| (name.clone(), unchanged.clone())));
        }
        self.is_refused = !faults.is_empty();
        for (name, error) in &faults {
            self.fail(Outcome::failed(name, error));
        }
        if faults.is_empty() {
            self.apply(changes).await;
        }
        self.settle("");
    }

    /// Starts, ends and restarts nodes, and has the others reload.
    async fn apply(&mut self, changes: Vec<(String, NodeChange)>) {
        let Some(reloading) = &mut self.reloading else { return };
        self.topology = Arc::clone(&reloading.new);
        reloading.until = Some(Instant::now() + ANSWER_MOST);
        for (name, change) in changes {
            self.change(&name, change);
        }
        let Some(reloading) = &mut self.reloading else { return };
        let mut given_up = Vec::new();
        for (name, node) in &mut self.nodes {
            match &mut node.process {
                // One that is not up yet may have read the text before it was changed again.
                Some(process) if node.next == Next::Restart => {
                    node.owes += 1;
                    reloading.left.entry(name.clone()).or_default();
                    // One that has ended is heard of.
                    let _ = process.stdin.write_all(format!("{RELOAD}\n").as_bytes()).await;
                }
                // It could not run as the file had it: what is named there may be mended.
                None if node.wait.is_none() && node.next == Next::Restart => {
                    given_up.push(name.clone());
                }
                _ => {}
            }
        }
        for name in given_up {
            self.begin_part(&name, None);
            self.start_now(&name);
        }
    }

    fn change(&mut self, name: &str, change: NodeChange) {
        let words = change.to_string();
        let Some(node) = self.nodes.get_mut(name) else {
            self.lines.add(name);
            self.tell(name, &words);
            self.begin_part(name, Some(words));
            return self.start_now(name);
        };
        let was_told_to_end = node.next != Next::Restart;
        node.is_outdated = true;
        match &change {
            NodeChange::Ends => node.next = Next::Nothing,
            // It is told when all are.
            NodeChange::Reloads(_) if node.process.is_some() && !was_told_to_end => return,
            _ => node.next = Next::Now,
        }
        node.as_before = false;
        match &node.process {
            // A second signal would cut off what it finishes.
            Some(_) if was_told_to_end => {}
            // One that has ended is not waited for yet, so its number is still its own.
            Some(process) => drop(kill_process(process.pid, Signal::TERM)),
            // It waits, or was given up: what it is now is as good as new.
            None if change == NodeChange::Ends => drop(self.nodes.remove(name)),
            None => node.restart = RESTART.0,
        }
        self.tell(name, &words);
        let Some(node) = self.nodes.get_mut(name) else {
            return self.outcome(Outcome { node: name.to_owned(), change: words, kind: None });
        };
        let runs = node.process.is_some();
        if runs && change != NodeChange::Ends {
            node.before.get_or_insert_with(|| Arc::clone(&node.applied));
        }
        self.begin_part(name, Some(words));
        if !runs {
            self.start_now(name);
        }
    }

    /// Says what a reload does to a node.
    fn tell(&self, name: &str, change: &str) {
        let (node, change) = (name.to_owned(), change.to_owned());
        self.lines.reloaded(&Outcome { node, change, kind: None });
    }

    fn begin_part(&mut self, name: &str, words: Option<String>) {
        if let Some(reloading) = &mut self.reloading {
            reloading.left.insert(name.to_owned(), words);
        }
    }

    fn outcome(&mut self, outcome: Outcome) {
        if let Some(reloading) = &mut self.reloading {
            reloading.outcomes.push(outcome);
        }
    }

    /// A node has not done its part, which is told.
    fn fail(&mut self, outcome: Outcome) {
        self.lines.reloaded(&outcome);
        if let Some(reloading) = &mut self.reloading {
            reloading.left.remove(&outcome.node);
        }
        self.outcome(outcome);
    }

    /// The same, if something was to be done by it.
    pub(super) fn miss(&mut self, name: &str, error: &CommandError) {
        let reloading = self.reloading.as_mut();
        if reloading.is_some_and(|reloading| reloading.left.remove(name).is_some()) {
            self.outcome(Outcome::failed(name, error));
            self.settle("");
        }
    }

    /// The time when answers are waited for no longer.
    pub(super) fn answers_until(&self) -> Option<Instant> {
        self.reloading.as_ref()?.until
    }

    /// Nodes that have not answered by now are not waited for.
    pub(super) fn miss_answers(&mut self) {
        let Some(reloading) = &mut self.reloading else { return };
        reloading.until = None;
        let silent = reloading.left.iter().filter(|(_, words)| words.is_none());
        for name in silent.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            let text = "it does not say what has come of it";
            self.fail(Outcome::failed(&name, &CommandError::io(text, "see whether it hangs")));
        }
        self.settle("");
    }

    /// A node has said what has come of a reload, or that it is up.
    pub(super) fn answered(&mut self, name: &str, event: &Map<String, Value>) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default();
        let has_failed = event.get("failed").and_then(Value::as_bool) == Some(true);
        // One that is to end may have answered before it knew.
        let is_running = node.next == Next::Restart;
        let is_done = is_running && {
            node.owes = node.owes.saturating_sub(1);
            node.owes == 0
        };
        if is_running && !node.is_up {
            (node.is_up, node.before) = (true, None);
        } else if is_done && !has_failed {
            (node.applied, node.as_before) = (Arc::clone(&self.topology), false);
        }
        if is_running && has_failed && text("change").is_empty() {
            return self.begin_anew(name);
        }
        if !text("change").is_empty() {
            self.lines.event(name, event);
            let kind = has_failed.then(|| ErrorKind::named(text("kind")));
            let (node, change) = (name.to_owned(), text("change").to_owned());
            self.outcome(Outcome { node, change, kind });
        }
        if is_done {
            self.settle(name);
        }
    }

    /// Starts a node again that can't become what the topology says while it runs, though it could
    /// if it ran what is known of it.
    fn begin_anew(&mut self, name: &str) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        let Some(process) = &node.process else { return };
        let _ = kill_process(process.pid, Signal::TERM);
        (node.next, node.as_before) = (Next::Now, false);
        node.before.get_or_insert_with(|| Arc::clone(&node.applied));
        let words = "starts again, as it ran something else than was known of it";
        self.tell(name, words);
        self.begin_part(name, Some(words.to_owned()));
    }

    /// Its process could not start by the file: it is started as it was.
    pub(super) fn go_back(&mut self, name: &str) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        let Some(before) = node.before.take() else { return };
        let why = node.fault.take().unwrap_or_else(|| "its process ended".into());
        (node.applied, node.as_before, node.restart) = (before, true, RESTART.0);
        let error = CommandError::io(format!("{why}; it goes on as before"), "");
        self.fail(Outcome::failed(name, &error));
        self.start_again(name);
        self.settle("");
    }

    /// The file with what a node is started with, where that is not what the topology's file says:
    /// that was refused, or the node could not start by it.
    pub(super) fn runs_as_before(&self, name: &str) -> Option<PathBuf> {
        let node = self.nodes.get(name)?;
        // One that dies meanwhile, and was up, so that this is noted: it is not known yet whether
        // what the file says can be done.
        let was_up = node.is_up && node.next == Next::Restart;
        let is_tried = was_up && (self.is_checking() || self.is_unseen);
        let is_before = node.as_before || self.is_refused || self.is_faulty || is_tried;
        let file = applied_file(&node.applied, name);
        let has_run = node.applied.nodes.contains_key(name) && file.exists();
        (is_before && has_run).then_some(file)
    }

    /// A node has done its part. When all have, whoever asked is told.
    pub(super) fn settle(&mut self, name: &str) {
        let Some(reloading) = &mut self.reloading else { return };
        if let Some(Some(change)) = reloading.left.remove(name) {
            let outcome = Outcome { node: name.to_owned(), change, kind: None };
            reloading.outcomes.push(outcome);
        }
        if !reloading.left.is_empty() || reloading.tried.is_some() {
            return;
        }
        let Some(Reloading { asked, outcomes, .. }) = self.reloading.take() else { return };
        let replies: Vec<_> = outcomes.into_iter().map(Reply::Reloaded).collect();
        asked.into_iter().for_each(|asked| asked.tell(Ok(replies.clone())));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use std::fs;
    use std::path::Path;
    use std::process::Stdio;

    use clap::Parser;
    use estafette_topology::{Document, Reload};
    use rustix::process::Pid;
    use tokio::io::{AsyncBufReadExt, BufReader};
    use tokio::process::Command;
    use tokio::sync::mpsc;

    use super::super::accepted::Accepted;
    use super::super::child::{Node, Process};
    use super::super::lines::Lines;
    use super::*;
    use crate::arguments::{Action, Arguments};
    use crate::output::Output;

    fn with_children(file: &Path, look: impl AsyncFnOnce(&mut Children<'_>)) {
        let words = ["estafette", "run", file.to_str().unwrap()];
        let Arguments { global, action } = Arguments::parse_from(words);
        let Action::Run(options) = action else { panic!("another command") };
        let output = Output::before(true);
        let mut children = Children {
            program: PathBuf::new(),
            global: &global,
            options: &options,
            topology: Arc::default(),
            accepted: Accepted::default(),
            is_refused: false,
            is_faulty: false,
            is_unseen: false,
            wants_reload: false,
            nodes: [("lyon".to_owned(), Node::default())].into(),
            reloading: None,
            asked: Vec::new(),
            waits: 0,
            lines: Lines::new(&["lyon".to_owned()], &output),
            output: &output,
            said: mpsc::channel(1).0,
            killed_at: None,
            is_done: false,
            dead: 0,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(look(&mut children));
    }

    #[test]
    fn one_that_is_not_up_yet_is_told_of_the_next_change_too() {
        with_children(Path::new("topology.toml"), async |children| {
            let mut process = Command::new("cat");
            process.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
            let mut process = process.spawn().unwrap();
            let pid = Pid::from_raw(process.id().unwrap().cast_signed()).unwrap();
            let (stdin, since) = (process.stdin.take().unwrap(), Instant::now());
            let second = Arc::new(Topology::default());
            let node = children.nodes.get_mut("lyon").unwrap();
            node.process = Some(Process { pid, stdin, since, is_asked: false, has_ended: false });
            // Started for a reload, and has read the file.
            (node.before, node.applied, node.owes) = (Some(Arc::default()), second.clone(), 1);
            let third = Arc::new(Topology::default());
            children.reloading = Some(Reloading { new: third.clone(), ..Reloading::default() });
            children.apply(vec![("lyon".into(), NodeChange::Reloads(Reload::default()))]).await;
            let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
            assert_eq!(children.nodes["lyon"].owes, 2);
            assert_eq!(lines.next_line().await.unwrap().unwrap(), RELOAD);
            // It is up; then it has reloaded.
            children.answered("lyon", &Map::new());
            let node = &children.nodes["lyon"];
            assert!(node.is_up && node.before.is_none() && Arc::ptr_eq(&node.applied, &second));
            assert!(children.reloading.is_some());
            children.answered("lyon", &Map::new());
            assert!(Arc::ptr_eq(&children.nodes["lyon"].applied, &third));
            assert!(children.reloading.is_none());
        });
    }

    #[test]
    fn one_that_can_not_become_what_it_is_to_be_while_it_runs_is_started_again() {
        with_children(Path::new("topology.toml"), async |children| {
            let mut process = Command::new("cat");
            process.stdin(Stdio::piped()).stdout(Stdio::null()).kill_on_drop(true);
            let mut process = process.spawn().unwrap();
            let pid = Pid::from_raw(process.id().unwrap().cast_signed()).unwrap();
            let (stdin, since) = (process.stdin.take().unwrap(), Instant::now());
            let node = children.nodes.get_mut("lyon").unwrap();
            (node.process, node.is_up) =
                (Some(Process { pid, stdin, since, is_asked: false, has_ended: false }), true);
            children.reloading = Some(Reloading::default());
            children.apply(Vec::new()).await;
            let told = serde_json::json!({ "change": "", "failed": true });
            children.answered("lyon", told.as_object().unwrap());
            assert!(children.nodes["lyon"].next == Next::Now);
            assert!(children.reloading.is_some(), "its part is not done");
            process.wait().await.unwrap();
        });
    }

    #[test]
    fn one_that_dies_while_a_file_is_tried_or_not_seen_yet_is_started_as_it_was() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("topology.toml");
        let topology = Document::parse(&file, "[node.lyon]\n").topology().clone();
        let noted = applied_file(&topology, "lyon");
        fs::create_dir_all(noted.parent().unwrap()).unwrap();
        fs::write(&noted, "[node.lyon]\n").unwrap();
        with_children(&file, async |children| {
            children.nodes.get_mut("lyon").unwrap().applied = Arc::new(topology);
            children.is_unseen = true;
            // What is noted may be of an earlier run.
            assert_eq!(children.runs_as_before("lyon"), None);
            children.nodes.get_mut("lyon").unwrap().is_up = true;
            assert_eq!(children.runs_as_before("lyon"), Some(noted.clone()));
            children.is_unseen = false;
            let tried = Some(Vec::new());
            children.reloading = Some(Reloading { tried, ..Reloading::default() });
            assert_eq!(children.runs_as_before("lyon"), Some(noted));
            // One that ends for a reload starts by the file.
            children.nodes.get_mut("lyon").unwrap().next = Next::Now;
            assert_eq!(children.runs_as_before("lyon"), None);
        });
    }
}

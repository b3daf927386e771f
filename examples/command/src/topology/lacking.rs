//! Nodes that can't start before somebody mends a file: a secret that is missing, a key that others
//! can read. They wait for that, and are not started again and again.

use std::sync::Arc;
use std::time::Duration;

use estafette::node::units::time_text;
use estafette::node::{StageRegistry, blocking};
use estafette_topology::Topology;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::child::{Children, Next, Said};
use super::tried::page_of;
use crate::error::CommandError;
use crate::page;

/// The wait between two looks at these files.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// The time for which one is waited for.
const LOOK_MOST: Duration = Duration::from_secs(10);

impl Children<'_> {
    /// Looks whether a node that has ended before it was up lacks a file that a start needs, beside
    /// all else: where it lies may be slow, or hang. Returns `true` if it is looked.
    pub(super) fn looks_at_files(&mut self, name: &str, code: Option<i32>) -> bool {
        let is_stopping = self.is_stopping();
        let registry = self.global.program.registry.clone();
        let Some(node) = self.nodes.get_mut(name) else { return false };
        let could_not_start = code.is_some_and(|code| code != 0) && !node.is_up && !is_stopping;
        // One look hangs at most.
        let is_looking = Arc::strong_count(&node.looking) > 1;
        let looks = could_not_start && node.next == Next::Restart && node.before.is_none();
        let Some(process) = node.process.as_mut().filter(|_| looks && !is_looking) else {
            return false;
        };
        process.has_ended = true;
        let (looking, said) = (Arc::clone(&node.looking), self.said.clone());
        let looked = has_files(Arc::clone(&node.applied), name.to_owned(), registry, looking);
        let name = name.to_owned();
        tokio::spawn(async move {
            let lacks = lacks(&name, looked, LOOK_MOST).await;
            // Whoever listens may be gone.
            let _ = said.send((name, Said::Looked(code, lacks))).await;
        });
        true
    }

    /// It was looked whether it lacks a file.
    pub(super) fn looked(&mut self, name: &str, code: Option<i32>, lacks: bool) {
        if let Some(node) = self.nodes.get_mut(name) {
            node.lacks = lacks;
        }
        self.ended(name, code);
    }

    /// Starts a node as soon as its files can be used.
    pub(super) fn wait_for_files(&mut self, name: &str) {
        let registry = self.global.program.registry.clone();
        self.waits += 1;
        let (number, said) = (self.waits, self.said.clone());
        let Some(node) = self.nodes.get_mut(name) else { return };
        node.wait = Some(number);
        let (applied, name) = (Arc::clone(&node.applied), name.to_owned());
        let looking = Arc::clone(&node.looking);
        let mut looks = JoinSet::new();
        looks.spawn(async move {
            loop {
                let (applied, looking) = (Arc::clone(&applied), Arc::clone(&looking));
                let looked = has_files(applied, name.clone(), registry.clone(), looking);
                let mut looked = Box::pin(looked);
                let first = timeout(LOOK_MOST, looked.as_mut()).await;
                let looked = match first {
                    Ok(looked) => looked,
                    Err(_) => {
                        tell_slow(&name, LOOK_MOST);
                        looked.await
                    }
                };
                if looked.is_ok() {
                    break;
                }
                sleep(LOOK_AGAIN).await;
            }
            // Whoever listens may be gone.
            let _ = said.send((name, Said::Again(number))).await;
        });
        // It ends with the wait.
        node.looks = Some(looks);
    }
}

/// Returns `true` if a look has found that a file is lacking; `false`, too, where it takes longer
/// than it may, which is told.
async fn lacks(
    name: &str,
    looked: impl Future<Output = Result<(), CommandError>>,
    most: Duration,
) -> bool {
    let looked = timeout(most, looked).await;
    if looked.is_err() {
        tell_slow(name, most);
    }
    looked.is_ok_and(|looked| looked.is_err())
}

fn tell_slow(name: &str, most: Duration) {
    tracing::warn!(
        node = name,
        "a look at the files that it needs takes longer than {}: see whether the disk or the network \
         on which they are hangs; all else goes on",
        time_text(most)
    );
}

/// Fails where a file of a door, or of the page's token, can't be used. As long as it takes, it
/// holds what says that it is looked.
async fn has_files(
    topology: Arc<Topology>,
    name: String,
    registry: StageRegistry,
    looking: Arc<()>,
) -> Result<(), CommandError> {
    let looks = async move {
        let page = page_of(&topology, &name);
        let token = move || page::look_at_token(page.as_ref());
        blocking(token).await.map_err(|error| CommandError::io(error, ""))??;
        topology.look_at_doors(&name, &registry).await?;
        drop(looking);
        Ok(())
    };
    // One that is not waited for any more is still under way.
    let looked = tokio::spawn(looks).await;
    looked.unwrap_or_else(|error| Err(CommandError::io(error, "")))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};
    use std::sync::{Mutex, PoisonError};

    use estafette::node::{Door, DoorPlace, OpenDoor};
    use estafette_topology::Document;
    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;

    use super::*;

    /// A door whose files lie where nobody answers.
    #[derive(Debug)]
    struct Hangs(Mutex<Receiver<()>>);

    impl Door for Hangs {
        fn address(&self) -> &str {
            "127.0.0.1:0"
        }

        fn prepare(&self) -> Result<(), String> {
            // Until the other end is dropped.
            let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).recv();
            Err("it is missing".into())
        }

        fn open(&self, _: DoorPlace) -> BoxFuture<'static, Result<Box<dyn OpenDoor>, String>> {
            async { Err("it is not opened".to_owned()) }.boxed()
        }
    }

    #[derive(serde::Deserialize)]
    struct Settings {}

    #[tokio::test]
    async fn a_look_that_hangs_is_told_and_keeps_nobody_waiting() {
        let (answers, waits) = channel();
        let waits = Mutex::new(Some(waits));
        let hangs = move |_: Settings| {
            let waits = waits.lock().unwrap_or_else(PoisonError::into_inner).take();
            waits.map(|waits| Hangs(Mutex::new(waits))).ok_or("there is one")
        };
        let registry = estafette_actors::standard().door_kind("hangs", hangs);
        let text = "[node.lyon]\n[door.web]\nnode = \"lyon\"\ndoor = { hangs = {} }\n";
        let document = Document::parse(std::path::Path::new("topology.toml"), text);
        let (topology, looking) = (Arc::new(document.topology().clone()), Arc::new(()));
        let looked = has_files(topology, "lyon".into(), registry, Arc::clone(&looking));
        let mut looked = Box::pin(looked);
        assert!(!lacks("lyon", looked.as_mut(), Duration::from_millis(50)).await);
        assert_eq!(Arc::strong_count(&looking), 2, "and there is no other one meanwhile");
        drop(answers);
        assert!(lacks("lyon", looked, Duration::from_secs(180)).await);
        assert_eq!(Arc::strong_count(&looking), 1);
    }
}

//! A thread for the work on one package or copy, where blocking blocks nobody else.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::Arc;

use actix::ArbiterHandle;
use tokio::sync::oneshot;

/// Stops the thread when the last of those who share it is gone.
#[derive(Debug)]
pub(crate) struct Thread(ArbiterHandle);

/// Resolves, to an error, when nobody waits for the work any more.
pub(crate) type Gone = oneshot::Receiver<Infallible>;

/// Returns what `work` comes to, on a fresh thread; `None` when it panicked, or the system it
/// belongs to stopped; an error when there is no thread to be had.
///
/// Dropping this future tells the work through its [`Gone`]; it has time to clean up. What it comes
/// to all the same is undone.
pub(crate) async fn run<T, F>(
    work: impl FnOnce(Arc<Thread>, Gone) -> F + Send + 'static,
    undo: impl FnOnce(T) + Send + 'static,
) -> io::Result<Option<T>>
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    let thread = Arc::new(Thread(estafette::node::start_thread()?.handle()));
    let (_waiting, gone) = oneshot::channel();
    let (done, is_done) = oneshot::channel();
    let ours = Arc::clone(&thread);
    thread.0.spawn_fn(move || {
        actix::spawn(async move {
            let _until_it_is_said = Arc::clone(&ours);
            let outcome = work(ours, gone).await;
            if let Err(unwanted) = done.send(outcome) {
                undo(unwanted);
            }
        });
    });
    drop(thread);
    Ok(is_done.await.ok())
}

/// Removes a file that nobody wants any more.
pub(crate) fn remove(file: &Path) {
    if let Err(error) = std::fs::remove_file(file)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(
            file = %file.display(), %error,
            "what nobody waits for any more could not be removed"
        );
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.0.stop();
    }
}

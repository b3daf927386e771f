//! Stock clients: programs of Python, with what `pip` has installed.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::{Child, Command};

/// A Python that has `grpcio` and what goes with it. `None`, said loudly, where there is none; a
/// panic where `ESTAFETTE_PYTHON` says that there is.
pub(crate) fn python() -> Option<PathBuf> {
    let venv = workspace().join("target/python/bin/python3");
    let python = if venv.exists() { venv } else { "python3".into() };
    let has_all = std::process::Command::new(&python)
        .args(["-c", "import grpc, grpc_tools, grpc_health, grpc_reflection"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if has_all {
        return Some(python);
    }
    assert!(
        std::env::var_os("ESTAFETTE_PYTHON").is_none(),
        "ESTAFETTE_PYTHON says that there is a Python with grpcio, grpcio-tools, \
         grpcio-health-checking and grpcio-reflection: {} has not all of them",
        python.display()
    );
    eprintln!(
        "LEFT OUT: no Python with grpcio is here; `python3 -m venv target/python` and \
         `target/python/bin/pip install -r examples/python/requirements.txt` make one"
    );
    None
}

pub(crate) fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Starts a program of `examples/python`, or of the tests here.
pub(crate) fn start(python: &Path, program: &str, arguments: &[&str]) -> Child {
    let here = workspace().join("actors/doors/tests/grpc").join(program);
    let example = workspace().join("examples/python").join(program);
    Command::new(python)
        .arg(if here.exists() { here } else { example })
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

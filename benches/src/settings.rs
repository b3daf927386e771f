//! The benches' command line. Invariant: every setting has an environment variable, since `cargo
//! bench` without `--bench` hands its arguments to all benches alike.

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{ArgAction, Parser};

use crate::contender::Contender;
use crate::corpus::Kind;
use crate::side::Job;

/// Settings shared by the benches.
#[derive(Clone, Debug, Parser)]
#[command(about = "estafette's benches; see benches/README.md")]
pub struct Settings {
    /// Length of the stream in MiB.
    #[arg(long, env = "ESTAFETTE_BENCH_MIB", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..))]
    pub mib: u64,
    /// Rounds; the table gives medians over them.
    #[arg(long, env = "ESTAFETTE_BENCH_ROUNDS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Kinds of content.
    #[arg(long, env = "ESTAFETTE_BENCH_KINDS", value_enum, value_delimiter = ',', default_values_t = [Kind::Text, Kind::Random])]
    pub kinds: Vec<Kind>,
    /// Only these contenders.
    #[arg(long, env = "ESTAFETTE_BENCH_ONLY", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Length of a write or a message in KiB.
    #[arg(long, env = "ESTAFETTE_BENCH_PIECE_KIB", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub piece_kib: u32,
    /// Length of the block in MiB that is repeated to make the stream; each process holds one.
    #[arg(long, env = "ESTAFETTE_BENCH_BLOCK_MIB", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub block_mib: u32,
    /// Seed of the content.
    #[arg(long, env = "ESTAFETTE_BENCH_SEED", default_value_t = 1)]
    pub seed: u64,
    /// Seconds to wait before each run for others to leave the machine alone; after that it runs
    /// all the same, and says so.
    #[arg(long, env = "ESTAFETTE_BENCH_PATIENCE", default_value_t = 10)]
    pub patience: u64,
    /// Seconds that a single run may take.
    #[arg(long, env = "ESTAFETTE_BENCH_DEADLINE", default_value_t = 600)]
    pub deadline: u64,
    /// The argument that cargo adds for every bench.
    #[arg(long, hide = true, action = ArgAction::SetTrue)]
    bench: bool,
}

impl Settings {
    /// The settings of this process.
    #[must_use]
    pub fn read() -> Self {
        Self::parse()
    }

    /// The job for content of `kind`.
    #[must_use]
    pub fn job(&self, kind: Kind) -> Job {
        Job {
            kind,
            seed: self.seed,
            bytes: self.mib << 20,
            block: (self.block_mib as usize) << 20,
            piece: (self.piece_kib as usize) << 10,
        }
    }

    /// Those of `contenders` that are to run.
    ///
    /// # Errors
    /// When a name asked for is none of theirs.
    pub fn choose(&self, contenders: &[Contender]) -> Result<Vec<Contender>> {
        for name in &self.only {
            let known: Vec<&str> = contenders.iter().map(|contender| contender.name).collect();
            ensure!(
                known.contains(&name.as_str()),
                "no contender {name} is built; there are {}",
                known.join(", ")
            );
        }
        let asked = |contender: &&Contender| {
            self.only.is_empty() || self.only.iter().any(|name| name == contender.name)
        };
        Ok(contenders.iter().filter(asked).copied().collect())
    }

    /// The longest wait for a quiet machine before a run.
    #[must_use]
    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.patience)
    }

    /// The longest that a run may take.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        Duration::from_secs(self.deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::built::contenders;

    #[test]
    fn cargo_s_own_flag_is_accepted() {
        let settings =
            Settings::try_parse_from(["end_to_end", "--bench", "--mib", "64", "--kinds", "random"])
                .unwrap();
        assert_eq!(settings.job(Kind::Random).bytes, 64 << 20);
        assert_eq!(settings.kinds, [Kind::Random]);
    }

    #[test]
    fn a_contender_that_is_not_there_is_an_error_that_names_those_that_are() {
        let settings = Settings::try_parse_from(["end_to_end", "--only", "raw,pigeon"]).unwrap();
        let error = settings.choose(&contenders()).unwrap_err().to_string();
        assert!(error.contains("pigeon") && error.contains("raw"), "{error}");
        let settings = Settings::try_parse_from(["end_to_end", "--only", "raw"]).unwrap();
        assert_eq!(settings.choose(&contenders()).unwrap().len(), 1);
    }
}

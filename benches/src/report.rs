//! Runs as JSON lines and as one table. Invariant: a ratio is the median of the quotients within
//! each round, so that a machine that slows down between rounds does not show.

use std::fmt::Write as _;

use serde::Serialize;

use crate::contender::Contender;
use crate::corpus::Kind;
use crate::limit::Limit;
use crate::machine;
use crate::side::{Job, Usage};

/// One run of one contender.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// The name of the contender.
    pub contender: &'static str,
    /// The round it belongs to, from 0.
    pub round: u32,
    /// The job: what was sent.
    pub job: Job,
    /// Content per second of the sender's clock, MB/s.
    pub mb_per_s: f64,
    /// The usage of the sender.
    pub sender: Usage,
    /// The usage of the receiver.
    pub receiver: Usage,
    /// The share of the machine that others used just before or just after, whichever is more, 0
    /// to 1.
    pub others_busy: f64,
    /// Cores of the machine.
    pub cores: usize,
}

impl Run {
    /// Puts together what the two processes reported.
    #[must_use]
    pub fn new(
        contender: &Contender,
        round: u32,
        job: &Job,
        (sender, receiver): (Usage, Usage),
        others_busy: f64,
    ) -> Self {
        let mb_per_s = job.bytes as f64 / sender.seconds / 1e6;
        Self {
            contender: contender.name,
            round,
            job: job.clone(),
            mb_per_s,
            sender,
            receiver,
            others_busy,
            cores: machine::cores(),
        }
    }

    fn cpu_seconds(&self) -> f64 {
        self.sender.cpu_seconds + self.receiver.cpu_seconds
    }

    /// CPU seconds of both processes per GB of content.
    #[must_use]
    pub fn cpu_seconds_per_gb(&self) -> f64 {
        self.cpu_seconds() / self.job.bytes as f64 * 1e9
    }

    /// The number of cores that both processes kept busy.
    #[must_use]
    pub fn busy_cores(&self) -> f64 {
        self.cpu_seconds() / self.sender.seconds
    }

    fn own_mib(&self, usage: &Usage) -> f64 {
        usage.peak_bytes.saturating_sub(self.job.block as u64) as f64 / MIB
    }

    /// The larger of both processes' peaks, less the block that the bench itself keeps, in MiB.
    #[must_use]
    pub fn peak_mib(&self) -> f64 {
        self.own_mib(&self.sender).max(self.own_mib(&self.receiver))
    }
}

/// The limit, as measured in one round.
#[derive(Clone, Debug, Serialize)]
pub struct LimitRun {
    /// The content it was measured with.
    pub kind: Kind,
    /// The round it belongs to, from 0.
    pub round: u32,
    /// The length of its chunks, in bytes.
    pub chunk: usize,
    /// The limit.
    pub limit: Limit,
}

/// Everything that was measured.
#[derive(Debug, Default)]
pub struct Results {
    /// The contenders' runs.
    pub runs: Vec<Run>,
    /// The limits, one for each kind and round.
    pub limits: Vec<LimitRun>,
}

impl Results {
    /// The runs of a contender over content of `kind`.
    pub fn of<'a>(&'a self, contender: &'a str, kind: Kind) -> impl Iterator<Item = &'a Run> {
        self.runs.iter().filter(move |run| run.contender == contender && run.job.kind == kind)
    }

    /// The median of a figure over a contender's runs, if it has any.
    #[must_use]
    pub fn median(&self, contender: &str, kind: Kind, figure: impl Fn(&Run) -> f64) -> Option<f64> {
        median(self.of(contender, kind).map(figure).collect())
    }

    /// A contender's speed as a multiple of another's.
    #[must_use]
    pub fn ratio(&self, contender: &str, other: &str, kind: Kind) -> Option<f64> {
        let quotients = self.of(contender, kind).filter_map(|run| {
            let peer = self.of(other, kind).find(|peer| peer.round == run.round)?;
            Some(run.mb_per_s / peer.mb_per_s)
        });
        median(quotients.collect())
    }

    /// A contender's speed as a share of what the limit allows, both BLAKE3 counted.
    #[must_use]
    pub fn of_ideal(&self, contender: &str, kind: Kind) -> Option<f64> {
        let quotients = self.of(contender, kind).filter_map(|run| {
            let limit = self.limit(kind, run.round)?;
            Some(run.mb_per_s / limit.ideal(limit.sum()))
        });
        median(quotients.collect())
    }

    /// Σ as a share of the CPU time that the contender used: what is missing to 1 went into
    /// something other than the stages.
    #[must_use]
    pub fn stages_share(&self, contender: &str, kind: Kind) -> Option<f64> {
        let quotients = self
            .of(contender, kind)
            .filter_map(|run| Some(self.limit(kind, run.round)?.sum() / run.cpu_seconds_per_gb()));
        median(quotients.collect())
    }

    fn limit(&self, kind: Kind, round: u32) -> Option<&Limit> {
        self.limits.iter().find(|run| run.kind == kind && run.round == round).map(|run| &run.limit)
    }

    /// The table of all contenders, and the limits beneath it.
    #[must_use]
    pub fn table(&self, contenders: &[Contender], kinds: &[Kind]) -> String {
        let mut table = Table::new(&[
            "content",
            "contender",
            "MB/s",
            "÷ rustls",
            "÷ ideal",
            "CPU s/GiB",
            "cores",
            "RSS MiB s/r",
            "",
            "",
        ]);
        for &kind in kinds {
            for contender in contenders {
                table.row(self.row(contender, kind));
            }
        }
        let mut text = table.to_string();
        for &kind in kinds {
            text.push_str(&self.limit_line(kind).unwrap_or_default());
        }
        text
    }

    fn row(&self, contender: &Contender, kind: Kind) -> Vec<String> {
        let name = contender.name;
        let own = |side: fn(&Run) -> &Usage| self.median(name, kind, |run| run.own_mib(side(run)));
        vec![
            kind.to_string(),
            name.to_owned(),
            number(self.median(name, kind, |run| run.mb_per_s), 0),
            number(self.ratio(name, "rustls", kind), 2),
            number(self.of_ideal(name, kind), 2),
            number(self.median(name, kind, |run| run.cpu_seconds_per_gb() * GIB_IN_GB), 2),
            number(self.median(name, kind, Run::busy_cores), 2),
            format!(
                "{}/{}",
                number(own(|run| &run.sender), 0),
                number(own(|run| &run.receiver), 0)
            ),
            match contender.check {
                crate::Check::Compare => "compared".to_owned(),
                crate::Check::Digest => "BLAKE3 at both ends".to_owned(),
            },
            contender.about.to_owned(),
        ]
    }

    fn limit_line(&self, kind: Kind) -> Option<String> {
        let limits = || self.limits.iter().filter(|run| run.kind == kind);
        let chunk = limits().next()?.chunk;
        let over = |figure: fn(&Limit) -> f64| {
            number(median(limits().map(|run| figure(&run.limit)).collect()), 2)
        };
        let speed = |figure: fn(&Limit) -> f64| {
            number(median(limits().map(|run| figure(&run.limit)).collect()), 0)
        };
        Some(format!(
            "limit, {kind}, {} KiB: Σ {} s/GB, ideal {} MB/s; without BLAKE3 {} s/GB, {} MB/s; \
             straight {} MB/s\n",
            chunk / 1024,
            over(Limit::sum),
            speed(|limit| limit.ideal(limit.sum())),
            over(Limit::sum_without_digest),
            speed(|limit| limit.ideal(limit.sum_without_digest())),
            speed(|limit| limit.straight),
        ))
    }

    /// Says how quiet the machine was.
    #[must_use]
    pub fn quietness(&self) -> String {
        let noisy = self.runs.iter().filter(|run| run.others_busy > machine::QUIET).count();
        let most = self.runs.iter().map(|run| run.others_busy).fold(0.0, f64::max);
        match noisy {
            0 => format!(
                "The machine was quiet: others used at most {:.0} % of it before and after each \
                 run.\n",
                most * 100.0
            ),
            _ => format!(
                "THE MACHINE WAS NOT QUIET: around {noisy} of {} runs others used more than {:.0} \
                 % of it (at most {:.0} %). Trust ratios only, and those little.\n",
                self.runs.len(),
                machine::QUIET * 100.0,
                most * 100.0
            ),
        }
    }
}

/// The median; the mean of the two in the middle if there are two.
#[must_use]
pub fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => None,
        even if even % 2 == 0 => Some((figures[middle - 1] + figures[middle]) / 2.0),
        _ => Some(figures[middle]),
    }
}

/// A figure for a table, or a dash.
#[must_use]
pub fn number(figure: Option<f64>, decimals: usize) -> String {
    figure.map_or_else(|| "–".to_owned(), |figure| format!("{figure:.decimals$}"))
}

/// A table in plain text: the first column to the left, the others to the right while they hold
/// figures.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with a line of headings.
    #[must_use]
    pub fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(ToString::to_string).collect()] }
    }

    /// Adds a row, as long as the headings.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (index, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (cell, &width) in row.iter().zip(&widths) {
                let figure = index > 0
                    && cell.starts_with(|first: char| first.is_ascii_digit() || first == '–');
                if figure {
                    write!(line, "{cell:>width$}  ")?
                } else {
                    write!(line, "{cell:<width$}  ")?
                }
            }
            writeln!(formatter, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

const MIB: f64 = 1024.0 * 1024.0;
const GIB_IN_GB: f64 = 1.073_741_824;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn run(contender: &'static str, round: u32, seconds: f64) -> Run {
        let job = Job {
            kind: Kind::Text,
            seed: 1,
            bytes: 1_000_000_000,
            block: 32 << 20,
            piece: 1 << 18,
        };
        let usage = Usage { seconds, cpu_seconds: seconds * 0.75, peak_bytes: 42 << 20 };
        let mb_per_s = 1e3 / seconds;
        Run {
            contender,
            round,
            job,
            mb_per_s,
            sender: usage,
            receiver: usage,
            others_busy: 0.0,
            cores: 2,
        }
    }

    pub(crate) fn limit(round: u32, step: f64) -> LimitRun {
        LimitRun {
            kind: Kind::Text,
            round,
            chunk: 1 << 18,
            limit: Limit { seconds_per_gb: [step; 10], cores: 2, straight: 500.0 },
        }
    }

    #[test]
    fn medians_are_of_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }

    #[test]
    fn a_ratio_compares_within_rounds() {
        let runs = vec![
            run("a", 0, 1.0),
            run("b", 0, 2.0),
            run("a", 1, 10.0),
            run("b", 1, 20.0),
            run("a", 2, 5.0),
        ];
        let results = Results { runs, limits: vec![limit(0, 0.2)] };
        assert_eq!(results.ratio("a", "b", Kind::Text), Some(2.0));
        assert_eq!(results.ratio("a", "c", Kind::Text), None);
        assert_eq!(results.ratio("a", "b", Kind::Random), None);
        let ideal = results.of_ideal("a", Kind::Text).unwrap();
        assert!((ideal - 1.0).abs() < 1e-9, "1000 MB/s of 2 cores ÷ 2 s/GB: {ideal}");
    }

    #[test]
    fn cpu_cores_and_memory_come_from_both_processes() {
        let run = run("a", 0, 2.0);
        assert!((run.cpu_seconds_per_gb() - 3.0).abs() < 1e-9);
        assert!((run.busy_cores() - 1.5).abs() < 1e-9);
        assert!((run.peak_mib() - 10.0).abs() < 1e-9);
    }

    #[test]
    fn figures_stand_to_the_right_under_their_headings() {
        let mut table = Table::new(&["name", "MB/s"]);
        table.row(vec!["raw".to_owned(), number(Some(7.26), 1)]);
        table.row(vec!["x".to_owned(), number(None, 1)]);
        assert_eq!(table.to_string(), "name  MB/s\nraw    7.3\nx        –\n");
    }
}

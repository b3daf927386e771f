//! The goals of estafette, as ratios within one run. Invariant: only figures of this run are
//! judged; a goal whose contenders did not run is said to be unmeasured, not met.

use crate::corpus::Kind;
use crate::report::{Results, Run, Table, number};

/// Something asked of a contender.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// The matter of the goal.
    pub about: &'static str,
    /// The name of the contender of which it is asked.
    pub contender: &'static str,
    /// The kind of content.
    pub kind: Kind,
    /// The figure that is measured.
    pub measure: Measure,
    /// The bar that the figure must reach.
    pub bar: Bar,
}

/// A figure that a goal is about.
#[derive(Clone, Copy, Debug)]
pub enum Measure {
    /// Speed as a share of what the limit of the pipeline allows.
    OfIdeal,
    /// Speed as a multiple of this contender's.
    Of(&'static str),
    /// Peak memory of the larger process in MiB, less the bench's own block.
    PeakMib,
}

/// The least or the most that a goal asks.
#[derive(Clone, Copy, Debug)]
pub enum Bar {
    /// No less than this.
    AtLeast(f64),
    /// No more than this.
    AtMost(f64),
}

const SALSA: &str = "estafette-xsalsa20";

/// All goals for bulk content.
#[must_use]
pub fn goals() -> Vec<Goal> {
    use Bar::{AtLeast, AtMost};
    use Kind::{Random, Text};
    use Measure::{Of, OfIdeal, PeakMib};
    let goal = |about, contender, kind, measure, bar| Goal { about, contender, kind, measure, bar };
    vec![
        goal("bulk text, snappy", "estafette", Text, OfIdeal, AtLeast(0.85)),
        goal("bulk text, snappy", "estafette", Text, Of("tonic-tls-zstd"), AtLeast(2.5)),
        goal("bulk random, XSalsa20-Poly1305", SALSA, Random, Of("zmq-curve"), AtLeast(2.0)),
        goal("bulk random, XSalsa20-Poly1305", SALSA, Random, Of("rustls"), AtLeast(0.75)),
        goal("bulk random, AES", "estafette", Random, Of("rustls+blake3"), AtLeast(0.95)),
        goal("bulk random, AES", "estafette", Random, Of("rustls"), AtLeast(1.0)),
        goal("bulk text, adaptive", "estafette-adaptive", Text, Of("rustls"), AtLeast(1.0)),
        goal("memory", "estafette", Text, PeakMib, AtMost(64.0)),
        goal("memory", "estafette", Random, PeakMib, AtMost(64.0)),
    ]
}

impl Goal {
    /// Returns what was measured, and `true` if that is enough; `None` if a contender did not run.
    #[must_use]
    pub fn judge(&self, results: &Results) -> Option<(f64, bool)> {
        let figure = match self.measure {
            Measure::OfIdeal => results.of_ideal(self.contender, self.kind),
            Measure::Of(other) => results.ratio(self.contender, other, self.kind),
            Measure::PeakMib => results.median(self.contender, self.kind, Run::peak_mib),
        }?;
        Some(match self.bar {
            Bar::AtLeast(least) => (figure, figure >= least),
            Bar::AtMost(most) => (figure, figure <= most),
        })
    }

    fn asked(&self) -> String {
        let (sign, bar) = match self.bar {
            Bar::AtLeast(least) => ("≥", least),
            Bar::AtMost(most) => ("≤", most),
        };
        match self.measure {
            Measure::OfIdeal => format!("{sign} {bar} of ideal"),
            Measure::Of(other) => format!("{sign} {bar} × {other}"),
            Measure::PeakMib => format!("{sign} {bar} MiB"),
        }
    }
}

/// The goals of the contenders that ran, judged, and where the rest to the ideal went; empty if
/// none of them has a goal.
#[must_use]
pub fn verdict(results: &Results) -> String {
    let ran: Vec<Goal> = goals()
        .into_iter()
        .filter(|goal| results.of(goal.contender, goal.kind).next().is_some())
        .collect();
    if ran.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["goal", "contender", "content", "asked", "measured", ""]);
    for goal in &ran {
        let (figure, word) = match goal.judge(results) {
            Some((figure, met)) => (Some(figure), if met { "met" } else { "MISSED" }),
            None => (None, "not measured: a contender it needs did not run"),
        };
        let [about, contender] = [goal.about, goal.contender].map(str::to_owned);
        table.row(vec![
            about,
            contender,
            goal.kind.to_string(),
            goal.asked(),
            number(figure, 2),
            word.to_owned(),
        ]);
    }
    let rest = ran
        .iter()
        .filter(|goal| matches!(goal.measure, Measure::OfIdeal))
        .filter_map(|goal| rest(results, goal));
    rest.fold(table.to_string(), |text, line| text + &line)
}

/// Achieved ÷ ideal is the product of two shares: of the CPU time that went into stages, and of the
/// cores that were busy.
fn rest(results: &Results, goal: &Goal) -> Option<String> {
    let (name, kind) = (goal.contender, goal.kind);
    let stages = results.stages_share(name, kind)?;
    let busy = results.median(name, kind, |run| run.busy_cores() / run.cores as f64)?;
    Some(format!(
        "{name}, {kind}: {stages:.2} of its CPU time is what the stages need, and {busy:.2} of \
         the cores were busy\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::{limit, run};

    #[test]
    fn a_goal_is_met_missed_or_not_measured() {
        let results = |seconds| Results {
            runs: vec![run("estafette", 0, seconds)],
            limits: vec![limit(0, 0.2)],
        };
        let of_ideal = goals()[0];
        assert_eq!(of_ideal.judge(&results(1.1)).map(|(_, met)| met), Some(true));
        assert_eq!(of_ideal.judge(&results(1.2)).map(|(_, met)| met), Some(false));
        let of_tonic = goals()[1];
        assert!(of_tonic.judge(&results(1.0)).is_none());
        let text = verdict(&results(1.2));
        assert!(
            text.contains("MISSED")
                && text.contains("not measured")
                && text.contains("of the cores were busy"),
            "{text}"
        );
    }

    #[test]
    fn without_a_contender_that_has_goals_there_is_no_verdict() {
        assert_eq!(verdict(&Results { runs: vec![run("raw", 0, 1.0)], limits: vec![] }), "");
    }
}

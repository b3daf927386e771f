//! Faults of the stages of routes: filters first, then coders.

use super::Checking;
use super::nodes::one_of;
use super::settings::Use;
use crate::fault::Fault;
use crate::model::{Kind, RouteSpec, StageSpec};

impl Checking<'_> {
    pub(super) fn stages(&mut self, at: &str, route: &RouteSpec) {
        let place = |index| one_of(&format!("{at}.stages"), index, route.stages.len());
        let mut coder: Option<(usize, &StageSpec)> = None;
        for (index, stage) in route.stages.iter().enumerate() {
            if stage.name.is_empty() {
                // What could not be read has that fault already, unless a program made it.
                let fault = Fault::new("unknown-stage", place(index), "a stage has no name");
                self.faults.push(fault.label("no name"));
            } else if stage.is_filter(self.registry) {
                let (name, settings) = (stage.name.clone(), stage.filter_settings());
                self.filter(&place(index), stage, &Kind { name, settings });
                if let Some((before, coder)) = coder {
                    let message = format!(
                        "the filter `{}` takes content, and the coder `{}` before it gives chunks",
                        stage.name, coder.name
                    );
                    let fault = Fault::new("stage-order", place(index), message);
                    let fault = fault.label("content → content");
                    let fault = fault.related(place(before), "chunk → chunk");
                    self.faults.push(fault.help("put filters before all coders"));
                }
            } else if self.registry.stages().coder_names().any(|name| name == stage.name) {
                coder = coder.or(Some((index, stage)));
            } else {
                self.unknown_stage(place(index), &stage.name);
            }
        }
    }

    fn filter(&mut self, place: &str, stage: &StageSpec, kind: &Kind) {
        let is_known =
            |mut names: Box<dyn Iterator<Item = &str> + '_>| names.any(|name| name == stage.name);
        if is_known(Box::new(self.registry.filter_kinds())) {
            self.kind(place, kind, Use::Filter);
        } else if is_known(Box::new(self.registry.stages().coder_names())) {
            let message = format!("the coder `{}` has no settings", stage.name);
            let fault = Fault::new("wrong-type", place, message).label("its name is enough");
            self.faults.push(fault.help(format!("write {:?}", stage.name)));
        } else {
            self.unknown_stage(place.to_owned(), &stage.name);
        }
    }

    fn unknown_stage(&mut self, place: String, name: &str) {
        let known: Vec<_> =
            self.registry.stages().coder_names().chain(self.registry.filter_kinds()).collect();
        let label = match known[..] {
            [] => "this program has no stages of its own",
            _ => "this program does not have it",
        };
        let fault = Fault::new("unknown-stage", place, format!("there is no stage `{name}`"));
        let before = self.faults.len();
        self.faults.push(fault.label(label).nearest(before, name, known));
    }
}

//! Faults of tests.

use std::time::Duration;

use estafette::node::units::{size_text, time_text};

use super::Checking;
use crate::fault::{Fault, quoted};
use crate::model::{TestFile, TestSpec};

impl Checking<'_> {
    pub(super) fn tests(&mut self) {
        for (index, test) in self.topology.tests.iter().enumerate() {
            let at = format!("test[{index}]");
            if test.expect.is_empty() && test.absent.is_empty() {
                let name = if test.name.is_empty() { &at } else { &test.name };
                let message = format!("the test `{name}` expects nothing");
                let fault = Fault::new("missing-key", format!("{at}.expect"), message);
                let help = "add expect = { \"received/letter\" = \"Dear Paris\" }";
                self.faults.push(fault.about(format!("{at}.absent")).help(help));
            }
            self.contents(&at, test);
            if let Some(within) = test.within
                && (within.is_zero() || within > TestSpec::LONGEST)
            {
                let message = format!("`within` can't be {}", time_text(within));
                let fault = Fault::new("bad-limit", format!("{at}.within"), message);
                let longest = time_text(TestSpec::LONGEST);
                self.faults
                    .push(fault.label(format!("must be more than 0 s, and {longest} at most")));
            }
        }
    }

    fn contents(&mut self, at: &str, test: &TestSpec) {
        let given = test.given.iter().map(|(path, file)| ("given", path, file));
        let expect = test.expect.iter().map(|(path, file)| ("expect", path, file));
        for (key, path, file) in given.chain(expect) {
            let TestFile::Bytes(bytes) = file else { continue };
            if *bytes > TestFile::LARGEST {
                let place = format!("{at}.{key}.{}", quoted(&path.to_string_lossy()));
                let message = format!("a content can't have {bytes} bytes");
                let label = format!("must be {} at most", size_text(TestFile::LARGEST));
                self.faults.push(Fault::new("bad-limit", place, message).label(label));
            }
        }
    }
}

impl TestSpec {
    /// The longest that a test may take.
    pub const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
}

impl TestFile {
    /// The most bytes of a content.
    pub const LARGEST: u64 = 1 << 30;
}

//! The bar of a transfer on a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A line that fits: one that did not would be two, and leave its rest behind where a terminal is
/// made narrower.
pub(crate) fn bar(total: Option<u64>, columns: u16) -> ProgressBar {
    let template = match (total, columns) {
        (Some(_), 96..) => {
            "{msg:28!} {bar:24} {binary_bytes:>10} of {binary_total_bytes:10} \
             {decimal_bytes_per_sec:>11} {eta:>4}"
        }
        (Some(_), 74..) => {
            "{msg:28!} {binary_bytes:>10} of {binary_total_bytes:10} {decimal_bytes_per_sec:>11} \
             {eta:>4}"
        }
        (Some(_), 40..) => "{msg:14!} {percent:>3} % of {binary_total_bytes:10} {eta:>4}",
        (Some(_), _) => "{percent:>3} % {eta:>4}",
        (None, 55..) => "{msg:28!} {spinner} {binary_bytes:>10} {decimal_bytes_per_sec:>11}",
        (None, _) => "{spinner} {binary_bytes:>10}",
    };
    let style = ProgressStyle::with_template(template)
        .expect("the templates are constants")
        .progress_chars("━╸─");
    match total {
        Some(total) => ProgressBar::new(total),
        None => ProgressBar::new_spinner(),
    }
    .with_style(style)
}

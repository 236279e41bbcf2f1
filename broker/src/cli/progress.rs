//! Progress of long work, on stderr when that is a terminal.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

pub(super) struct Progress(ProgressBar);

impl Progress {
    /// `total` is in the unit that [`Progress::advance`] counts; unknown shows a count alone. Nothing is drawn when
    /// `quiet`, or when nobody looks.
    pub(super) fn bytes(total: Option<u64>, quiet: bool) -> Self {
        let template = match total {
            Some(_) => "{bar:30} {bytes}/{total_bytes} {bytes_per_sec}",
            None => "{spinner} {bytes} {bytes_per_sec}",
        };
        Self::new(total, template, quiet)
    }

    pub(super) fn records(total: Option<u64>, quiet: bool) -> Self {
        let template = match total {
            Some(_) => "{bar:30} {pos}/{len} {per_sec}",
            None => "{spinner} {pos} {per_sec}",
        };
        Self::new(total, template, quiet)
    }

    fn new(total: Option<u64>, template: &str, quiet: bool) -> Self {
        let hidden = quiet || !std::io::stderr().is_terminal();
        let target = if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr_with_hz(5) };
        let bar = ProgressBar::with_draw_target(total, target);
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    pub(super) fn advance(&self, by: u64) {
        self.0.inc(by);
    }

    /// Clears the line, so that what is printed next starts clean.
    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

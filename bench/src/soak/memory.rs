//! Resident memory over time.

use std::time::Duration;

use crate::process::Process;

/// Hours and MiB.
#[derive(Default)]
pub(crate) struct Samples(Vec<(f64, f64)>);

impl Samples {
    /// Once a second at most.
    pub(crate) fn take(&mut self, at: Duration, process: &Process) -> anyhow::Result<()> {
        let hours = at.as_secs_f64() / 3600.0;
        if self.0.last().is_none_or(|(last, _)| hours - last >= 1.0 / 3600.0) {
            self.0.push((hours, super::mib(process.resident()?)));
        }
        Ok(())
    }

    pub(crate) fn judge(&self) -> String {
        let settled = &self.0[self.0.len() / 5..];
        let some = (settled.len() / 20).max(1);
        let mean = |samples: &[(f64, f64)]| samples.iter().map(|(_, mib)| mib).sum::<f64>() / samples.len() as f64;
        let (first, last) = (mean(&settled[..some]), mean(&settled[settled.len() - some..]));
        format!("{first:.1}, {last:.1} MiB ({:+.1} %), {:+.1} MiB/h", (last / first - 1.0) * 100.0, slope(settled))
    }
}

/// Of the line with the least squares.
fn slope(samples: &[(f64, f64)]) -> f64 {
    let count = samples.len() as f64;
    let (x, y) = samples.iter().fold((0.0, 0.0), |(x, y), sample| (x + sample.0 / count, y + sample.1 / count));
    let covariance: f64 = samples.iter().map(|sample| (sample.0 - x) * (sample.1 - y)).sum();
    let variance: f64 = samples.iter().map(|sample| (sample.0 - x).powi(2)).sum();
    if variance > 0.0 { covariance / variance } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_of_a_line_is_its_own() {
        let samples: Vec<_> = (0..10).map(|n| (f64::from(n), 3.0 + 2.0 * f64::from(n))).collect();
        assert!((slope(&samples) - 2.0).abs() < 1e-9);
    }
}

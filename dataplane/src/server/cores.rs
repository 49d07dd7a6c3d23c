//! How many workers: the cgroup's CPU quota, not the host's cores.

use std::{fs, path::Path, thread};

/// More than this is asked for with `--workers`.
const MAX: usize = 4;

/// The quota rounded up, or the cores that this process may use and at most [`MAX`] of them.
pub(super) fn count() -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    match quota(Path::new("/proc/self/cgroup"), Path::new("/sys/fs/cgroup")) {
        // A quota above the cores buys nothing.
        Some(quota) => quota.clamp(1, cores),
        None => cores.min(MAX),
    }
}

/// The tightest quota of this process's cgroup and those above it, in whole CPUs; `None`: there is none.
fn quota(membership: &Path, root: &Path) -> Option<usize> {
    let membership = fs::read_to_string(membership).ok()?;
    membership.lines().filter_map(|line| tightest(line, root)).min()
}

/// `line` is `0::/path` (v2) or `N:cpu,cpuacct:/path` (v1).
fn tightest(line: &str, root: &Path) -> Option<usize> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let (base, read): (_, fn(&Path) -> Option<usize>) = if controllers.is_empty() {
        (root.to_owned(), v2)
    } else if controllers.split(',').any(|name| name == "cpu") {
        (root.join("cpu"), v1)
    } else {
        return None;
    };
    // In a container the path may be the host's, which is not there; the root of what is there is ours then.
    let own = Path::new(path.trim_start_matches('/'));
    own.ancestors().filter_map(|folder| read(&base.join(folder))).min()
}

fn v2(folder: &Path) -> Option<usize> {
    let text = fs::read_to_string(folder.join("cpu.max")).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    whole(quota.parse().ok()?, period.parse().ok()?)
}

fn v1(folder: &Path) -> Option<usize> {
    let number = |name| fs::read_to_string(folder.join(name)).ok()?.trim().parse::<i64>().ok();
    // -1 is no quota.
    let quota = u64::try_from(number("cpu.cfs_quota_us")?).ok()?;
    whole(quota, u64::try_from(number("cpu.cfs_period_us")?).ok()?)
}

fn whole(quota: u64, period: u64) -> Option<usize> {
    (period > 0).then(|| usize::try_from(quota.div_ceil(period)).unwrap_or(usize::MAX).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(membership: &str, files: &[(&str, &str)]) -> Option<usize> {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        for (name, content) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let file = folder.path().join("membership");
        fs::write(&file, membership).unwrap();
        quota(&file, &root)
    }

    #[test]
    fn the_tightest_quota_on_the_way_to_the_root_counts_rounded_up() {
        assert_eq!(world("0::/pod/app\n", &[("pod/app/cpu.max", "max 100000\n")]), None);
        assert_eq!(world("0::/pod/app\n", &[("pod/app/cpu.max", "250000 100000\n")]), Some(3));
        let nested = [("pod/app/cpu.max", "max 100000\n"), ("pod/cpu.max", "150000 100000\n")];
        assert_eq!(world("0::/pod/app\n", &nested), Some(2));
        assert_eq!(world("0::/somewhere/else\n", &[("cpu.max", "50000 100000\n")]), Some(1), "inside a container");
    }

    #[test]
    fn version_1_is_read_too() {
        let files = [("cpu/pod/cpu.cfs_quota_us", "200000\n"), ("cpu/pod/cpu.cfs_period_us", "100000\n")];
        assert_eq!(world("5:memory:/pod\n4:cpu,cpuacct:/pod\n", &files), Some(2));
        let none = [("cpu/pod/cpu.cfs_quota_us", "-1\n"), ("cpu/pod/cpu.cfs_period_us", "100000\n")];
        assert_eq!(world("4:cpu,cpuacct:/pod\n", &none), None);
        assert_eq!(world("nonsense", &[]), None);
    }
}

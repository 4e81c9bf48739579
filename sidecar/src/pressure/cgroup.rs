//! The memory limit of the control group that the process runs in, version 1 or 2.

use std::path::Path;

/// Version 1 has no word for "no limit", but a number that no machine has.
const UNLIMITED: u64 = 1 << 60;

/// The least limit of this process' groups, in bytes; `None` where there is none.
pub(crate) fn memory_limit_bytes() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    limit(&groups, Path::new("/sys/fs/cgroup"))
}

/// `groups` is `/proc/self/cgroup`. A group is bound by the groups above it too. In a container the named group may
/// not be visible below `root`; what is mounted there is then the container's own.
fn limit(groups: &str, root: &Path) -> Option<u64> {
    let limits = groups.lines().filter_map(|line| {
        let (_, line) = line.split_once(':')?;
        let (controllers, group) = line.split_once(':')?;
        let (mount, file) = if controllers.is_empty() {
            (root.to_owned(), "memory.max")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            (root.join("memory"), "memory.limit_in_bytes")
        } else {
            return None;
        };
        Path::new(group.trim_start_matches('/'))
            .ancestors()
            .filter_map(|group| {
                let limit = std::fs::read_to_string(mount.join(group).join(file)).ok()?;
                limit.trim().parse().ok()
            })
            .min()
    });
    limits.min().filter(|&bytes: &u64| bytes < UNLIMITED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_of_a_group_and_those_above_it() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, content: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        };
        assert_eq!(limit("0::/\n", dir.path()), None);
        write("memory.max", "max\n");
        write("a/memory.max", "2000\n");
        write("a/b/memory.max", "3000\n");
        assert_eq!(limit("0::/\n", dir.path()), None);
        assert_eq!(limit("0::/a/b\n", dir.path()), Some(2000));
        write("memory.max", "1000\n");
        assert_eq!(limit("0::/not/seen/from/here\n", dir.path()), Some(1000));

        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        let version_1 = "3:cpu,cpuacct:/x\n2:memory:/docker/abc\n1:name=systemd:/\n";
        assert_eq!(limit(version_1, dir.path()), None);
        write("memory/docker/abc/memory.limit_in_bytes", "4096\n");
        assert_eq!(limit(version_1, dir.path()), Some(4096));
        assert_eq!(limit("garbage\n0::\n", &dir.path().join("none")), None);
    }
}

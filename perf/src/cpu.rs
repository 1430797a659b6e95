//! What processes use, by the kernel's own accounting: CPU time and memory of a process, its threads and its children.
//!
//! CPU time is `schedstat`'s, in nanoseconds, which repeats where wall time doesn't: on a busy machine a process is
//! interrupted more often, but does the same work. What the kernel does for a process within its calls is in it; what it
//! does in another's name (an interrupt that comes while somebody else runs) isn't.

use std::collections::BTreeMap;
use std::{fs, io};

/// CPU time of all threads of a process and its children, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// By process and thread: nanoseconds on a core, and nanoseconds that it waited for one.
    threads: BTreeMap<(u32, u32), (u64, u64)>,
}

/// What happened between two [`Usage`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Nanoseconds on a core.
    pub cpu_ns: u64,
    /// Nanoseconds in which a thread could have run and had no core.
    pub waited_ns: u64,
    /// Threads that ended in between; what they used last is not in the sums.
    pub ended: usize,
}

impl Usage {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// The system's, when there is no such process.
    pub fn of_tree(pid: u32) -> io::Result<Self> {
        let mut usage = Self::default();
        for pid in tree(pid)? {
            // A child may have ended since it was listed.
            let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
            for thread in threads.flatten() {
                let Some(tid) = thread.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
                if let Some(times) = schedstat(&format!("/proc/{pid}/task/{tid}/schedstat")) {
                    usage.threads.insert((pid, tid), times);
                }
            }
        }
        Ok(usage)
    }

    /// Reads that of the calling thread alone.
    pub fn of_this_thread() -> Self {
        let times = schedstat("/proc/thread-self/schedstat");
        Self { threads: times.map(|times| ((0, 0), times)).into_iter().collect() }
    }

    /// What was used since `earlier`.
    pub fn since(&self, earlier: &Self) -> Used {
        let mut used = Used::default();
        for (thread, &(cpu_ns, waited_ns)) in &self.threads {
            let (cpu_before, waited_before) = earlier.threads.get(thread).copied().unwrap_or_default();
            used.cpu_ns += cpu_ns.saturating_sub(cpu_before);
            used.waited_ns += waited_ns.saturating_sub(waited_before);
        }
        used.ended = earlier.threads.keys().filter(|thread| !self.threads.contains_key(thread)).count();
        used
    }
}

/// Resident memory of a process and its children in bytes. Pages that they share count once for each of them.
///
/// # Errors
///
/// The system's, when there is no such process.
pub fn resident_bytes(pid: u32) -> io::Result<u64> {
    let resident = |pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    Ok(tree(pid)?.into_iter().filter_map(resident).sum::<u64>() * 1_024)
}

/// How often the threads of a process and its children have given up a core and taken it again.
///
/// # Errors
///
/// The system's, when there is no such process.
pub fn wake_ups(pid: u32) -> io::Result<u64> {
    let mut sum = 0;
    for pid in tree(pid)? {
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for thread in threads.flatten() {
            let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
            let voluntary = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            sum += voluntary.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(sum)
}

/// A process and all that descend from it.
fn tree(root: u32) -> io::Result<Vec<u32>> {
    fs::metadata(format!("/proc/{root}"))?;
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // The name stands in brackets and may hold anything, brackets too; state and parent follow it.
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse::<u32>().ok());
        parents.extend(parent.map(|parent| (pid, parent)));
    }
    let mut found = vec![root];
    let mut at = 0;
    while let Some(&parent) = found.get(at) {
        found.extend(parents.iter().filter(|&&(_, its_parent)| its_parent == parent).map(|&(pid, _)| pid));
        at += 1;
    }
    Ok(found)
}

fn schedstat(path: &str) -> Option<(u64, u64)> {
    let text = fs::read_to_string(path).ok()?;
    let mut numbers = text.split_ascii_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    fn burn(time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn work_is_counted_and_waiting_is_not() {
        let before = Usage::of_this_thread();
        burn(Duration::from_millis(30));
        let used = Usage::of_this_thread().since(&before);
        // How much of the time there was a core for this thread is the machine's business.
        assert!((1_000_000..=60_000_000).contains(&used.cpu_ns), "{used:?}");
        assert_eq!(used.ended, 0);
    }

    #[test]
    fn children_of_children_count() {
        // The shell in the shell burns; the one that was started waits.
        let burn = "sh -c 'i=0; while [ $i -lt 1000000000 ]; do i=$((i+1)); done'; true";
        let mut child = Command::new("sh").args(["-c", burn]).stdout(Stdio::null()).spawn().unwrap();
        let own = || schedstat(&format!("/proc/{}/schedstat", child.id())).unwrap_or_default().0;
        let due = Instant::now() + Duration::from_secs(20);
        let found = loop {
            let usage = Usage::of_tree(child.id()).unwrap().since(&Usage::default());
            if usage.cpu_ns > own() + 5_000_000 && resident_bytes(child.id()).unwrap() > 0 {
                break true;
            }
            if Instant::now() > due {
                break false;
            }
            std::thread::yield_now();
        };
        let processes = tree(child.id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        for pid in processes.into_iter().filter(|&pid| pid != child.id()) {
            let _ended = Command::new("kill").arg(pid.to_string()).status();
        }
        assert!(found, "the grandchild's time never showed");
        assert!(Usage::of_tree(u32::MAX).is_err());
    }
}

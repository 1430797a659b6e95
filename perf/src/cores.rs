//! Which cores of the machine a thread may run on. Children begin with what their parent's thread has.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores that this thread may run on, by their numbers.
///
/// # Errors
///
/// The system's.
pub fn allowed() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect())
}

/// Keeps this thread, and what it starts from now on, to some cores.
///
/// # Errors
///
/// The system's, when there is none of them.
pub fn keep_to(cores: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    cores.iter().for_each(|&core| set.set(core));
    Ok(sched_setaffinity(None, &set)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_keeps_to_what_it_is_told_and_hands_it_down() {
        let last = *allowed().unwrap().last().unwrap();
        let told = std::thread::spawn(move || {
            keep_to(&[last]).unwrap();
            (allowed().unwrap(), std::thread::spawn(|| allowed().unwrap()).join().unwrap())
        });
        assert_eq!(told.join().unwrap(), (vec![last], vec![last]));
        assert!(keep_to(&[]).is_err());
    }
}

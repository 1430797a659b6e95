//! The writer: numbers the records, formats them, and appends what was waiting with one `write`.
//!
//! A `write` that takes only a part, as on a full disk, is undone: the file is cut back to where it began, so that it
//! ends with a whole line, and everything is tried again. The lines are kept meanwhile, with their numbers.
//!
//! `fsync` is not called: a crash of the process loses nothing that was written, a power cut may.

use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::Receiver;
use kt_core::event::{Stamp, write_config_line};
use kt_core::limits::{EVENT_BATCH_LEN, EVENT_GIVE_UP_MS, EVENT_RETRY_MS, EVENT_WRITE_BYTES};

use super::{Batch, Lost, Message, Shared};

/// The thread's state. Generic over the file, so that tests can have one that fails.
pub(super) struct Writer<F> {
    file: F,
    path: PathBuf,
    /// Length of the file up to the end of its last whole write.
    len: u64,
    /// A part of a write may stand behind `len`, and has to be cut off before the next.
    torn: bool,
    /// The stamp of the next record.
    stamp: Stamp,
    /// Lines on their way to the file, and how many of each core's records are among them.
    lines: Vec<u8>,
    unwritten: Box<[u64]>,
    inbox: Receiver<Message>,
    shared: Arc<Shared>,
    patience: Patience,
}

/// How a refusing disk is dealt with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Between two tries.
    pub(super) pause: Duration,
    /// How long tries go on after the process wants to end.
    pub(super) give_up: Duration,
}

/// What the writer asks of its file.
pub(super) trait Append {
    /// One `write` at the end; returns how many bytes were taken.
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Cuts the file to this length.
    fn cut(&mut self, len: u64) -> io::Result<()>;
}

impl<F: Append> Writer<F> {
    /// `file` is empty, `stamp` its first record's. It is known to readers as `path`.
    pub(super) fn new(
        file: F,
        path: PathBuf,
        stamp: Stamp,
        inbox: Receiver<Message>,
        shared: Arc<Shared>,
        patience: Patience,
    ) -> Self {
        let unwritten = shared.written.iter().map(|_| 0).collect();
        Self { file, path, len: 0, torn: false, stamp, lines: Vec::new(), unwritten, inbox, shared, patience }
    }

    /// Writes until the last quill and the ledger are gone, and everything that they left.
    pub(super) fn run(mut self) -> Result<(), Lost> {
        while let Ok(message) = self.inbox.recv() {
            self.take(message);
            while self.lines.len() < EVENT_WRITE_BYTES
                && let Ok(message) = self.inbox.try_recv()
            {
                self.take(message);
            }
            if let Err(source) = self.write() {
                return Err(self.give_up(source));
            }
        }
        self.take_leftovers();
        self.write().map_err(|source| self.give_up(source))
    }

    /// Formats what came. The events are done with then: a try that fails is repeated with the lines.
    fn take(&mut self, message: Message) {
        match message {
            Message::Batch(Batch { core, plan, mut events }) => {
                self.unwritten[core] += events.len() as u64;
                for event in events.drain(..) {
                    event.write_line(&plan, &self.stamp, &mut self.lines);
                    self.stamp.seq += 1;
                }
                // One that grew while the queue was full is not worth keeping, nor is one too many.
                if events.capacity() <= 2 * EVENT_BATCH_LEN {
                    drop(self.shared.spares.push(events));
                }
            }
            Message::Shed(shed) => {
                shed.write_line(&self.stamp, &mut self.lines);
                self.stamp.seq += 1;
            }
            Message::Config { plan, at_ns } => {
                write_config_line(&plan, at_ns, &self.stamp, &mut self.lines);
                self.stamp.seq += 1;
            }
        }
    }

    fn take_leftovers(&mut self) {
        let leftovers = mem::take(&mut *self.shared.leftovers.lock().unwrap_or_else(PoisonError::into_inner));
        for message in leftovers {
            self.take(message);
        }
    }

    /// Appends the lines, however long it takes, and gives their slots back. Only when the process wants to end is it
    /// an error that the disk refuses.
    fn write(&mut self) -> io::Result<()> {
        let mut refused = false;
        let mut last_try: Option<Instant> = None;
        while let Err(error) = self.attempt() {
            if !refused {
                tracing::error!(
                    target: "keeptrusts::events",
                    "Can't write to the event log {}: {error}; the records wait, and it is tried again and again",
                    self.path.display(),
                );
                refused = true;
            }
            if self.shared.closing.load(Ordering::Relaxed) {
                let last_try = *last_try.get_or_insert_with(|| Instant::now() + self.patience.give_up);
                if Instant::now() >= last_try {
                    return Err(error);
                }
            }
            self.pause();
        }
        if refused {
            tracing::info!(target: "keeptrusts::events", "Writing to the event log again, nothing was lost");
        }
        self.lines.clear();
        self.lines.shrink_to(2 * EVENT_WRITE_BYTES);
        for (written, unwritten) in self.shared.written.iter().zip(&mut self.unwritten) {
            if *unwritten > 0 {
                written.fetch_add(mem::take(unwritten), Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// All lines, or none of them.
    fn attempt(&mut self) -> io::Result<()> {
        if self.torn {
            self.file.cut(self.len)?;
            self.torn = false;
        }
        if self.lines.is_empty() {
            return Ok(());
        }
        let taken = self.file.append(&self.lines)?;
        if taken == self.lines.len() {
            self.len += taken as u64;
            return Ok(());
        }
        self.torn = true;
        self.file.cut(self.len)?;
        self.torn = false;
        Err(io::Error::other(format!("only {taken} of {} bytes were taken", self.lines.len())))
    }

    #[expect(clippy::disallowed_methods, reason = "this thread has no reactor, and nothing else to do")]
    fn pause(&self) {
        thread::sleep(self.patience.pause);
    }

    /// Counts what is lost: the lines at hand, and whatever else was on its way.
    fn give_up(&mut self, source: io::Error) -> Lost {
        let mut lost = memchr::memchr_iter(b'\n', &self.lines).count() as u64;
        while let Ok(message) = self.inbox.recv() {
            lost += message.records();
        }
        let leftovers = self.shared.leftovers.lock().unwrap_or_else(PoisonError::into_inner);
        lost += leftovers.iter().map(Message::records).sum::<u64>();
        Lost { records: lost, path: self.path.clone(), source }
    }
}

impl Message {
    /// How many records it becomes.
    fn records(&self) -> u64 {
        match self {
            Self::Batch(batch) => batch.events.len() as u64,
            Self::Shed(_) | Self::Config { .. } => 1,
        }
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self { pause: Duration::from_millis(EVENT_RETRY_MS), give_up: Duration::from_millis(EVENT_GIVE_UP_MS) }
    }
}

impl Append for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use crossbeam::channel::bounded;
    use kt_core::event::Shed;

    use super::*;
    use crate::ledger::sample;

    /// A file that does as it is told, once per call, and takes everything afterwards. What it was asked, and what it
    /// held then, is noted in `calls`.
    #[derive(Default)]
    struct Disk {
        bytes: Vec<u8>,
        script: Vec<Do>,
        calls: Vec<&'static str>,
    }

    #[derive(Clone, Copy)]
    enum Do {
        Take(usize),
        Refuse,
        RefuseToCut,
    }

    impl Append for &mut Disk {
        fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
            assert!(self.bytes.is_empty() || self.bytes.ends_with(b"\n"), "appended to half a line");
            match self.script.first().copied() {
                Some(Do::Take(len)) => {
                    self.script.remove(0);
                    let taken = len.min(bytes.len());
                    self.calls.push(if taken < bytes.len() { "short" } else { "whole" });
                    self.bytes.extend_from_slice(&bytes[..taken]);
                    Ok(taken)
                }
                Some(Do::Refuse) => {
                    self.script.remove(0);
                    self.calls.push("refused");
                    Err(io::ErrorKind::StorageFull.into())
                }
                Some(Do::RefuseToCut) | None => {
                    self.calls.push("whole");
                    self.bytes.extend_from_slice(bytes);
                    Ok(bytes.len())
                }
            }
        }

        fn cut(&mut self, len: u64) -> io::Result<()> {
            if let Some(Do::RefuseToCut) = self.script.first() {
                self.script.remove(0);
                self.calls.push("not cut");
                return Err(io::Error::other("EIO"));
            }
            self.calls.push("cut");
            self.bytes.truncate(len as usize);
            Ok(())
        }
    }

    #[test]
    fn what_waits_goes_out_in_one_write() {
        let mut disk = Disk::default();
        let shared = Arc::new(Shared::new(2));
        write(&mut disk, &shared, [batch(0, 1..4), batch(1, 1..3), batch(0, 4..5)]).unwrap();
        assert_eq!(disk.calls, ["whole"]);
        assert_eq!(seqs(&disk.bytes), [1, 2, 3, 4, 5, 6]);
        assert_eq!(counts(&shared), [4, 2]);
    }

    #[test]
    fn a_write_has_a_bound() {
        let mut disk = Disk::default();
        let shared = Arc::new(Shared::new(1));
        // A line has more than 1,000 bytes.
        write(&mut disk, &shared, (0..20).map(|nth| batch(0, nth * 100..(nth + 1) * 100))).unwrap();
        assert_eq!(disk.calls, ["whole", "whole"]);
        assert_eq!(seqs(&disk.bytes), (1..=2_000).collect::<Vec<_>>());
    }

    #[test]
    fn a_short_write_is_cut_back_and_written_anew() {
        for (script, calls) in [
            (vec![Do::Refuse], vec!["refused", "whole"]),
            (vec![Do::Take(0)], vec!["short", "cut", "whole"]),
            (vec![Do::Take(1)], vec!["short", "cut", "whole"]),
            (vec![Do::Take(1_500), Do::Refuse], vec!["short", "cut", "refused", "whole"]),
            (vec![Do::Take(7), Do::Take(9)], vec!["short", "cut", "short", "cut", "whole"]),
            (vec![Do::Take(7), Do::RefuseToCut], vec!["short", "not cut", "cut", "whole"]),
            (vec![Do::Take(7), Do::RefuseToCut, Do::RefuseToCut], vec!["short", "not cut", "not cut", "cut", "whole"]),
        ] {
            let mut disk = Disk { script, ..Disk::default() };
            let shared = Arc::new(Shared::new(1));
            write(&mut disk, &shared, [batch(0, 1..4)]).unwrap();
            assert_eq!(disk.calls, calls);
            assert_eq!(seqs(&disk.bytes), [1, 2, 3]);
            assert_eq!(counts(&shared), [3]);
        }
    }

    #[test]
    fn what_was_written_before_a_short_write_stays() {
        let mut disk = Disk { script: vec![Do::Take(usize::MAX), Do::Take(5_000), Do::Refuse], ..Disk::default() };
        let shared = Arc::new(Shared::new(1));
        write(&mut disk, &shared, (0..20).map(|nth| batch(0, nth * 100..(nth + 1) * 100))).unwrap();
        assert_eq!(disk.calls, ["whole", "short", "cut", "refused", "whole"]);
        assert_eq!(seqs(&disk.bytes), (1..=2_000).collect::<Vec<_>>());
    }

    #[test]
    fn leftovers_come_last() {
        let mut disk = Disk::default();
        let shared = Arc::new(Shared::new(1));
        shared.leftovers.lock().unwrap().extend([batch(0, 2..3), gap()]);
        write(&mut disk, &shared, [batch(0, 1..2)]).unwrap();
        let text = String::from_utf8(disk.bytes).unwrap();
        let order: Vec<usize> = ["\"r-1\"", "\"r-2\"", "\"gap\""].iter().map(|it| text.find(it).unwrap()).collect();
        assert!(order.is_sorted());
        assert_eq!(counts(&shared), [2], "a gap has no slot");
    }

    #[test]
    fn at_the_end_a_disk_that_refuses_loses_a_known_number_of_records() {
        let script = [&[Do::Take(10)], [Do::Refuse; 100_000].as_slice()].concat();
        let mut disk = Disk { script, ..Disk::default() };
        let shared = Arc::new(Shared::new(1));
        shared.closing.store(true, Ordering::Relaxed);
        shared.leftovers.lock().unwrap().push(batch(0, 0..5));
        // The first write takes all but the last two messages: it is over a mebibyte then.
        let messages = (0..11).map(|nth| batch(0, nth * 100..(nth + 1) * 100)).chain([batch(0, 0..30), gap()]);
        let lost = write(&mut disk, &shared, messages).unwrap_err();
        assert_eq!(lost.records, 1_100 + 30 + 1 + 5);
        assert_eq!(disk.bytes, b"", "half a line stayed");
        assert_eq!(counts(&shared), [0], "a slot came back for a record that is lost");
    }

    #[test]
    fn a_full_device_is_said_in_one_line() {
        let file = OpenOptions::new().append(true).open("/dev/full").unwrap();
        let shared = Arc::new(Shared::new(1));
        shared.closing.store(true, Ordering::Relaxed);
        let lost = write(file, &shared, [batch(0, 1..4)]).unwrap_err();
        assert_eq!(
            lost.to_string(),
            "3 record(s) of the log are lost: /log can't be written: No space left on device (os error 28)"
        );
    }

    fn write(file: impl Append, shared: &Arc<Shared>, messages: impl IntoIterator<Item = Message>) -> Result<(), Lost> {
        let (outbox, inbox) = bounded(64);
        for message in messages {
            outbox.send(message).unwrap();
        }
        drop(outbox);
        let stamp = Stamp { log_epoch: 1, seq: 1, wall_start_ns: 0, salt: 0 };
        let patience = Patience { pause: Duration::ZERO, give_up: Duration::from_millis(5) };
        Writer::new(file, "/log".into(), stamp, inbox, Arc::clone(shared), patience).run()
    }

    fn batch(core: usize, ends: std::ops::Range<u64>) -> Message {
        let events = ends.map(|at_ns| sample::event(core as u32, at_ns)).collect();
        Message::Batch(Batch { core, plan: sample::plan(1), events })
    }

    fn gap() -> Message {
        Message::Shed(Shed { count: 1, from_ns: 0, to_ns: 0 })
    }

    fn counts(shared: &Shared) -> Vec<u64> {
        shared.written.iter().map(|written| written.load(Ordering::Relaxed)).collect()
    }

    fn seqs(bytes: &[u8]) -> Vec<u64> {
        let text = std::str::from_utf8(bytes).unwrap();
        assert!(text.ends_with('\n'));
        let seq = |line: &str| line.split_once("\"seq\":")?.1.split_once(',')?.0.parse().ok();
        text.lines().map(|line| seq(line).unwrap()).collect()
    }
}

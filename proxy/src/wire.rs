//! A connection as the exchange sees it: plain or TLS, bytes in, bytes out, and a deadline on each wait.
//!
//! It knows nothing of HTTP. What was read lies in [`Wire::inbox`] until somebody takes it; what is to be written is
//! handed over as a buffer and comes back. A read under way outlives the wait for it (see [`crate::rt::Socket`]).

use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::ops::Range;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use kt_core::limits::{BUFFER_BYTES, KIB, SMALL_READ_BYTES};

use crate::buffers;
use crate::clock;
use crate::deadline::{Deadline, Descriptor, Wait, Watch};
use crate::rt::{Reads, Socket};
use crate::tls::Session;

/// How many bytes of an answer tell what it is: a status line up to its status (RFC 9112 section 4).
const FIRST_WORDS: usize = 12;
/// How much is sealed at a time: four TLS records. A large body is never held twice.
const SEAL_BYTES: usize = 64 * KIB;

/// How long the other side may take over what it is sent.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// What it is that is waited for.
    pub wait: Wait,
    /// Longest time in which it takes nothing.
    pub headway: Duration,
    /// Longest time for all of it.
    pub whole: Duration,
}

/// A connection, plain or TLS.
pub struct Wire {
    // Before the socket, so that the sweeper has forgotten it when the descriptor goes.
    deadline: Deadline,
    socket: Socket,
    session: Option<Box<Session>>,
}

impl Wire {
    /// A connection without TLS.
    pub fn plain(socket: Socket, watch: &Rc<Watch>) -> Self {
        Self { deadline: watch.deadline(socket.descriptor()), socket, session: None }
    }

    /// Turns a plain connection into a TLS one by shaking hands. The wire comes back either way, to be closed if it
    /// failed.
    pub async fn handshake(mut self, mut session: Box<Session>) -> (io::Result<()>, Self) {
        let result = session.handshake(&mut self.socket).await;
        self.session = Some(session);
        (result, self)
    }

    /// Whether it speaks TLS.
    pub fn is_tls(&self) -> bool {
        self.session.is_some()
    }

    /// Its descriptor, for whoever has to end it from outside.
    pub fn descriptor(&self) -> Rc<Descriptor> {
        Rc::clone(self.socket.descriptor())
    }

    /// Until when the next wait may last.
    pub fn deadline(&self) -> &Deadline {
        &self.deadline
    }

    /// What has been read and not been taken. On a plain connection it is empty while a read is under way.
    pub fn inbox(&mut self) -> &mut Vec<u8> {
        match &mut self.session {
            None => self.socket.bytes(),
            Some(session) => session.inbox(),
        }
    }

    /// Whether a read is under way, so that what lies in the inbox of a plain connection can't be seen.
    pub fn is_reading(&self) -> bool {
        self.socket.is_reading()
    }

    /// Gives most of the room for reading back, if nothing lies in it: what comes next comes in small pieces, if at all.
    pub fn slim_down(&mut self) {
        if let Some(session) = &mut self.session
            && session.inbox().is_empty()
        {
            buffers::give(std::mem::take(session.inbox()));
        }
        if !self.socket.is_reading() && self.socket.bytes().is_empty() {
            let room = std::mem::replace(self.socket.bytes(), Vec::with_capacity(SMALL_READ_BYTES));
            buffers::give(room);
        }
    }

    /// Makes up for [`Self::slim_down`] when a read that brought `came` bytes has filled its room: more comes at a time.
    pub fn make_up(&mut self, came: usize) {
        if came >= SMALL_READ_BYTES && !self.socket.is_reading() && self.socket.bytes().capacity() < BUFFER_BYTES {
            self.socket.bytes().reserve(BUFFER_BYTES);
        }
    }

    /// Reads more into the inbox. Ready with how much came, 0 at the end of the stream.
    ///
    /// # Errors
    ///
    /// The kernel's; of TLS `InvalidData`, and `UnexpectedEof` when the stream ended without a close_notify.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match &mut self.session {
            None => self.socket.poll_fill(cx),
            Some(session) => session.poll_fill(&mut self.socket.reads(), cx),
        }
    }

    /// Waits for more in the inbox, as [`Self::poll_fill`]. May be given up and taken up again.
    ///
    /// # Errors
    ///
    /// As [`Self::poll_fill`].
    pub async fn fill(&mut self) -> io::Result<usize> {
        poll_fn(|cx| self.poll_fill(cx)).await
    }

    /// Sends `bytes[range]` and gives the buffer back. To be awaited to its end.
    pub async fn send(&mut self, bytes: Vec<u8>, range: Range<usize>, patience: Patience) -> (io::Result<()>, Vec<u8>) {
        self.send_while(bytes, range, patience, None).await
    }

    /// As [`Self::send`]; but what the other side says meanwhile is read, and when `ends` finds its first words to mean
    /// that it wants no more, or it says that there will be none, the sending ends and fails.
    pub async fn send_unless(
        &mut self,
        bytes: Vec<u8>,
        range: Range<usize>,
        patience: Patience,
        ends: fn(&[u8]) -> bool,
    ) -> (io::Result<()>, Vec<u8>) {
        self.send_while(bytes, range, patience, Some(ends)).await
    }

    async fn send_while(
        &mut self,
        bytes: Vec<u8>,
        range: Range<usize>,
        patience: Patience,
        ends: Option<fn(&[u8]) -> bool>,
    ) -> (io::Result<()>, Vec<u8>) {
        let ear = ends.map(|ends| Ear { ends, descriptor: self.descriptor(), has_heard: false });
        let now = clock::lately();
        let mut sending = Sending { deadline: &self.deadline, patience, now, due: now + patience.whole, ear };
        let sent = match &mut self.session {
            None => sending.write_all(&mut self.socket, None, bytes, range).await,
            Some(session) => {
                let Range { start, end } = range;
                let mut sent = Ok(());
                for from in (start..end).step_by(SEAL_BYTES) {
                    let sealed = match session.seal(&bytes[from..end.min(from + SEAL_BYTES)]) {
                        Ok(sealed) => sealed,
                        Err(error) => return (Err(error), bytes),
                    };
                    let whole = 0..sealed.len();
                    sending.now = Instant::now();
                    let sealed_sent = sending.write_all(&mut self.socket, Some(session), sealed, whole).await;
                    session.reuse(sealed_sent.1);
                    sent = sealed_sent.0;
                    if sent.is_err() {
                        break;
                    }
                }
                (sent, bytes)
            }
        };
        if sent.0.is_ok() {
            self.deadline.clear();
        }
        sent
    }

    /// Tells the other side that nothing more will come.
    pub fn half_close(&mut self) {
        self.say_farewell();
        self.socket.half_close();
    }

    /// Without it, a TLS peer can't tell the end of what it got from an attacker's cut.
    fn say_farewell(&mut self) {
        // A session that has failed has nothing left to say.
        if let Some(Ok(farewell)) = self.session.as_mut().map(|session| session.farewell()) {
            self.socket.try_send(&farewell);
        }
    }

    /// Closes the connection by a reset, once no operation is under way any more.
    pub async fn abort(self) {
        let Self { deadline, socket, session } = self;
        drop((deadline, session));
        socket.abort().await;
    }

    /// Closes the connection, once no operation is under way any more.
    pub async fn close(mut self) {
        self.say_farewell();
        let Self { deadline, socket, session } = self;
        drop((deadline, session));
        socket.close().await;
    }
}

/// Something that is being sent.
struct Sending<'w> {
    deadline: &'w Deadline,
    patience: Patience,
    /// When the latest part of it began to be sent.
    now: Instant,
    due: Instant,
    ear: Option<Ear>,
}

impl Sending<'_> {
    async fn write_all(
        &mut self,
        socket: &mut Socket,
        mut session: Option<&mut Session>,
        mut bytes: Vec<u8>,
        range: Range<usize>,
    ) -> (io::Result<()>, Vec<u8>) {
        let Range { start: mut from, end } = range;
        while from < end {
            self.deadline.set(self.patience.wait, self.due.min(self.now + self.patience.headway));
            let sent;
            (sent, bytes) = match &mut self.ear {
                None => socket.write(bytes, from..end).await,
                Some(ear) => {
                    let listen = |reads: &mut Reads<'_>, cx: &mut Context<'_>| {
                        ear.listen(session.as_deref_mut(), reads, cx);
                    };
                    socket.write_while(bytes, from..end, listen).await
                }
            };
            match sent {
                Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), bytes),
                Ok(n) => {
                    from += n;
                    if from < end {
                        self.now = Instant::now();
                    }
                }
                Err(error) => return (Err(error), bytes),
            }
        }
        (Ok(()), bytes)
    }
}

/// Listens while something is being sent.
struct Ear {
    ends: fn(&[u8]) -> bool,
    descriptor: Rc<Descriptor>,
    has_heard: bool,
}

impl Ear {
    /// Reads the other side's first words, and ends the sending if they say so.
    fn listen(&mut self, mut session: Option<&mut Session>, reads: &mut Reads<'_>, cx: &mut Context<'_>) {
        while !self.has_heard {
            let came = match &mut session {
                None => reads.poll_fill(cx),
                Some(session) => session.poll_fill(reads, cx),
            };
            let inbox = match &mut session {
                None => reads.bytes(),
                Some(session) => session.inbox(),
            };
            let is_last = match came {
                Poll::Pending => return,
                Poll::Ready(Ok(1..)) if inbox.len() < FIRST_WORDS => continue,
                Poll::Ready(Ok(1..)) => (self.ends)(inbox),
                Poll::Ready(Ok(0) | Err(_)) => true,
            };
            self.has_heard = true;
            if is_last {
                self.descriptor.shut_down(Shutdown::Write);
            }
        }
    }
}

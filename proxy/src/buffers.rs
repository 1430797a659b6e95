//! Buffers to be used again, of one core: in the steady state a request brings its bytes through without a call to the
//! allocator for them.
//!
//! A buffer that nobody gives back is freed as any other, so giving back is never a duty. What is kept is bounded, and
//! only buffers of the usual size are: the body of one large request would otherwise be held for good.

use std::cell::RefCell;

use kt_core::http1::head::Fields;
use kt_core::limits::{BUFFER_BYTES, BUFFER_BYTES_MAX, BUFFERS_KEPT, BUFFERS_KEPT_QUIET};

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static SPARE_FIELDS: RefCell<Vec<Fields>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer with room for at least `bytes`.
pub fn with_room(bytes: usize) -> Vec<u8> {
    let spare = SPARE.with_borrow_mut(Vec::pop);
    match spare {
        Some(spare) if spare.capacity() >= bytes => spare,
        Some(spare) => {
            give(spare);
            Vec::with_capacity(bytes)
        }
        None => Vec::with_capacity(bytes.max(BUFFER_BYTES)),
    }
}

/// Gives a buffer back, whatever it holds.
pub fn give(mut buffer: Vec<u8>) {
    if (BUFFER_BYTES..=BUFFER_BYTES_MAX).contains(&buffer.capacity()) {
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < BUFFERS_KEPT {
                buffer.clear();
                spare.push(buffer);
            }
        });
    }
}

/// Gives the room of `buffer` back if there is nothing in it, and leaves it without any.
pub fn lend(buffer: &mut Vec<u8>) {
    if buffer.is_empty() {
        give(std::mem::take(buffer));
    }
}

/// Keeps no more than a core needs at which little goes on.
pub fn keep_few() {
    SPARE.with_borrow_mut(|spare| spare.truncate(BUFFERS_KEPT_QUIET));
    SPARE_FIELDS.with_borrow_mut(|spare| spare.truncate(BUFFERS_KEPT_QUIET));
}

/// Room for the fields of a head.
pub fn fields() -> Fields {
    SPARE_FIELDS.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Gives it back, whatever it holds.
pub fn give_fields(fields: Fields) {
    SPARE_FIELDS.with_borrow_mut(|spare| {
        if spare.len() < BUFFERS_KEPT {
            spare.push(fields);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_was_given_back_is_empty_and_used_again() {
        let mut buffer = with_room(10);
        assert!(buffer.capacity() >= BUFFER_BYTES);
        buffer.extend_from_slice(b"a secret");
        let place = buffer.as_ptr();
        give(buffer);
        let again = with_room(10);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        give(again);
        let large = with_room(BUFFER_BYTES_MAX + 1);
        assert_ne!(large.as_ptr(), place, "too small for that");
        let small = with_room(1);
        assert_eq!(small.as_ptr(), place, "and still there for others");
    }

    #[test]
    fn only_what_is_empty_is_lent() {
        let mut buffer = with_room(10);
        buffer.push(1);
        lend(&mut buffer);
        assert_eq!(buffer, [1]);
        let place = buffer.as_ptr();
        buffer.clear();
        lend(&mut buffer);
        let again = with_room(1);
        assert_eq!((buffer.capacity(), again.as_ptr()), (0, place));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        give(Vec::with_capacity(BUFFER_BYTES - 1));
        give(Vec::with_capacity(BUFFER_BYTES_MAX + 1));
        assert_eq!(SPARE.with_borrow(Vec::len), 0);
        (0..BUFFERS_KEPT + 10).for_each(|_| give(Vec::with_capacity(BUFFER_BYTES)));
        assert_eq!(SPARE.with_borrow(Vec::len), BUFFERS_KEPT);
        keep_few();
        assert_eq!(SPARE.with_borrow(Vec::len), BUFFERS_KEPT_QUIET);
    }
}

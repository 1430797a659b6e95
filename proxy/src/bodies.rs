//! What a core holds of large request bodies: together no more than a bound, however many clients send them.
//!
//! Counted is what has come, and not what is announced: a length alone costs nobody anything.

use std::cell::Cell;

use kt_core::fault::{Fault, Kind, Phase};
use kt_core::limits::Limits;

thread_local! {
    /// The sum of this core's shares.
    static HELD: Cell<usize> = const { Cell::new(0) };
}

/// One request's share of it, given back with the request.
#[derive(Debug, Default)]
pub struct Share(usize);

impl Share {
    /// Makes it `bytes`, which is more than it was.
    ///
    /// # Errors
    ///
    /// That the core is overloaded: others hold the rest. Whoever is alone is only bound by the size of one body.
    pub fn grow(&mut self, bytes: usize, limits: &Limits) -> Result<(), Fault> {
        let others = HELD.get() - self.0;
        if others > 0 && others + bytes > limits.held_bytes_max {
            return Err(Fault::new(Kind::Overloaded, Phase::Body));
        }
        HELD.set(others + bytes);
        self.0 = bytes;
        Ok(())
    }
}

/// The sum of this core's shares, bytes.
pub fn held() -> usize {
    HELD.get()
}

impl Drop for Share {
    fn drop(&mut self) {
        HELD.set(HELD.get() - self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_bounded_together_and_given_back() {
        let limits = Limits { held_bytes_max: 100, ..Limits::default() };
        let (mut one, mut other) = (Share::default(), Share::default());
        assert_eq!(one.grow(60, &limits), Ok(()));
        assert_eq!(other.grow(40, &limits), Ok(()));
        assert_eq!(other.grow(41, &limits).map_err(|fault| fault.kind), Err(Kind::Overloaded));
        assert_eq!(HELD.get(), 100, "what is refused is not held");
        drop(one);
        assert_eq!(other.grow(41, &limits), Ok(()));
        assert_eq!(other.grow(1_000, &limits), Ok(()), "alone it may be as large as a body may be");
        drop(other);
        assert_eq!(HELD.get(), 0);
    }
}

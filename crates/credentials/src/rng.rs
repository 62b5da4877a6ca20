//! The engine's only source of randomness: the system's, or a seeded one for reproducible runs.

use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// A random number generator. Clones of a seeded one share one sequence.
#[derive(Clone, Debug, Default)]
pub struct Rng(Option<Arc<Mutex<SmallRng>>>);

impl Rng {
    /// The system's generator.
    pub fn system() -> Self {
        Self(None)
    }

    /// The same numbers for the same `seed`. Not for secrets.
    pub fn seeded(seed: u64) -> Self {
        Self(Some(Arc::new(Mutex::new(SmallRng::seed_from_u64(seed)))))
    }

    /// A number in 0..1.
    pub fn fraction(&self) -> f64 {
        self.draw(rand::random, |seeded| seeded.random())
    }

    /// A random name of 32 hex digits, unique to a process.
    pub fn name(&self) -> String {
        format!(
            "{:032x}",
            self.draw(rand::random::<u128>, |seeded| seeded.random())
        )
    }

    fn draw<T>(&self, system: impl FnOnce() -> T, seeded: impl FnOnce(&mut SmallRng) -> T) -> T {
        match &self.0 {
            None => system(),
            Some(shared) => seeded(&mut shared.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let row = |seed| {
            let rng = Rng::seeded(seed);
            (rng.fraction(), rng.clone().fraction(), rng.name())
        };
        assert_eq!(row(7), row(7));
        assert_ne!(row(7), row(8));
        assert_ne!(Rng::system().name(), Rng::system().name());
    }
}

//! The only place where the keeper rolls dice: the system's, or a seed's, so that whatever happened can happen again.

use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// A source of chance. Clones of a seeded one draw on the same row of numbers.
#[derive(Clone, Debug, Default)]
pub struct Chance(Option<Arc<Mutex<SmallRng>>>);

impl Chance {
    /// What nobody can foretell.
    pub fn system() -> Self {
        Self(None)
    }

    /// The same numbers for the same `seed`. For what must not be guessed it will not do.
    pub fn seeded(seed: u64) -> Self {
        Self(Some(Arc::new(Mutex::new(SmallRng::seed_from_u64(seed)))))
    }

    /// A number in 0..1.
    pub fn fraction(&self) -> f64 {
        self.draw(rand::random, |seeded| seeded.random())
    }

    /// 32 hex digits that tell one process from all others.
    pub fn name(&self) -> String {
        format!("{:032x}", self.draw(rand::random::<u128>, |seeded| seeded.random()))
    }

    fn draw<T>(&self, system: impl FnOnce() -> T, seeded: impl FnOnce(&mut SmallRng) -> T) -> T {
        match &self.0 {
            None => system(),
            Some(row) => seeded(&mut row.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_foretells_everything() {
        let row = |seed| {
            let chance = Chance::seeded(seed);
            (chance.fraction(), chance.clone().fraction(), chance.name())
        };
        assert_eq!(row(7), row(7));
        assert_ne!(row(7), row(8));
        assert_ne!(Chance::system().name(), Chance::system().name());
    }
}

//! [`PathStates`]: what all recipes of one coordinator share about a path, for as long as one of them uses it.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use super::state::lock;

/// States by type and path. A state lives while it is in use, and is made again for the next caller.
#[derive(Debug, Default)]
pub(super) struct PathStates {
    by_path: Mutex<ByPath>,
}

#[derive(Debug, Default)]
struct ByPath {
    states: HashMap<String, Vec<TypedState>>,
    /// How many paths there may be before those without a state are cleared away.
    clear_at: usize,
}

type TypedState = (TypeId, Weak<dyn Any + Send + Sync>);

/// So many paths are not worth a look at each of them.
const FEW: usize = 64;

impl PathStates {
    /// The state of type `T` about `path`.
    pub(super) fn get<T: Default + Send + Sync + 'static>(&self, path: &str) -> Arc<T> {
        let mut by_path = lock(&self.by_path);
        let ByPath { states, clear_at } = &mut *by_path;
        if states.len() >= (*clear_at).max(FEW) {
            states.retain(|_, all| all.iter().any(|(_, state)| state.strong_count() > 0));
            *clear_at = states.len() * 2;
        }
        let all = match states.get_mut(path) {
            Some(all) => all,
            None => states.entry(path.to_owned()).or_default(),
        };
        let known = all.iter().find(|(id, _)| *id == TypeId::of::<T>());
        let known = known.and_then(|(_, state)| state.upgrade()?.downcast::<T>().ok());
        known.unwrap_or_else(|| {
            let state = Arc::new(T::default());
            let weak: Weak<dyn Any + Send + Sync> = Arc::downgrade(&(Arc::clone(&state) as Arc<_>));
            all.retain(|(id, _)| *id != TypeId::of::<T>());
            all.push((TypeId::of::<T>(), weak));
            state
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_state_is_shared_while_it_is_used() {
        let states = PathStates::default();
        let one = states.get::<AtomicUsize>("/a");
        one.store(7, Ordering::Relaxed);
        assert_eq!(states.get::<AtomicUsize>("/a").load(Ordering::Relaxed), 7);
        assert_eq!(states.get::<AtomicUsize>("/b").load(Ordering::Relaxed), 0);
        assert_eq!(states.get::<Mutex<i32>>("/a").lock().map(|it| *it).unwrap_or(9), 0);
        drop(one);
        assert_eq!(states.get::<AtomicUsize>("/a").load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_nobody_uses_takes_no_room() {
        let states = PathStates::default();
        let kept = states.get::<AtomicUsize>("/kept");
        for number in 0..10_000 {
            states.get::<AtomicUsize>(&format!("/p{number}"));
        }
        assert!(lock(&states.by_path).states.len() <= 2 * FEW);
        assert!(Arc::ptr_eq(&kept, &states.get("/kept")));
    }
}

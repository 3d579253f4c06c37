//! Runs a checker, prints what it found, and keeps the verdict.

use std::fmt::Debug;
use std::hash::Hash;
use std::process::ExitCode;
use std::time::Instant;

use stateright::{Checker, Expectation, Model, Path, Property};

pub(crate) struct Report {
    only: Vec<String>,
    failed: Vec<String>,
    started: Instant,
    states: usize,
}

impl Report {
    pub(crate) fn new(only: Vec<String>) -> Self {
        Self {
            only,
            failed: Vec::new(),
            started: Instant::now(),
            states: 0,
        }
    }

    fn is_wanted(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.contains(only.as_str()))
    }

    /// All properties have to hold.
    pub(crate) fn holds<M>(&mut self, name: &str, model: M)
    where
        M: Model + Send + Sync + 'static,
        M::State: Debug + Hash + Send + Sync + Clone + PartialEq,
        M::Action: Debug + Send + Sync + Clone + PartialEq,
    {
        if !self.is_wanted(name) {
            return;
        }
        let started = Instant::now();
        let checker = model.checker().threads(2).spawn_bfs().join();
        self.states += checker.unique_state_count();
        println!(
            "{name}: {} states, depth {}, {:.1} s",
            checker.unique_state_count(),
            checker.max_depth(),
            started.elapsed().as_secs_f64()
        );
        for property in checker.model().properties() {
            let found = checker.discovery(property.name);
            let holds = match property.expectation {
                Expectation::Sometimes => found.is_some(),
                Expectation::Always | Expectation::Eventually => found.is_none(),
            };
            println!("    {}: {}", if holds { "holds" } else { "BROKEN" }, property.name);
            if !holds {
                self.failed.push(format!("{name}: {}", property.name));
                print_steps(found.map(Path::into_actions).unwrap_or_default());
            }
        }
    }

    /// This property has to break; the steps are printed.
    pub(crate) fn breaks<M>(&mut self, name: &str, property: &'static str, model: M)
    where
        M: Model + Send + Sync + 'static,
        M::State: Debug + Hash + Send + Sync + Clone + PartialEq,
        M::Action: Debug + Send + Sync + Clone + PartialEq,
    {
        if !self.is_wanted(name) {
            return;
        }
        let checker = Only { model, property }.checker().threads(1).spawn_bfs().join();
        let steps = checker.discovery(property).map(Path::into_actions);
        match steps {
            Some(steps) => {
                println!("{name}: breaks \"{property}\" in {} steps", steps.len());
                print_steps(steps);
            }
            None => {
                println!("{name}: NOTHING FOUND in {} states", checker.unique_state_count());
                self.failed.push(format!("{name}: no counter-example"));
            }
        }
    }

    pub(crate) fn end(self) -> ExitCode {
        println!("{} states, {:.1} s", self.states, self.started.elapsed().as_secs_f64());
        if self.failed.is_empty() {
            println!("all properties hold; each missing safeguard is found");
            return ExitCode::SUCCESS;
        }
        for failed in &self.failed {
            println!("FAILED: {failed}");
        }
        ExitCode::FAILURE
    }
}

/// One line a step; equal ones that follow each other are one.
fn print_steps<A: Debug + PartialEq>(steps: Vec<A>) {
    for same in steps.chunk_by(|one, next| one == next) {
        let times = if same.len() > 1 {
            format!(" x {}", same.len())
        } else {
            String::new()
        };
        println!("        {:?}{times}", same[0]);
    }
}

/// A model of which one property is asked: the search ends at the first state that breaks it, which is the nearest one.
struct Only<M> {
    model: M,
    property: &'static str,
}

impl<M: Model> Model for Only<M> {
    type State = M::State;
    type Action = M::Action;

    fn init_states(&self) -> Vec<M::State> {
        self.model.init_states()
    }

    fn actions(&self, state: &M::State, actions: &mut Vec<M::Action>) {
        self.model.actions(state, actions);
    }

    fn next_state(&self, state: &M::State, action: M::Action) -> Option<M::State> {
        self.model.next_state(state, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::<Self>::always(self.property, |only, state| {
            let asked = only
                .model
                .properties()
                .into_iter()
                .find(|property| property.name == only.property);
            asked.is_some_and(|property| (property.condition)(&only.model, state))
        })]
    }
}

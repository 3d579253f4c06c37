//! Faults that only an ensemble can show, on three servers in containers: `scripts/ensemble-test.sh` brings them up.
//!
//! * `ensemble` – the servers, and what can be done to them
//! * `belief` – how long a guard was believed in, by one clock for all processes
//! * `recipes` – what a contender does once, with each recipe; `workload` – over and over
//! * `books` – what became of items and turns, as contenders were told; `closing` – and as the ensemble has it in the end;
//!   `audit` – whether all of that can be true
//! * `contest` – contenders in this process; `client` – in processes of their own
//! * `crew` – processes with links to the servers, and random faults at all of them
//! * `jepsen` – Jepsen's lock workloads, judged as operations on a lock, a set, a register and a queue
//! * the others – one module for each kind of fault, and `soak` with all of them at random

mod audit;
mod bad_server;
mod belief;
mod books;
mod client;
mod closing;
mod contest;
mod crew;
mod cut_client;
mod cut_follower;
mod ensemble;
mod faults;
mod held_command;
mod jepsen;
mod recipes;
mod servers_down;
mod soak;
mod stopped_process;
mod workload;

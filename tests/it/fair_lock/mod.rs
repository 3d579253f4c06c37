//! The fair lock: one holder at a time, in the order of the line.

mod access;
mod bad_input;
mod basics;
mod budget;
mod cancel;
mod guard;
mod history;
mod long_lines;
mod operator;
mod overflow;
mod replies;
mod revocation;
mod strikes;
mod together;
mod unpolled;

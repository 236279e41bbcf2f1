//! Consumer groups, step by step, and under random schedules.

mod scenario;
mod schedule;
mod stage;

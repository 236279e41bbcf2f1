//! Scenarios across the coordinator.

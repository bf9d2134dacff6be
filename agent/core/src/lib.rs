//! Every decision of Tidegate, without IO, async, clock or randomness.
//!
//! The pipeline, and where each step lives:
//!
//! ```text
//! wake ─► load ─► validate ─► render ─► observe ─► diff ─► plan ─► gate ─► execute ─► record
//!         agent   validate    render    agent      diff    plan    gate    agent, by   agent
//!                                                                          progress
//! ```
//!
//! Modules stand in reading order: each uses only those above it.

pub mod backoff;
pub mod digest;
pub mod object;
pub mod order;
pub mod definition;
pub mod ignored;
pub mod autoscaler;
pub mod need;
pub mod claim;
pub mod secrecy;
pub mod served;
pub mod health;
pub mod promql;
pub mod template;
pub mod image;
pub mod provenance;
pub mod snapshot;
pub mod zone;
pub mod desired;
pub mod catalogue;
pub mod site;
pub mod parameter;
pub mod render;
pub mod pod;
pub mod drain;
pub mod live;
pub mod change;
pub mod group;
pub mod validate;
pub mod diff;
pub mod plan;
pub mod baseline;
pub mod orphan;
pub mod pin;
pub mod task;
pub mod planner;
pub mod check;
pub mod show;
pub mod release;
pub mod run;
pub mod history;
pub mod timeline;
pub mod delivery;
pub mod rehearsal;
pub mod approval;
pub mod gate;
pub mod driver;
pub mod progress;

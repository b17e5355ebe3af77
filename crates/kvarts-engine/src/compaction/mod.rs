//! Compaction: a pure policy that says which tables to rewrite, and the job that rewrites them.
//!
//! One job at a time per tree, by this walk: `retention` once → [`CompactionPolicy::pick`] (or [`full_plan`]) on the
//! current version → [`run`] → install the edit on the version current *then* (flushes may have added tables to level 0
//! meanwhile, no one else may have touched it) → when that manifest is durable, mark
//! [`obsolete`](crate::version::VersionEdit::obsolete) tables. docs/internals/compaction.md explains the rules.
mod cut;
mod filter;
mod full;
mod job;
mod output;
mod plan;
mod policy;
mod resting;
mod retain;
mod runs;
#[cfg(test)]
mod simulation;

pub use filter::{CompactionFilter, filtering_plan, is_unfiltered, sampled_keys};
pub use full::full_plan;
pub use job::run;
pub use output::{OutputContext, write_tables};
pub use plan::CompactionPlan;
pub use policy::{CompactionPolicy, Debt, Leveled, debt};
pub use resting::{Earned, Rest, resting_plan};
pub use retain::Retention;
pub use runs::{merge_level0, runs_merged};

//! Running a plan.
use super::{CompactionPlan, OutputContext, Retention};
use crate::Result;
use crate::version::{Version, VersionEdit};

/// Runs a plan and returns the edit that installs it. `version` is the one the plan was picked from, or a later one to
/// which only flushes were added. On error (`Closed` where `context.stop` said so) no outputs are left.
pub fn run(
    plan: &CompactionPlan,
    version: &Version,
    retention: &Retention,
    context: &OutputContext<'_>,
) -> Result<VersionEdit> {
    todo!("{plan:?} {:?} {version:?} {retention:?} {}", plan.key_range(), context.dir.display())
}

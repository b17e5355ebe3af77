//! Running a plan.
use super::output::write_rows;
use super::retain::Collector;
use super::runs::runs;
use super::{CompactionPlan, OutputContext, Retention};
use crate::Result;
use crate::iter::{BoxCursor, MergeCursor};
use crate::table::level_cursor;
use crate::version::{TableRef, Version, VersionEdit};
use std::sync::Arc;

/// Runs a plan and returns the edit that installs it. `version` is the one the plan was picked from, or a later one to
/// which only flushes were added. On error (`Closed` where `context.stop` said so) no outputs are left.
pub fn run(
    plan: &CompactionPlan,
    version: &Version,
    retention: &Retention,
    context: &OutputContext<'_>,
) -> Result<VersionEdit> {
    plan.check(version);
    if plan.trivial_move {
        return Ok(plan.edit(plan.inputs.clone()));
    }
    let collector = Collector::new(retention, plan.is_bottom(version));
    let outputs = write_rows(rows(plan), collector, plan.grandparents(version), context)?;
    Ok(plan.edit(outputs))
}

/// All rows of the plan's tables, newest source first, past the block cache: they are read once.
fn rows(plan: &CompactionPlan) -> BoxCursor {
    let sorted =
        |tables: &[TableRef]| level_cursor(tables.iter().map(|table| Arc::clone(&table.table)).collect(), false);
    let by_key = |run: &[TableRef]| {
        let mut tables = run.to_vec();
        tables.sort_by(|a, b| a.record.smallest.cmp(&b.record.smallest));
        sorted(&tables)
    };
    let mut sources: Vec<BoxCursor> = match plan.level {
        0 => runs(&plan.inputs).into_iter().map(|run| by_key(&plan.inputs[run.tables])).collect(),
        _ => vec![sorted(&plan.inputs)],
    };
    if !plan.overlaps.is_empty() {
        sources.push(sorted(&plan.overlaps));
    }
    if sources.len() == 1 { sources.remove(0) } else { Box::new(MergeCursor::new(sources)) }
}

#[cfg(test)]
mod tests;

//! Running a plan.
use super::output::write_rows;
use super::retain::Collector;
use super::runs::runs;
use super::{CompactionFilter, CompactionPlan, OutputContext, Retention};
use crate::Result;
use crate::iter::{BoxCursor, MergeCursor};
use crate::table::level_cursor;
use crate::version::{HasRecord, TableRef, Version, VersionEdit};
use std::sync::Arc;

/// Runs a plan and returns the edit that installs it. `version` is the one the plan was picked from, or a later one to
/// which only flushes were added. Rows that `filter` drops are left out, whatever the retention says. On error (`Closed` where
/// `context.stop` said so) no outputs are left.
pub fn run(
    plan: &CompactionPlan,
    version: &Version,
    retention: &Retention,
    filter: Option<&dyn CompactionFilter>,
    context: &OutputContext<'_>,
) -> Result<VersionEdit> {
    plan.check(version);
    if plan.trivial_move {
        return Ok(plan.edit(plan.inputs.clone()));
    }
    let collector = Collector::new(retention, plan.is_bottom(version));
    let outputs = write_rows(rows(plan, filter), collector, filter, plan.grandparents(version), context)?;
    Ok(plan.edit(outputs))
}

/// All rows of the plan's tables, newest source first, past the block cache: they are read once. Without tables of which the
/// filter drops all.
fn rows(plan: &CompactionPlan, filter: Option<&dyn CompactionFilter>) -> BoxCursor {
    let kept = |table: &&TableRef| {
        let record = table.record();
        filter.is_none_or(|filter| filter.keeps_any(&record.smallest, &record.largest))
    };
    let sorted = |tables: &[TableRef]| {
        level_cursor(tables.iter().filter(kept).map(|table| Arc::clone(&table.table)).collect(), false)
    };
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

//! Answers as plain objects.
use super::page::Page;
use super::request::Shape;
use kvarts_serve::client::Answer;
use kvarts_wire::v1;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

/// Makes the object that a request's shape asks for.
pub fn to_python<'py>(py: Python<'py>, shape: Shape, answer: Answer) -> PyResult<Bound<'py, PyAny>> {
    match answer {
        Answer::Get(answer) => got(py, shape, &answer),
        Answer::Write(result) => written(py, &result),
        Answer::Scan(page) if matches!(shape, Shape::Count) => Ok(page.count.into_pyobject(py)?.into_any()),
        Answer::Scan(page) if matches!(shape, Shape::Rows) => {
            Ok(Page::of(page).map_err(PyErr::from)?.into_pyobject(py)?.into_any())
        }
        Answer::Scan(page) => scanned(py, &page),
        Answer::Shards(ids) => Ok(PyList::new(py, ids)?.into_any()),
        Answer::Text(text) => Ok(PyString::new(py, &text).into_any()),
        Answer::Keyspaces(keyspaces) => {
            let keyspaces = keyspaces.into_iter().map(|one| (one.id, one.name, one.key_codec, one.value_codec));
            Ok(PyList::new(py, keyspaces.collect::<Vec<_>>())?.into_any())
        }
        Answer::Describe(said) => {
            let nodes = said.nodes.into_iter().map(|node| (node.id, node.address, node.voter, node.learner));
            let nodes = PyList::new(py, nodes.collect::<Vec<_>>())?;
            let cluster = PyBytes::new(py, &said.cluster_id);
            let fields = (cluster, said.node_id, said.leader_id, said.term, nodes, said.version);
            Ok(fields.into_pyobject(py)?.into_any())
        }
    }
}

fn got<'py>(py: Python<'py>, shape: Shape, answer: &v1::GetResponse) -> PyResult<Bound<'py, PyAny>> {
    let first = answer.rows.first().filter(|row| row.found);
    Ok(match shape {
        Shape::Value | Shape::Whole | Shape::Page | Shape::Rows | Shape::Count => {
            first.map_or_else(|| py.None().into_bound(py), |row| PyBytes::new(py, &row.value).into_any())
        }
        Shape::Entry => match first {
            Some(row) => (PyBytes::new(py, &row.value), row.revision).into_pyobject(py)?.into_any(),
            None => py.None().into_bound(py),
        },
        Shape::Exists => first.is_some().into_pyobject(py)?.to_owned().into_any(),
        Shape::Moment => (answer.revision, answer.now_ms).into_pyobject(py)?.into_any(),
        Shape::Many => {
            let rows = answer.rows.iter().map(|row| row.found.then(|| PyBytes::new(py, &row.value)));
            (PyList::new(py, rows)?, answer.revision, answer.now_ms).into_pyobject(py)?.into_any()
        }
    })
}

fn written<'py>(py: Python<'py>, result: &v1::Result) -> PyResult<Bound<'py, PyAny>> {
    let sums = result.sums.iter().map(|sum| {
        let magnitude = i128::from(sum.magnitude);
        sum.set.then_some(if sum.negative { -magnitude } else { magnitude })
    });
    let sums = if result.sums.is_empty() { PyTuple::empty(py) } else { PyTuple::new(py, sums)? };
    let found = result.found.as_ref().map(|row| (PyBytes::new(py, &row.value), row.revision));
    Ok((result.outcome, result.revision, sums, found, result.failed).into_pyobject(py)?.into_any())
}

fn scanned<'py>(py: Python<'py>, page: &v1::ScanResponse) -> PyResult<Bound<'py, PyAny>> {
    let (keys, values) = (column(py, &page.keys, &page.key_ends)?, column(py, &page.values, &page.value_ends)?);
    Ok((keys, values, page.more).into_pyobject(py)?.into_any())
}

fn column<'py>(py: Python<'py>, bytes: &[u8], ends: &[u32]) -> PyResult<Bound<'py, PyList>> {
    let mut start = 0;
    let cells = ends.iter().map(|&end| {
        let cell = bytes.get(start..end as usize).unwrap_or_default();
        start = end as usize;
        PyBytes::new(py, cell)
    });
    PyList::new(py, cells)
}

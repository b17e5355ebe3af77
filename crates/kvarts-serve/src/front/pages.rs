//! A scan as a stream of pages at one revision. A page is read when the client takes it.
use super::desk::{Desk, now};
use super::forward::{relayed, sent_on};
use super::limits;
use super::status::status_of;
use super::unary::wait;
use crate::intake::refusal;
use futures_util::{Stream, stream};
use kvarts_wire::v1;
use kvarts_wire::v1::kv_client::KvClient;
use std::sync::Arc;
use std::time::Instant;
use tonic::metadata::MetadataMap;
use tonic::{Request, Status, Streaming};

/// A scan under way.
struct Scan {
    desk: Arc<Desk>,
    /// What is still to be read.
    rest: v1::ScanRequest,
    metadata: MetadataMap,
    /// The deadline of the whole scan, where the client set one; else each page has the node's default.
    deadline: Option<Instant>,
    counted: u64,
    source: Source,
}

enum Source {
    Here,
    /// Another node led: it reads what was still to be read.
    There(Box<Streaming<v1::ScanResponse>>),
    Done,
}

/// Returns the pages of a scan.
pub fn pages(
    desk: Arc<Desk>,
    request: Request<v1::ScanRequest>,
) -> Result<impl Stream<Item = Result<v1::ScanResponse, Status>>, Status> {
    let deadline = request.metadata().contains_key("grpc-timeout").then(|| desk.deadline(request.metadata()));
    let (metadata, _, mut rest) = request.into_parts();
    limits::check_scan(&mut rest).map_err(status_of)?;
    let scan = Scan { desk, rest, metadata, deadline, counted: 0, source: Source::Here };
    Ok(stream::unfold(scan, |mut scan| async move {
        let page = scan.next().await.transpose()?;
        if page.is_err() {
            scan.source = Source::Done;
        }
        Some((page, scan))
    }))
}

impl Scan {
    async fn next(&mut self) -> Result<Option<v1::ScanResponse>, Status> {
        let mut page = match &mut self.source {
            Source::Done => return Ok(None),
            Source::Here => self.read().await?,
            Source::There(pages) => pages.message().await.map_err(|status| relayed(&status))?,
        };
        if let Some(page) = &mut page {
            self.pass(page);
        }
        Ok(page)
    }

    /// Reads the next page here, or has the node read on that leads.
    async fn read(&mut self) -> Result<Option<v1::ScanResponse>, Status> {
        let deadline = self.deadline.unwrap_or_else(|| now() + self.desk.options.request_timeout);
        let rest = self.rest.clone();
        let asked = wait(deadline, refusal::deadline_exceeded, |reply| self.desk.intake.scan(rest, deadline, reply));
        let error = match asked.await {
            Ok(page) => return Ok(Some(page)),
            Err(error) => error,
        };
        let Some((channel, hop)) = self.desk.leaders.way(&error, &self.metadata) else { return Err(status_of(error)) };
        let mut client = KvClient::new(channel).max_decoding_message_size(2 * self.desk.options.message_bytes_max);
        let mut request = sent_on(self.rest.clone(), hop, deadline, now());
        if self.deadline.is_none() {
            // The default is a page's, not the scan's.
            request.metadata_mut().remove("grpc-timeout");
        }
        let mut pages = client.scan(request).await.map_err(|status| relayed(&status))?.into_inner();
        let page = pages.message().await.map_err(|status| relayed(&status))?;
        self.source = Source::There(Box::new(pages));
        Ok(page)
    }

    /// Notes that a page was read, so that the next one begins behind it.
    fn pass(&mut self, page: &mut v1::ScanResponse) {
        let (here, rest) = (matches!(self.source, Source::Here), &mut self.rest);
        let rows = if rest.count_only { page.count } else { page.key_ends.len() as u64 };
        page.count += self.counted;
        if !here {
            return;
        }
        self.counted = page.count;
        if rest.limit > 0 {
            page.more &= rows < rest.limit;
            rest.limit = rest.limit.saturating_sub(rows);
        }
        match last_key(page) {
            Some(last) if page.more && rest.reverse => (rest.stop, rest.include_stop) = (last, false),
            Some(last) if page.more => (rest.start, rest.exclude_start) = (last, true),
            _ => self.source = Source::Done,
        }
        let freshness = rest.freshness.get_or_insert_default();
        (freshness.revision, freshness.now_ms) = (page.revision, page.now_ms);
    }
}

/// The key that the next page begins behind.
fn last_key(page: &v1::ScanResponse) -> Option<bytes::Bytes> {
    let end = *page.key_ends.last()? as usize;
    let start = page.key_ends.iter().rev().nth(1).map_or(0, |&start| start as usize);
    (start <= end && end <= page.keys.len()).then(|| page.keys.slice(start..end))
}

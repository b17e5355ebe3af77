//! Scans as streams of pages.
use crate::node::{Node, put};
use kvarts_wire::v1;

async fn rows(node: &Node, count: u32) {
    let mut kv = node.kv().await;
    for number in 0..count {
        kv.write(put(&format!("k{number:04}"), number.to_string())).await.unwrap();
    }
}

struct Seen {
    keys: Vec<String>,
    pages: usize,
    revision: u64,
    count: u64,
}

async fn scan(node: &Node, request: v1::ScanRequest) -> Seen {
    let mut pages = node.kv().await.scan(request).await.unwrap().into_inner();
    let mut seen = Seen { keys: vec![], pages: 0, revision: 0, count: 0 };
    while let Some(page) = pages.message().await.unwrap() {
        let mut start = 0;
        for &end in &page.key_ends {
            seen.keys.push(String::from_utf8(page.keys[start..end as usize].to_vec()).unwrap());
            start = end as usize;
        }
        seen.pages += 1;
        assert!(seen.revision == 0 || seen.revision == page.revision, "all pages are of one revision");
        (seen.revision, seen.count) = (page.revision, page.count);
    }
    seen
}

fn names(numbers: impl Iterator<Item = u32>) -> Vec<String> {
    numbers.map(|number| format!("k{number:04}")).collect()
}

#[tokio::test]
async fn a_scan_gives_every_row_once_forwards_and_backwards() {
    let node = Node::start(1).await;
    rows(&node, 450).await;
    let all = scan(&node, v1::ScanRequest::default()).await;
    assert_eq!((all.keys, all.pages), (names(0..450), 5));
    let back = v1::ScanRequest { reverse: true, start: "k0010".into(), stop: "k0440".into(), ..Default::default() };
    assert_eq!(scan(&node, back).await.keys, names((10..440).rev()));
}

#[tokio::test]
async fn a_limit_counts_over_pages() {
    let node = Node::start(1).await;
    rows(&node, 450).await;
    for (limit, pages) in [(250, 3), (200, 2), (1, 1), (1000, 5)] {
        let seen = scan(&node, v1::ScanRequest { limit, ..Default::default() }).await;
        assert_eq!((seen.keys, seen.pages), (names(0..450.min(limit as u32)), pages), "limit {limit}");
    }
}

#[tokio::test]
async fn a_count_adds_up() {
    let node = Node::start(1).await;
    rows(&node, 450).await;
    assert_eq!(scan(&node, v1::ScanRequest { count_only: true, ..Default::default() }).await.count, 450);
    let limited = v1::ScanRequest { count_only: true, limit: 333, ..Default::default() };
    assert_eq!(scan(&node, limited).await.count, 333);
}

#[tokio::test]
async fn writes_after_the_first_page_are_not_seen() {
    let node = Node::start(1).await;
    rows(&node, 250).await;
    let mut kv = node.kv().await;
    let request = v1::ScanRequest { page_rows: 200, ..Default::default() };
    let mut pages = kv.scan(request).await.unwrap().into_inner();
    let first = pages.message().await.unwrap().unwrap();
    kv.write(put("k0240", "changed")).await.unwrap();
    kv.write(put("k0999", "new")).await.unwrap();
    let second = pages.message().await.unwrap().unwrap();
    assert_eq!((first.revision, second.revision, second.now_ms), (250, 250, 7));
    assert_eq!((second.key_ends.len(), second.more), (50, false));
    assert!(pages.message().await.unwrap().is_none());
}

#[tokio::test]
async fn a_scan_goes_on_where_the_leader_went() {
    let (one, two) = (Node::start(1).await, Node::start(2).await);
    rows(&one, 250).await;
    rows(&two, 250).await;
    let mut kv = one.kv().await;
    let request = v1::ScanRequest { page_rows: 100, ..Default::default() };
    // More than a page is not read ahead: what the second page meets is set after the first came.
    let mut pages = kv.scan(request).await.unwrap().into_inner();
    let mut count = pages.message().await.unwrap().unwrap().key_ends.len();
    one.small.follow(2, &two.address);
    while let Some(page) = pages.message().await.unwrap() {
        assert_eq!(page.revision, 250);
        count += page.key_ends.len();
    }
    assert_eq!(count, 250);
}

#[tokio::test]
async fn a_count_is_right_across_nodes() {
    let (one, two) = (Node::start(1).await, Node::start(2).await);
    rows(&two, 250).await;
    one.small.follow(2, &two.address);
    assert_eq!(scan(&one, v1::ScanRequest { count_only: true, ..Default::default() }).await.count, 250);
}

//! The addresses that could have been signed instead of the right one, each with its mistake.

use super::address::{Address, without_fragment};
use super::encoding::{decoded, encoded};
use super::finding::Code;

/// Ports of development servers and proxies.
const PORTS: [&str; 12] = [
    "80", "443", "8080", "8443", "3000", "5173", "8000", "8081", "8888", "5000", "9000", "4200",
];

/// The parameters that WeChat adds to links.
const WECHATS: [&str; 5] = [
    "from",
    "isappinstalled",
    "nsukey",
    "wxshare_count",
    "wx_header",
];

/// What WeChat adds to a link that somebody shares.
const SHARED: [&str; 3] = ["singlemessage", "groupmessage", "timeline"];

/// Parameters and path segments beyond this many are not cut or moved one by one.
const MOST_PARTS: usize = 24;

/// With more parameters than this, only sorted and reversed orders are tried.
const MOST_MOVED: usize = 6;

/// The addresses that could have been signed, the likeliest first.
pub(super) struct Variants {
    all: Vec<(Code, String)>,
    likely: Vec<(Code, String)>,
}

impl Variants {
    pub(super) fn of(url: &str, page: Option<&str>) -> Self {
        let right = without_fragment(url);
        let mut all = Vec::new();
        push(&mut all, Code::Correct, right.to_owned());
        fragments(&mut all, url, page);
        if let Some(page) = page.map(without_fragment).filter(|page| *page != right) {
            // The page's own address was signed, and the page believes that it was `url`.
            let code = difference(right, page).unwrap_or(Code::EntryUrl);
            push(&mut all, code, page.to_owned());
        }
        let likely = all.clone();
        single(&mut all, right);
        if let Some(page) = page.map(without_fragment).filter(|page| *page != right) {
            single(&mut all, page);
        }
        Self { all, likely }
    }

    /// Every one of them.
    pub(super) fn all(&self) -> &[(Code, String)] {
        &self.all
    }

    /// Those few that are combined with other mistakes.
    pub(super) fn likely(&self) -> &[(Code, String)] {
        &self.likely
    }

    /// The first of each mistake that is made together with another one.
    pub(super) fn firsts(&self) -> impl Iterator<Item = &(Code, String)> {
        let alone = [Code::Correct, Code::FragmentSigned];
        let is_first = move |at: usize, code: Code| {
            !alone.contains(&code) && self.all[..at].iter().all(|(earlier, _)| *earlier != code)
        };
        self.all
            .iter()
            .enumerate()
            .filter(move |(at, (code, _))| is_first(*at, *code))
            .map(|(_, variant)| variant)
    }
}

/// How `page` differs from `url`; `None` if in no usual way. Both are without their fragments.
pub(super) fn difference(url: &str, page: &str) -> Option<Code> {
    let mut all = Vec::new();
    for (from, to) in [(url, page), (page, url)] {
        all.clear();
        push(&mut all, Code::Correct, from.to_owned());
        single(&mut all, from);
        if let Some((code, _)) = all.iter().find(|(_, variant)| variant == to) {
            let is_wechats = *code == Code::QueryCut && is_added_by_wechat(from, to);
            return Some(if is_wechats {
                Code::WechatParameters
            } else {
                *code
            });
        }
    }
    let is_wechats = is_added_by_wechat(url, page);
    let (url, page) = (Address::parse(url)?, Address::parse(page)?);
    if url.host != page.host {
        return None;
    }
    Some(if url.path != page.path {
        Code::EntryUrl
    } else if url.scheme != page.scheme {
        Code::OtherScheme
    } else if url.port != page.port {
        Code::OtherPort
    } else if is_wechats {
        Code::WechatParameters
    } else {
        Code::QueryCut
    })
}

/// True if only one of the two has parameters that WeChat adds.
fn is_added_by_wechat(one: &str, other: &str) -> bool {
    let has = |url: &str| {
        Address::parse(url)
            .and_then(|address| address.query)
            .is_some_and(|query| query.split('&').any(is_wechats))
    };
    has(one) != has(other)
}

fn is_wechats(pair: &str) -> bool {
    let name = pair.split('=').next().unwrap_or_default();
    WECHATS.contains(&name)
}

fn push(all: &mut Vec<(Code, String)>, code: Code, url: String) {
    all.push((code, url));
}

/// The address with a fragment: its own, the page's, or that of a router.
fn fragments(all: &mut Vec<(Code, String)>, url: &str, page: Option<&str>) {
    let own = without_fragment(url);
    let mut with = |url: String| push(all, Code::FragmentSigned, url);
    with(url.to_owned());
    if let Some(page) = page.filter(|page| page.contains('#')) {
        with(page.to_owned());
        with(format!("{own}{}", &page[without_fragment(page).len()..]));
    }
    with(format!("{own}#"));
    with(format!("{own}#/"));
}

/// `url` with one mistake. The order decides between two that come to the same.
fn single(all: &mut Vec<(Code, String)>, url: &str) {
    let Some(address) = Address::parse(url) else {
        return;
    };
    slashes(all, &address);
    wechats(all, &address);
    cuts(all, &address);
    orders(all, &address);
    for url in encoded(url) {
        push(all, Code::EncodedTwice, url);
    }
    for url in decoded(url) {
        push(all, Code::Decoded, url);
    }
    let scheme = if address.scheme == "https" {
        "http"
    } else {
        "https"
    };
    push(
        all,
        Code::OtherScheme,
        Address { scheme, ..address }.write(),
    );
    for port in [None].into_iter().chain(PORTS.map(Some)) {
        push(all, Code::OtherPort, Address { port, ..address }.write());
    }
    entries(all, &address);
}

fn slashes(all: &mut Vec<(Code, String)>, address: &Address<'_>) {
    let longer = format!("{}/", address.path);
    let path = address.path.strip_suffix('/').unwrap_or(&longer);
    push(
        all,
        Code::TrailingSlash,
        Address { path, ..*address }.write(),
    );
    if let Some(query) = address.query {
        let longer = format!("{query}/");
        let query = Some(query.strip_suffix('/').unwrap_or(&longer));
        push(
            all,
            Code::TrailingSlash,
            Address { query, ..*address }.write(),
        );
    }
}

fn wechats(all: &mut Vec<(Code, String)>, address: &Address<'_>) {
    let query = address.query.unwrap_or_default();
    let own: Vec<&str> = query.split('&').filter(|pair| !is_wechats(pair)).collect();
    let own = own.join("&");
    let mut with = |query: &str| {
        let query = Some(query).filter(|query| !query.is_empty());
        push(
            all,
            Code::WechatParameters,
            Address { query, ..*address }.write(),
        );
    };
    with(&own);
    for name in WECHATS {
        let without: Vec<&str> = query
            .split('&')
            .filter(|pair| pair.split('=').next() != Some(name))
            .collect();
        with(&without.join("&"));
    }
    let join = if own.is_empty() { "" } else { "&" };
    for from in SHARED {
        with(&format!("{own}{join}from={from}"));
        with(&format!("{own}{join}from={from}&isappinstalled=0"));
        with(&format!("{own}{join}from={from}&isappinstalled=1"));
        with(&format!("from={from}&isappinstalled=0{join}{own}"));
    }
}

fn cuts(all: &mut Vec<(Code, String)>, address: &Address<'_>) {
    let Some(whole) = address.query else { return };
    let mut with = |query: Option<&str>| {
        push(all, Code::QueryCut, Address { query, ..*address }.write());
    };
    with(None);
    with(Some(""));
    for (at, _) in whole.match_indices('&').take(MOST_PARTS) {
        with(Some(&whole[..at]));
        with(Some(&whole[at + 1..]));
    }
    let pairs: Vec<&str> = whole.split('&').collect();
    for left_out in 0..pairs.len().min(MOST_PARTS) {
        let kept: Vec<&str> = pairs
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != left_out)
            .map(|(_, pair)| *pair)
            .collect();
        with(Some(kept.join("&").as_str()).filter(|query| !query.is_empty()));
    }
    // An empty value is dropped by some frameworks.
    let full: Vec<&str> = pairs
        .iter()
        .copied()
        .filter(|pair| !pair.ends_with('=') && !pair.is_empty())
        .collect();
    with(Some(full.join("&").as_str()).filter(|query| !query.is_empty()));
}

fn orders(all: &mut Vec<(Code, String)>, address: &Address<'_>) {
    let Some(query) = address.query else { return };
    let pairs: Vec<&str> = query.split('&').collect();
    let mut with = |pairs: &[&str]| {
        let query = pairs.join("&");
        let query = Some(query.as_str());
        push(
            all,
            Code::QueryReordered,
            Address { query, ..*address }.write(),
        );
    };
    let mut sorted = pairs.clone();
    sorted.sort_unstable();
    with(&sorted);
    sorted.reverse();
    with(&sorted);
    let mut reversed = pairs.clone();
    reversed.reverse();
    with(&reversed);
    if pairs.len() > MOST_MOVED {
        return;
    }
    // One parameter moved to another place, and one more exchanged with the first.
    for from in 0..pairs.len() {
        for to in 0..pairs.len() {
            let mut moved = pairs.clone();
            let pair = moved.remove(from);
            moved.insert(to, pair);
            with(&moved);
            moved.swap(0, to);
            with(&moved);
        }
    }
}

/// Where a single-page app may have been entered: at its root, or at a folder above.
fn entries(all: &mut Vec<(Code, String)>, address: &Address<'_>) {
    let mut with = |path: &str| {
        let query = None;
        push(
            all,
            Code::EntryUrl,
            Address {
                path,
                query,
                ..*address
            }
            .write(),
        );
    };
    with("/");
    with("");
    with("/index.html");
    for (at, _) in address.path.match_indices('/').take(MOST_PARTS) {
        with(&address.path[..at]);
        with(&address.path[..=at]);
    }
}

//! Finds the [`Route`] of a request.
//!
//! actix's router is not used: it tries one pattern after another and boxes a future in each of its
//! layers, which costs a third of a credential query. Here a path is split once, compared with the
//! rows, and one future is boxed.

use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::{HttpRequest, ResponseError};

use super::route::{Call, MAX_PARAMS, Route, Span, decoded_path, other_method};
use super::state::AppState;
use crate::counters::RouteCounters;

/// Paths with more segments match only a pattern with a tail.
const MAX_SEGMENTS: usize = 6;

/// A route and where its varying segments are in the path of one request.
#[derive(Clone, Copy)]
pub(super) struct Matched {
    pub(super) route: &'static Route,
    params: [Span; MAX_PARAMS],
    /// Where the request is counted: the thread, and the row of the route.
    pub(super) counter: (usize, usize),
}

impl Matched {
    /// Runs the handler.
    pub(super) async fn answer(self, state: &AppState, req: ServiceRequest) -> ServiceResponse {
        let (req, payload) = req.into_parts();
        let response = match self.route.handler(req.method()) {
            Some(handler) => {
                let answer = handler(Call {
                    state,
                    req: &req,
                    payload,
                    params: self.params,
                    worker: self.counter.0,
                })
                .await;
                answer.unwrap_or_else(self.route.error_response)
            }
            None => other_method(req.method(), self.route.allow)
                .unwrap_or_else(|error| error.error_response()),
        };
        ServiceResponse::new(req, response)
    }
}

/// Whether a route takes a request by more than the pattern of its path.
pub(super) type Takes = fn(&AppState, &HttpRequest) -> bool;

/// All routes, in the order in which they are tried.
pub(super) struct RouteTable {
    rows: Vec<Row>,
    /// Answers the paths that it takes, of those that no row matches or only one that goes after it.
    before_fallback: (Takes, &'static Route),
    /// Answers every path that no row matches.
    fallback: &'static Route,
    /// The counters of this thread, and the rows of the last two routes.
    worker: usize,
    counter_before_fallback: usize,
    counter_of_fallback: usize,
}

struct Row {
    route: &'static Route,
    /// The row of its counters.
    counter: usize,
    segments: Vec<Segment>,
    /// The first segment, if it is literal. Comparing it rules out most rows.
    first: Option<&'static str>,
}

#[derive(Clone, Copy)]
enum Segment {
    Literal(&'static str),
    Param,
    Tail,
}

/// How exactly literal segments must match.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spelling {
    AsWritten,
    /// In any case and with an optional slash at the end, as the original's framework accepted
    /// them.
    Loose,
}

impl RouteTable {
    pub(super) fn new(
        routes: impl IntoIterator<Item = &'static Route>,
        before_fallback: (Takes, &'static Route),
        fallback: &'static Route,
    ) -> Self {
        let row = |route: &'static Route| {
            let segment = |text: &'static str| match text.strip_prefix('{') {
                Some(name) if name.ends_with(":tail}") => Segment::Tail,
                Some(_) => Segment::Param,
                None => Segment::Literal(text),
            };
            let segments: Vec<_> = route.pattern.split('/').skip(1).map(segment).collect();
            let first = match segments.first() {
                Some(Segment::Literal(text)) => Some(*text),
                _ => None,
            };
            Row {
                route,
                counter: usize::MAX,
                segments,
                first,
            }
        };
        Self {
            rows: routes.into_iter().map(row).collect(),
            before_fallback,
            fallback,
            worker: 0,
            counter_before_fallback: usize::MAX,
            counter_of_fallback: usize::MAX,
        }
    }

    /// The patterns of all routes.
    pub(super) fn patterns(&self) -> impl Iterator<Item = &'static str> {
        let last = [self.before_fallback.1, self.fallback];
        let rows = self.rows.iter().map(|row| row.route);
        rows.chain(last).map(|route| route.pattern)
    }

    /// The same table, for a thread that counts its requests.
    pub(super) fn counted_by(mut self, counters: &RouteCounters) -> Self {
        self.worker = counters.take_worker();
        for row in &mut self.rows {
            row.counter = counters.row_of(row.route.pattern);
        }
        self.counter_before_fallback = counters.row_of(self.before_fallback.1.pattern);
        self.counter_of_fallback = counters.row_of(self.fallback.pattern);
        self
    }

    /// The route of a request.
    pub(super) fn find(&self, state: &AppState, req: &HttpRequest) -> Matched {
        let mut matched = self.find_path(decoded_path(req), |route| (route.exists)(state));
        let (takes, route) = self.before_fallback;
        let may_be_taken =
            matched.route.after_gateway || std::ptr::eq(matched.route, self.fallback);
        if may_be_taken && takes(state, req) {
            matched.route = route;
            matched.counter.1 = self.counter_before_fallback;
        }
        matched
    }

    fn find_path(&self, path: &str, exists: impl Fn(&Route) -> bool) -> Matched {
        let segments = Segments::of(path);
        let first = segments.first();
        let find = |spelling| {
            let begins = |row: &&Row| match (row.first, spelling) {
                (None, _) => true,
                (Some(text), Spelling::AsWritten) => text == first,
                (Some(text), Spelling::Loose) => text.eq_ignore_ascii_case(first),
            };
            let matched = |row: &Row| {
                Some(Matched {
                    route: row.route,
                    params: row.matches(&segments, spelling)?,
                    counter: (self.worker, row.counter),
                })
            };
            self.rows
                .iter()
                .filter(begins)
                .filter_map(matched)
                .find(|matched| exists(matched.route))
        };
        // The exact spelling is tried first, so that the loose one costs it nothing.
        let found = find(Spelling::AsWritten).or_else(|| find(Spelling::Loose));
        found.unwrap_or(Matched {
            route: self.fallback,
            params: Default::default(),
            counter: (self.worker, self.counter_of_fallback),
        })
    }
}

/// The segments of a path, split once.
struct Segments<'p> {
    path: &'p str,
    spans: [Span; MAX_SEGMENTS],
    /// How many there are, which may be more than fit into `spans`.
    count: usize,
}

impl<'p> Segments<'p> {
    fn of(path: &'p str) -> Self {
        let mut segments = Self {
            path,
            spans: Default::default(),
            count: 0,
        };
        let Some(rest) = path.strip_prefix('/') else {
            return segments;
        };
        let mut start = 1;
        for (at, byte) in (1..).zip(rest.bytes()) {
            if byte == b'/' {
                segments.push((start, at));
                start = at + 1;
            }
        }
        segments.push((start, path.len()));
        segments
    }

    fn push(&mut self, span: Span) {
        if let Some(free) = self.spans.get_mut(self.count) {
            *free = span;
        }
        self.count += 1;
    }

    /// The first; empty if there is none.
    fn first(&self) -> &'p str {
        let (start, end) = self.spans[0];
        &self.path[start..end]
    }

    /// How many there are without the empty one behind a slash at the end.
    fn count_without_last_slash(&self) -> usize {
        if self.count > 1 && self.path.ends_with('/') {
            self.count - 1
        } else {
            self.count
        }
    }
}

impl Row {
    fn matches(&self, segments: &Segments<'_>, spelling: Spelling) -> Option<[Span; MAX_PARAMS]> {
        let is_root = self.route.pattern.len() == 1;
        let count = match spelling {
            Spelling::Loose if is_root => return None,
            Spelling::Loose => segments.count_without_last_slash(),
            Spelling::AsWritten => segments.count,
        };
        let has_tail = matches!(self.segments.last(), Some(Segment::Tail));
        if if has_tail {
            segments.count < self.segments.len()
        } else {
            count != self.segments.len()
        } {
            return None;
        }
        let (mut params, mut taken) = ([Span::default(); MAX_PARAMS], 0);
        for (expected, &(start, end)) in self.segments.iter().zip(&segments.spans) {
            let segment = &segments.path[start..end];
            match *expected {
                Segment::Literal(text)
                    if spelling == Spelling::Loose && text.eq_ignore_ascii_case(segment) => {}
                Segment::Literal(text) if text == segment => {}
                Segment::Param if self.accepts(segment) => {
                    *params.get_mut(taken)? = (start, end);
                    taken += 1;
                }
                Segment::Tail => {}
                Segment::Literal(_) | Segment::Param => return None,
            }
        }
        Some(params)
    }

    fn accepts(&self, segment: &str) -> bool {
        let is_word = || {
            segment
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        };
        !segment.is_empty() && (!self.route.words_only || is_word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::error::ApiError;
    use crate::http::route::{GET, Handler};

    const HANDLER: Handler = |_| Box::pin(async { Err(ApiError::NotFound) });

    static FALLBACK: Route = Route::any_method("-", GET, HANDLER);

    static ROUTES: [Route; 8] = [
        Route::get("/", HANDLER),
        Route::get("/jsapi/{appid}/query", HANDLER),
        Route::get("/wechat/weblogin", HANDLER),
        Route::get("/wechat/{appid}", HANDLER).words_only(),
        Route::get("/users/{appid}/{openid}", HANDLER).words_only(),
        Route::get("/{appid}/wechat/token/get", HANDLER),
        Route::get("/qrcode/{text:tail}", HANDLER),
        Route::get("/off", HANDLER),
    ];

    fn find(path: &str) -> (&'static str, Vec<&str>) {
        let matched = RouteTable::new(&ROUTES, (|_, _| false, &FALLBACK), &FALLBACK)
            .find_path(path, |route| route.pattern != "/off");
        let params = matched
            .params
            .iter()
            .map(|&(start, end)| &path[start..end])
            .filter(|param| !param.is_empty());
        (matched.route.pattern, params.collect())
    }

    #[test]
    fn a_path_is_found_as_it_is_written() {
        assert_eq!(find("/"), ("/", vec![]));
        assert_eq!(
            find("/jsapi/wx1/query"),
            ("/jsapi/{appid}/query", vec!["wx1"])
        );
        assert_eq!(
            find("/jsapi/wx.1%2F/query"),
            ("/jsapi/{appid}/query", vec!["wx.1%2F"])
        );
        assert_eq!(
            find("/users/wx1/o-1"),
            ("/users/{appid}/{openid}", vec!["wx1", "o-1"])
        );
        assert_eq!(
            find("/wx1/wechat/token/get"),
            ("/{appid}/wechat/token/get", vec!["wx1"])
        );
    }

    #[test]
    fn the_first_row_that_matches_wins() {
        assert_eq!(find("/wechat/weblogin"), ("/wechat/weblogin", vec![]));
        assert_eq!(find("/wechat/wx1"), ("/wechat/{appid}", vec!["wx1"]));
        assert_eq!(
            find("/qrcode/wechat/token/get").0,
            "/{appid}/wechat/token/get"
        );
    }

    #[test]
    fn any_case_and_a_slash_at_the_end_match_too() {
        assert_eq!(
            find("/JSAPI/Wx1/Query"),
            ("/jsapi/{appid}/query", vec!["Wx1"])
        );
        assert_eq!(
            find("/jsapi/wx1/query/"),
            ("/jsapi/{appid}/query", vec!["wx1"])
        );
        assert_eq!(find("/WeChat/wx1/"), ("/wechat/{appid}", vec!["wx1"]));
    }

    #[test]
    fn a_tail_takes_every_rest() {
        for path in [
            "/qrcode/",
            "/qrcode/a",
            "/qrcode/a/b/c/d/e/f/g/",
            "/QRcode//",
        ] {
            assert_eq!(find(path).0, "/qrcode/{text:tail}", "{path}");
        }
    }

    #[test]
    fn other_paths_have_no_route() {
        for path in [
            "",
            "*",
            "//",
            "/jsapi//query",
            "/jsapi/wx1/query//",
            "/jsapi/a/b/query",
            "/jsapi/wx1",
            "jsapi/wx1/query",
            "/wechat/",
            "/wechat/MP_verify_1.txt",
            "/users/wx1/a.b",
            "/a/b/wechat/token/get",
            "//wechat/token/get",
            "/qrcode",
            "/off",
            "/1/2/3/4/5/6/7/8",
        ] {
            assert_eq!(find(path).0, "-", "{path}");
        }
    }
}

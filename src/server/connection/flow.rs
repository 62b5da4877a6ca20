//! Decides how many of a connection's bytes the HTTP dispatcher gets, and when. Does no I/O.
//!
//! actix-http decodes every request in its 128 KiB buffer at once, at about 6 KB of memory each,
//! even while answers are unsent. So it gets its bytes in rounds, one per poll. A round completes
//! at most one request head. The next round waits until all answers are sent, unless the current
//! request's body is being read.

use std::task::Waker;

use super::request_line::RequestLine;

/// Maximum size of a request head.
pub(super) const HEAD_LIMIT: usize = 16 * 1024;

/// Maximum number of bytes in one round.
const ROUND_BYTES: usize = 16 * 1024;

/// Maximum number of lines in one round. The dispatcher keeps 32 bytes for each chunk of a body,
/// and a chunk takes two lines.
const ROUND_LINES: usize = 128;

/// The length of the shortest request head: `A / HTTP/1.0` and two line feeds. Two empty lines
/// closer than this cannot both end a head.
const SHORTEST_HEAD: usize = 14;

/// The length of a request's body, as known when the request reaches the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyLength {
    /// No body.
    None,
    /// A `Content-Length`.
    Known(u64),
    /// A chunked body, or one that lasts until the connection ends.
    Unknown,
}

/// The state of one connection, shared by its stream and its requests.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// The app is processing a request, or the dispatcher has not received the whole answer.
    answering: bool,
    /// The reader of that request's body is waiting for more.
    wanted: bool,
    /// The connection ends after the current answer; further bytes are discarded.
    closing: bool,
    /// The socket did not accept all written bytes.
    stuck: bool,
    /// Wakes the answer's body when the socket has taken all.
    unstuck: Option<Waker>,
    /// The current request's body has an unknown length.
    unmeasured: bool,
    /// Bytes of the current body that are still to come, if its length is known.
    body_left: u64,
    /// Bytes delivered of a head that is incomplete.
    head: usize,
    /// Bytes delivered since the last empty line, as a minimum and a maximum: adjacent empty lines
    /// can be ambiguous.
    after_line: (usize, usize),
    line_end: LineEnd,
    round: Round,
    /// The request line of the current head.
    pub(super) line: RequestLine,
}

/// What the current round has delivered.
#[derive(Debug, Default)]
struct Round {
    bytes: usize,
    lines: usize,
    /// An empty line, which may have completed a head.
    empty_line: bool,
}

/// How the delivered bytes end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum LineEnd {
    #[default]
    Text,
    Feed,
    FeedReturn,
}

impl LineEnd {
    fn then(self, byte: u8) -> Self {
        match (self, byte) {
            (_, b'\n') => Self::Feed,
            (Self::Feed, b'\r') => Self::FeedReturn,
            _ => Self::Text,
        }
    }
}

impl Flow {
    /// True if the dispatcher may have bytes now.
    pub(super) fn is_open(&self) -> bool {
        let has_room = self.round.bytes < ROUND_BYTES
            && self.round.lines < ROUND_LINES
            && !self.round.empty_line;
        let may_read = !self.answering
            || (self.wanted && !self.closing)
            || (self.round.bytes > 0 && !self.closing);
        !self.stuck && has_room && may_read
    }

    /// True if this round has delivered something that the dispatcher has not processed yet.
    pub(super) fn is_in_round(&self) -> bool {
        self.round.bytes > 0
    }

    /// True if further bytes are discarded.
    pub(super) fn is_discarding(&self) -> bool {
        self.closing && !self.answering && !self.stuck
    }

    /// True if the dispatcher has an incomplete head and nothing else to do.
    pub(super) fn is_head_unfinished(&self) -> bool {
        self.head > 0 && !self.answering && !self.closing
    }

    /// True if the next byte is known to be the first of a request head. With pipelining this is
    /// rarely known.
    pub(super) fn begins_head(&self) -> bool {
        !self.answering && !self.closing && self.head == 0 && self.body_left == 0
    }

    /// Returns how many of `bytes` are delivered now, or `None` if their head is too long. `bytes`
    /// must not be empty. Call it only while [`Flow::is_open`].
    pub(super) fn take(&mut self, bytes: &[u8]) -> Option<usize> {
        let bytes = &bytes[..bytes.len().min(ROUND_BYTES - self.round.bytes)];
        self.wanted = false;
        if self.closing {
            self.round.bytes += bytes.len();
            return Some(bytes.len());
        }
        // No head ends inside a body of known length, so those bytes are not scanned.
        let of_body = usize::try_from(self.body_left)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        self.body_left -= of_body as u64;
        let (body, rest) = bytes.split_at(of_body);
        self.line_end = body[of_body.saturating_sub(2)..]
            .iter()
            .fold(self.line_end, |end, byte| end.then(*byte));
        let piece = self.piece(rest);
        if piece.length == 0 && of_body == 0 {
            return None;
        }
        let taken = &rest[..piece.length];
        self.line_end = taken[taken.len().saturating_sub(2)..]
            .iter()
            .fold(self.line_end, |end, byte| end.then(*byte));
        self.after_line = match piece.empty_lines {
            Some((first, last)) => (taken.len() - last, taken.len() - first),
            None => (
                self.after_line.0 + of_body + taken.len(),
                self.after_line.1 + of_body + taken.len(),
            ),
        };
        if !self.unmeasured {
            self.head += taken.len();
        }
        self.round.bytes += of_body + taken.len();
        self.round.lines += piece.lines;
        self.round.empty_line = piece.empty_lines.is_some();
        Some(of_body + taken.len())
    }

    /// Returns the part of `bytes` that completes at most one head.
    fn piece(&self, bytes: &[u8]) -> Piece {
        let mut piece = Piece {
            length: bytes.len(),
            empty_lines: None,
            lines: 0,
        };
        let left = if self.answering {
            usize::MAX
        } else {
            HEAD_LIMIT.saturating_sub(self.head)
        };
        for at in memchr::memchr_iter(b'\n', bytes) {
            let is_empty = match at.checked_sub(1).map(|before| bytes[before]) {
                None => self.line_end != LineEnd::Text,
                Some(b'\n') => true,
                Some(b'\r') => at
                    .checked_sub(2)
                    .map_or(self.line_end == LineEnd::Feed, |before| {
                        bytes[before] == b'\n'
                    }),
                Some(_) => false,
            };
            let end = at + 1;
            if piece.empty_lines.is_none() && end > left {
                break;
            }
            match &mut piece.empty_lines {
                Some((first, _)) if is_empty && end >= *first + SHORTEST_HEAD => {
                    piece.length = at;
                    return piece;
                }
                Some((_, last)) if is_empty => *last = end,
                None if is_empty => piece.empty_lines = Some((end, end)),
                _ => {}
            }
            piece.lines += 1;
            if self.round.lines + piece.lines >= ROUND_LINES {
                piece.length = end;
                return piece;
            }
        }
        if piece.empty_lines.is_none() {
            piece.length = piece.length.min(left);
        }
        piece
    }

    /// The dispatcher has processed its bytes, and the socket has accepted all output.
    pub(super) fn end_round(&mut self) {
        self.round = Round::default();
        self.stuck = false;
        if let Some(waker) = self.unstuck.take() {
            waker.wake();
        }
    }

    /// Whether the answer's body must wait because the socket has not taken what was written. If
    /// so, `waker` is woken when it has. Otherwise the dispatcher would collect up to eight times
    /// what it writes at once.
    pub(super) fn holds_back(&mut self, waker: &Waker) -> bool {
        if self.stuck {
            self.unstuck = Some(waker.clone());
        }
        self.stuck
    }

    /// The socket did not accept all output.
    pub(super) fn stick(&mut self) {
        self.stuck = true;
    }

    /// A request reaches the app. Returns true if the dispatcher already has its whole body.
    pub(super) fn begin(&mut self, body: BodyLength) -> bool {
        let (fewest, most) = self.after_line;
        self.answering = true;
        self.wanted = false;
        self.unmeasured = body == BodyLength::Unknown;
        let known = match body {
            BodyLength::None => 0,
            BodyLength::Known(length) => length,
            BodyLength::Unknown => {
                (self.head, self.body_left) = (0, 0);
                return false;
            }
        };
        let is_whole = known <= fewest as u64;
        self.head = usize::try_from(known).map_or(0, |known| fewest.saturating_sub(known));
        self.body_left = if is_whole {
            0
        } else {
            known.saturating_sub(most as u64)
        };
        is_whole
    }

    /// The reader of the current request's body is waiting for more.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// The current request was answered before its body was read, so the connection ends with this
    /// answer.
    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    /// The dispatcher has the whole answer to the current request.
    pub(super) fn end(&mut self) {
        self.answering = false;
        if std::mem::take(&mut self.unmeasured) {
            // A chunked body ends with an empty line.
            self.head = self.after_line.0;
        }
    }
}

/// The result of [`Flow::piece`].
struct Piece {
    length: usize,
    /// Where the first and the last of its empty lines end.
    empty_lines: Option<(usize, usize)>,
    lines: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &str = "GET /ping HTTP/1.1\r\nhost: a\r\n\r\n";

    /// Delivers one round of `bytes`.
    fn round(flow: &mut Flow, bytes: &str) -> usize {
        let mut taken = 0;
        while flow.is_open() && taken < bytes.len() {
            taken += flow
                .take(&bytes.as_bytes()[taken..])
                .expect("no head is too long");
        }
        flow.end_round();
        taken
    }

    #[test]
    fn one_round_completes_one_head() {
        let mut flow = Flow::default();
        let two = GET.repeat(2);
        assert_eq!(
            round(&mut flow, &two),
            two.len() - 1,
            "all but the line feed that completes the second"
        );
        assert!(flow.begin(BodyLength::None));
        assert!(!flow.is_open(), "not while the first is being answered");
        flow.end();
        assert_eq!(round(&mut flow, &format!("\n{GET}")), GET.len());
    }

    #[test]
    fn a_head_and_its_body_go_together() {
        let mut flow = Flow::default();
        let post = "POST / HTTP/1.1\nhost: a\ncontent-length: 10\n\n{\n\"a\": 1 }";
        assert_eq!(round(&mut flow, post), post.len());
        assert!(flow.begin(BodyLength::Known(10)));
        flow.end();
        assert!(!flow.is_head_unfinished());
    }

    #[test]
    fn line_ends_are_seen_across_pieces_and_rounds() {
        for cut in 1..GET.len() {
            let mut flow = Flow::default();
            assert_eq!(round(&mut flow, &GET[..cut]), cut);
            assert!(flow.is_head_unfinished());
            let rest = format!("{}{GET}", &GET[cut..]);
            assert_eq!(round(&mut flow, &rest), rest.len() - 1, "{cut}");
        }
    }

    #[test]
    fn empty_lines_do_not_multiply_rounds() {
        let mut flow = Flow::default();
        let body = "\n\n".repeat(500);
        assert_eq!(round(&mut flow, &body), SHORTEST_HEAD + 1);
        flow.begin(BodyLength::Known(100_000));
        flow.want();
        assert_eq!(
            round(&mut flow, &body),
            body.len(),
            "a body of known length is not looked at"
        );
    }

    #[test]
    fn a_body_is_read_only_on_demand() {
        let mut flow = Flow::default();
        let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(round(&mut flow, head), head.len());
        assert!(!flow.begin(BodyLength::Unknown));
        assert!(!flow.is_open());
        flow.want();
        let chunks = "1\r\na\r\n".repeat(1000);
        assert_eq!(round(&mut flow, &chunks), ROUND_LINES / 2 * 6);
        assert!(!flow.is_open());
        flow.want();
        let rest = format!("0\r\n\r\n{GET}");
        assert_eq!(round(&mut flow, &rest), rest.len() - 1);
        flow.end();
        assert!(flow.is_head_unfinished(), "the next head has begun");
        assert_eq!(flow.head, GET.len() - 1);
    }

    #[test]
    fn nothing_is_read_while_an_answer_is_unsent() {
        let mut flow = Flow::default();
        flow.stick();
        assert!(!flow.is_open());
        flow.end_round();
        assert!(flow.is_open());
    }

    #[test]
    fn every_head_has_the_same_limit() {
        let long = |length: usize| format!("{:-<1$}\r\n\r\n", "GET /", length - 4);
        let read = |flow: &mut Flow, text: &str| {
            let mut bytes = text.as_bytes();
            while !bytes.is_empty() && flow.is_open() {
                bytes = &bytes[flow.take(bytes)?..];
                if !flow.round.empty_line {
                    flow.end_round();
                }
            }
            flow.end_round();
            Some(())
        };
        for before in ["", GET, "POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\n12345"] {
            let mut flow = Flow::default();
            if !before.is_empty() {
                read(&mut flow, before).expect("it is short");
                flow.begin(if before == GET {
                    BodyLength::None
                } else {
                    BodyLength::Known(5)
                });
                flow.end();
            }
            assert_eq!(read(&mut flow, &long(HEAD_LIMIT)), Some(()), "{before:?}");
            flow.begin(BodyLength::None);
            flow.end();
            assert_eq!(read(&mut flow, &long(HEAD_LIMIT + 1)), None, "{before:?}");
        }
        let (mut flow, mut taken) = (Flow::default(), 0);
        while let Some(more) = flow.take(&b"\r\n".repeat(HEAD_LIMIT)) {
            flow.end_round();
            taken += more;
        }
        assert!(
            taken < HEAD_LIMIT + SHORTEST_HEAD,
            "empty lines before a head count: {taken}"
        );
    }

    #[test]
    fn bytes_after_a_refused_body_are_discarded() {
        let mut flow = Flow::default();
        let post = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n";
        round(&mut flow, post);
        flow.begin(BodyLength::Known(100_000));
        flow.close();
        assert!(
            !flow.is_open() && !flow.is_discarding(),
            "the answer comes first"
        );
        flow.end();
        assert!(flow.is_open() && flow.is_discarding());
        let rest = GET.repeat(100);
        assert_eq!(round(&mut flow, &rest), rest.len());
    }
}

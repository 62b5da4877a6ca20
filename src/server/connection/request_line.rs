//! Bytes in a request line that actix's URI type refuses: those outside ASCII, `"`, `<` and `>`.
//! WeChat's SDKs send them in queries, and the gateway passes a query on byte for byte. So the
//! dispatcher is given a stand-in of one byte for each of them, and the request gets the query as
//! it came.

/// What the dispatcher sees in place of a byte that it would refuse.
const STAND_IN: u8 = b'~';

/// The request line of one connection's current request.
#[derive(Debug, Default)]
pub(super) struct RequestLine {
    is_reading: bool,
    /// The line so far, if it came in pieces or has such bytes.
    line: Vec<u8>,
    /// A complete line with non-ASCII bytes.
    raw: Option<Vec<u8>>,
}

impl RequestLine {
    /// Replaces the bytes that are refused in the request line, of which `piece` is a part if a
    /// head begins with it or has begun before.
    pub(super) fn pass(&mut self, begins_head: bool, piece: &mut [u8]) {
        if begins_head {
            (self.is_reading, self.raw) = (true, None);
            self.line.clear();
        }
        let mut rest = piece;
        while self.is_reading && !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest).map(|at| at + 1);
            let (line, after) = rest.split_at_mut(end.unwrap_or(rest.len()));
            self.read(line, end.is_some());
            rest = after;
        }
    }

    fn read(&mut self, line: &mut [u8], is_whole: bool) {
        if self.line.is_empty() && is_whole && is_accepted(line) {
            // Empty lines may stand in front of a request.
            self.is_reading = line.trim_ascii().is_empty();
            return;
        }
        self.line.extend_from_slice(line);
        line.iter_mut()
            .filter(|byte| is_refused(**byte))
            .for_each(|byte| *byte = STAND_IN);
        if is_whole {
            let line = std::mem::take(&mut self.line);
            self.is_reading = line.trim_ascii().is_empty();
            self.raw = (!is_accepted(&line)).then_some(line);
        }
    }

    /// The query of the line, if the line has such bytes. The inner `None`: it is not the line of
    /// the request whose query was decoded as `seen`.
    pub(super) fn take_query(&mut self, seen: &str) -> Option<Option<Vec<u8>>> {
        let line = self.raw.take()?;
        let target = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        let query = target
            .iter()
            .position(|byte| *byte == b'?')
            .map_or(&[][..], |at| &target[at + 1..]);
        let query = query.split(|byte| *byte == b'#').next().unwrap_or_default();
        let masked = query.iter().map(|byte| match is_refused(*byte) {
            true => STAND_IN,
            false => *byte,
        });
        let is_same = masked.eq(seen.bytes());
        Some(is_same.then(|| query.to_vec()))
    }
}

fn is_refused(byte: u8) -> bool {
    !byte.is_ascii() || matches!(byte, b'"' | b'<' | b'>')
}

/// Folded, because a loop without an early exit compiles to a few wide instructions.
fn is_accepted(line: &[u8]) -> bool {
    line.iter()
        .fold(true, |is_accepted, byte| is_accepted & !is_refused(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "GET /a?b=\u{4e2d}&c=~ HTTP/1.1\r\nhost: a\u{4e2d}\r\n\r\n";
    const SEEN: &str = "b=~~~&c=~";

    #[test]
    fn the_query_is_restored_however_the_line_is_split() {
        for cut in 0..HEAD.len() {
            let (mut line, mut head) = (RequestLine::default(), HEAD.as_bytes().to_vec());
            let (first, second) = head.split_at_mut(cut);
            line.pass(true, first);
            line.pass(cut == 0, second);
            assert!(
                head.starts_with(b"GET /a?b=~~~&c=~ HTTP/1.1\r\nhost: a\xe4"),
                "{cut}"
            );
            assert_eq!(
                line.take_query(SEEN),
                Some(Some("b=\u{4e2d}&c=~".into())),
                "{cut}"
            );
            assert_eq!(line.take_query(SEEN), None);
        }
    }

    #[test]
    fn a_plain_line_is_not_kept() {
        let mut line = RequestLine::default();
        line.pass(true, &mut b"\r\nGET / HTTP/1.1\r\nhost: \xe4\r\n".to_vec());
        assert_eq!((line.take_query(""), line.line.len()), (None, 0));
    }

    #[test]
    fn every_refused_byte_comes_back() {
        for query in [
            &b"b=\xff"[..],
            b"b=\xe9",
            b"b=\"",
            b"b=<",
            b"b=>",
            b"b=\x80",
        ] {
            let mut line = RequestLine::default();
            let mut head = [b"GET /?", query, b" HTTP/1.1\r\n"].concat();
            line.pass(true, &mut head);
            assert_eq!(head, b"GET /?b=~ HTTP/1.1\r\n");
            assert_eq!(line.take_query("b=~"), Some(Some(query.to_vec())));
        }
    }

    #[test]
    fn what_is_not_this_requests_query_is_not_used() {
        let mut line = RequestLine::default();
        line.pass(
            true,
            &mut "GET /?b=\u{e9}&c HTTP/1.1\r\n".as_bytes().to_vec(),
        );
        assert_eq!(line.take_query("b=~"), Some(None));
    }
}
